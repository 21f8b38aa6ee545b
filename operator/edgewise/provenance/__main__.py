"""`python -m edgewise.provenance`: the verification process."""

import sys

from edgewise.provenance.worker import main

sys.exit(main())
