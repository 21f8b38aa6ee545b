"""The end of the path: uninstalling, which has to run after every other test of it."""

from __future__ import annotations

import pytest

from lab import product
from lab.demo import SERVERS, Demo
from lab.errors import CommandFailedError
from lab.observe import wait_for
from lab.quickstart import NAMESPACE, SERVICE

pytestmark = pytest.mark.node


def test_uninstall_waits_for_mounted_models_and_then_leaves_nothing(demo: Demo) -> None:
    with pytest.raises(CommandFailedError, match="pods use models that only its agent can unmount"):
        product.uninstall(demo.lab)
    assert demo.cluster.pods(NAMESPACE, SERVERS, ready=True)
    demo.lab.kubectl("delete", "einf", SERVICE, "-n", NAMESPACE, "--timeout=60s")
    wait_for("no pod left", lambda: not demo.cluster.items("pods", NAMESPACE), within=90)
    demo.lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=90s")
    product.uninstall(demo.lab)
    wait_for("nothing left", lambda: not demo.cluster.items("pods", product.NAMESPACE), within=60)
    assert demo.cluster.items("csidrivers") == []
    left = demo.lab.kubectl("get", "deploy,ds,cm,secret,lease", "-n", product.NAMESPACE, "-o", "name").split()
    assert [name for name in left if "edgewise" in name and "lease" not in name] == []
