"""``edgewise sign`` and ``edgewise publish``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from edgewise.provenance.errors import ProvenanceError
from edgewise.provenance.publickeys import UnusableKeyError
from edgewise.provenance.publish import attach, publish
from edgewise.provenance.signer import UnsignableError, directory_digest, sign_directory
from edgewise.provenance.transport import PLAIN_HTTP_VARIABLE, RegistryError, Transport, plain_http_hosts


def run(arguments: argparse.Namespace) -> int:
    """Sign or publish: 0 when done, 1 when refused, 2 when it could not be tried."""
    try:
        if arguments.command == "sign":
            _sign(arguments)
        else:
            _publish(arguments)
    except (ProvenanceError, UnsignableError, RegistryError) as error:
        sys.stderr.write(f"edgewise: {error}\n")
        return 1
    except (OSError, UnusableKeyError) as error:
        sys.stderr.write(f"edgewise: {error}\n")
        return 2
    return 0


def _sign(arguments: argparse.Namespace) -> None:
    bundle = sign_directory(arguments.folder, arguments.key.read_bytes(), name=arguments.name)
    output: Path = arguments.output or arguments.folder / "model.sig"
    output.write_bytes(bundle)
    sys.stdout.write(f"{output}\ndigest: {directory_digest(arguments.folder)}\n")


def _publish(arguments: argparse.Namespace) -> None:
    transport = Transport(plain_http=plain_http_hosts(os.environ.get(PLAIN_HTTP_VARIABLE, "")))
    bundles = arguments.bundle or [arguments.folder / "model.sig"]
    signatures = [path.read_bytes() for path in bundles]
    done = publish(
        arguments.folder, arguments.to, transport, name=arguments.name, version=arguments.model_version
    )
    for signature in signatures:
        attach(signature, done.uri, transport)
    # The two lines that an EdgeModel's variant wants.
    sys.stdout.write(f"uri: {done.uri}\ndigest: {done.digest}\n")
