"""The end of the path: deleting and uninstalling, after every other test of it and in this order."""

from __future__ import annotations

import json

import pytest

from lab import product
from lab.demo import Demo
from lab.demo_world import EDGE, SERVERS
from lab.errors import CommandFailedError
from lab.observe import wait_for
from lab.quickstart import MODEL, NAMESPACE, SERVICE
from tests.e2e.path_world import uids

pytestmark = pytest.mark.node


def model_volumes(demo: Demo) -> list[str]:
    """Mounted model volumes on the edge node, as its kernel has them."""
    mounts = demo.lab.node("edge-1").run(["cat", "/proc/mounts"], whole=True).splitlines()
    return [line.split()[1] for line in mounts if "kubernetes.io~csi" in line]


def condition(demo: Demo, type_: str) -> str:
    return str(demo.cluster.condition("einf", SERVICE, NAMESPACE, type_).get("reason"))


def test_a_deleted_model_stops_nothing_and_comes_back(demo: Demo) -> None:
    demo.apply(demo.variants, "1.0.0")
    unpin = json.dumps({"spec": {"modelRef": {"version": None}}})
    demo.lab.kubectl("patch", "einf", SERVICE, "-n", NAMESPACE, "--type=merge", "-p", unpin)
    wait_for("the service ready", lambda: demo.is_true("Ready") and demo.is_true("Progressing", "Promoted"))
    # The cloud side may still shrink from a load of an earlier test.
    before = uids(demo, EDGE)
    demo.lab.kubectl("delete", "edgemodel", MODEL, "-n", NAMESPACE, "--timeout=30s")
    wait_for("the loss noticed", lambda: condition(demo, "ModelVerified") == "ModelMissing")
    demo.ask()
    assert uids(demo, EDGE) == before
    demo.apply(demo.variants, "1.0.0")
    wait_for("the model verified again", lambda: demo.is_true("ModelVerified"))
    assert uids(demo, EDGE) == before


def test_a_deleted_service_takes_its_own_along_and_nothing_else(demo: Demo) -> None:
    demo.lab.kubectl("delete", "einf", SERVICE, "-n", NAMESPACE, "--timeout=60s")
    wait_for("no pod left", lambda: not demo.cluster.items("pods", NAMESPACE), within=90)
    assert model_volumes(demo) == []
    left = demo.lab.kubectl("get", "deploy,svc,endpointslice", "-n", NAMESPACE, "-o", "name").split()
    assert left == []
    assert demo.cluster.condition("edgemodel", MODEL, NAMESPACE, "Verified")["status"] == "True"
    demo.apply(demo.variants, "1.0.0")
    wait_for("the service ready", lambda: demo.is_true("Ready"), within=90)
    demo.ask()


def test_uninstall_waits_for_mounted_models(demo: Demo) -> None:
    with pytest.raises(CommandFailedError, match="pods use models that only its agent can unmount"):
        product.uninstall(demo.lab)
    assert demo.cluster.pods(NAMESPACE, SERVERS, ready=True)


def test_a_namespace_with_mounted_models_goes_and_then_edgewise_leaves_nothing(demo: Demo) -> None:
    assert demo.cluster.pods(NAMESPACE, EDGE, ready=True)
    assert model_volumes(demo)
    demo.lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")
    assert model_volumes(demo) == []
    product.uninstall(demo.lab)
    wait_for("nothing left", lambda: not demo.cluster.items("pods", product.NAMESPACE), within=60)
    assert demo.cluster.items("csidrivers") == []
    left = demo.lab.kubectl("get", "deploy,ds,cm,secret,lease", "-n", product.NAMESPACE, "-o", "name").split()
    assert [name for name in left if "edgewise" in name and "lease" not in name] == []
