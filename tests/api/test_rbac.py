"""What the chart's accounts may do, asked with their own tokens, and the policies against real users."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgewise.agent.apiserver import ApiServer, ApiUnavailableError
from edgewise.api.edgemodel import EdgeModelStatus
from edgewise.api.meta import Metadata
from edgewise.catalog import catalogue
from edgewise.cluster.apply import apply_status
from edgewise.cluster.client import Client
from edgewise.cluster.connect import connect
from edgewise.cluster.errors import ApiError
from edgewise.cluster.resources import SECRET
from edgewise.cluster.world import CHILDREN, World
from edgewise.engine.sweep import fill
from edgewise.engine.verdict_keys import ensure_signer
from lab import quickstart
from lab.cluster import Lab
from lab.errors import CommandFailedError
from tests.api.rights import AGENT_DOES, AGENT_DOES_NOT, OPERATOR_DOES, OPERATOR_DOES_NOT, SYSTEM

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
OPERATOR, AGENT = "edgewise-operator", "edgewise-agent"
MODEL = Metadata(name=quickstart.MODEL, namespace=quickstart.NAMESPACE)

#: Users who may do with RBAC what the policies must refuse.
STRANGERS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: test-strangers}
rules:
  - {apiGroups: [edgewise.dev], resources: [edgemodels, edgemodels/status], verbs: ["*"]}
  - {apiGroups: [""], resources: [pods], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-strangers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: test-strangers}
subjects:
  - {kind: User, name: mallory, apiGroup: rbac.authorization.k8s.io}
  - {kind: ServiceAccount, name: stranger, namespace: vision}
  # A namesake of the operator's account in another namespace is somebody else too.
  - {kind: ServiceAccount, name: edgewise-operator, namespace: vision}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: vision}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: edgewise-operator, namespace: vision}
"""


@pytest.fixture(scope="module")
def lab(lab_cluster: Lab) -> Lab:
    """An API server with CRDs, the chart's accounts and policies, the quickstart, and strangers."""
    lab_cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    lab_cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    lab_cluster.kubectl(
        "apply", "-f", "-", text=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {SYSTEM}}}}}"
    )
    chart = lab_cluster.helm(
        *("template", "edgewise", str(ROOT / "charts/edgewise"), "--namespace", SYSTEM, "--no-hooks"),
        *("--set", "operator.replicas=0"),
    )
    lab_cluster.kubectl("apply", "-f", "-", text=chart)
    lab_cluster.kubectl("apply", "-f", "-", text=quickstart.as_text(quickstart.manifests()))
    lab_cluster.kubectl("apply", "-f", "-", text=STRANGERS)
    return lab_cluster


def account(lab: Lab, name: str, namespace: str = SYSTEM) -> Path:
    """A kubeconfig with a service account's token, and nothing else to be known by."""
    admin = yaml.safe_load(lab.kubeconfig().read_text())
    token = lab.kubectl("create", "token", name, "-n", namespace).strip()
    path = lab.layout.home / f"token-{namespace}-{name}.kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": admin["clusters"],
                "users": [{"name": name, "user": {"token": token}}],
                "contexts": [
                    {"name": "it", "context": {"cluster": admin["clusters"][0]["name"], "user": name}}
                ],
                "current-context": "it",
            }
        )
    )
    return path


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Path:
    """The operator's credentials."""
    return account(lab, OPERATOR)


@pytest.fixture(scope="module")
def agent(lab: Lab) -> Path:
    """The agent's credentials."""
    return account(lab, AGENT)


@pytest.fixture
async def as_operator(operator: Path) -> AsyncIterator[Client]:
    """A client with the operator's token."""
    client = await connect(str(operator))
    yield client
    await client.close()


def may(lab: Lab, who: Path, verb: str, resource: str, namespace: str = "") -> bool:
    """What the API server says to ``kubectl auth can-i``; a subresource or a name follows a slash or two."""
    what, _, name = resource.partition("//")
    kind, _, subresource = what.partition("/")
    arguments = [verb, f"{kind}/{name}" if name else kind]
    arguments += [f"--subresource={subresource}"] if subresource else []
    arguments += ["-n", namespace] if namespace else ["--all-namespaces"]
    try:
        said = lab.kubectl("auth", "can-i", *arguments, "--kubeconfig", str(who))
    except CommandFailedError as refused:
        said = refused.output
    answer = said.strip().splitlines()[-1].split()[0]
    assert answer in {"yes", "no"}, said
    return answer == "yes"


def differences(lab: Lab, who: Path, asked: list[tuple[str, str, str]], wanted: bool) -> list[str]:
    """The questions that are answered otherwise than `wanted`."""
    return [" ".join(question) for question in asked if may(lab, who, *question) is not wanted]


def test_the_operator_may_do_what_it_does_and_nothing_that_it_must_not(lab: Lab, operator: Path) -> None:
    assert differences(lab, operator, OPERATOR_DOES, True) == []
    assert differences(lab, operator, OPERATOR_DOES_NOT, False) == []


def test_the_agent_may_read_models_and_the_verdict_keys_alone(lab: Lab, agent: Path) -> None:
    assert differences(lab, agent, AGENT_DOES, True) == []
    assert differences(lab, agent, AGENT_DOES_NOT, False) == []


async def test_the_operators_own_code_runs_under_its_account(as_operator: Client) -> None:
    world = World(catalogue.builtin())
    await fill(as_operator, world)
    assert world.models.get(f"{MODEL.namespace}/{MODEL.name}") is not None
    for resource, table in world.children():
        namespace = SYSTEM if resource.kind == "ConfigMap" else ""
        objects, _ = await as_operator.list(resource, namespace, CHILDREN)
        table.replace(objects)
    first = await ensure_signer(as_operator, SYSTEM, "cluster", (), datetime.now(UTC))
    again = await ensure_signer(as_operator, SYSTEM, "cluster", (), datetime.now(UTC))
    assert again.private_pem == first.private_pem
    assert [key.key.id for key in again.keys.keys] == [key.key.id for key in first.keys.keys]
    with pytest.raises(ApiError, match="forbidden"):
        await as_operator.get(SECRET, "vision", "any")


async def test_the_operator_writes_a_models_status_and_not_its_spec(as_operator: Client) -> None:
    await apply_status(as_operator, "EdgeModel", MODEL, EdgeModelStatus(used_by=1))
    spec = {"version": "9.9.9", "variants": []}
    body: dict[str, Any] = {"apiVersion": "edgewise.dev/v1alpha1", "kind": "EdgeModel", "spec": spec}
    with pytest.raises(ApiError, match="cannot patch resource"):
        await as_operator.apply(body | {"metadata": {"name": MODEL.name, "namespace": MODEL.namespace}})


@pytest.mark.parametrize("verb", ["patch", "replace"])
def test_nobody_else_writes_a_models_status_whatever_rbac_says(lab: Lab, verb: str) -> None:
    where = (MODEL.name, "-n", MODEL.namespace, "--subresource=status")
    model = json.loads(lab.kubectl("get", "edgemodel", MODEL.name, "-n", MODEL.namespace, "-o", "json"))
    forged = json.dumps(model | {"status": {"usedBy": 7}})
    callers: list[dict[str, Any]] = [
        {"user": "mallory"},
        {"who": account(lab, "stranger", "vision")},
        {"who": account(lab, OPERATOR, "vision")},
    ]
    for caller in callers:
        more = ("--kubeconfig", str(caller["who"])) if "who" in caller else ()
        if verb == "patch":
            command = ["patch", "edgemodel", *where, "--type=merge", "-p", '{"status":{"usedBy":7}}', *more]
        else:
            command = ["replace", "--subresource=status", "-f", "-", *more]
        text = forged if verb == "replace" else None
        with pytest.raises(CommandFailedError, match="only edgewise's operator writes the status"):
            lab.kubectl(*command, text=text, user=caller.get("user"))


def pod(**csi: Any) -> str:
    """A pod with a model volume, as JSON."""
    attributes = {"model": MODEL.name, "digest": "tree:sha256:0"}
    volume = {"driver": "models.edgewise.dev", "readOnly": True, "volumeAttributes": attributes} | csi
    container = {
        "name": "c",
        "image": "none.example/none",
        "volumeMounts": [{"name": "m", "mountPath": "/m"}],
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "reader", "namespace": "vision"},
            "spec": {
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    container
                    | {
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        }
                    }
                ],
                "volumes": [{"name": "m", "csi": volume}],
            },
        }
    )


@pytest.mark.parametrize("caller", ["mallory", "stranger"])
def test_a_users_pod_may_name_a_model_and_not_speak_for_the_kubelet(lab: Lab, caller: str) -> None:
    create = ["create", "--dry-run=server", "-f", "-"]
    if caller == "stranger":
        create += ["--kubeconfig", str(account(lab, "stranger", "vision"))]
    user = "mallory" if caller == "mallory" else None
    assert "created" in lab.kubectl(*create, text=pod(), user=user)
    forged = {"model": MODEL.name, "csi.storage.k8s.io/pod.namespace": "payments"}
    with pytest.raises(CommandFailedError, match=r"sets a csi\.storage\.k8s\.io/ attribute"):
        lab.kubectl(*create, text=pod(volumeAttributes=forged), user=user)
    for value in (False, None):
        with pytest.raises(CommandFailedError, match="write readOnly: true"):
            lab.kubectl(*create, text=pod(readOnly=value), user=user)


def test_the_agents_own_reader_works_with_its_token(lab: Lab, agent: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(agent.read_text())
    cluster = config["clusters"][0]["cluster"]
    (tmp_path / "token").write_text(config["users"][0]["user"]["token"])
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    reader = ApiServer(cluster["server"], tmp_path)
    assert reader.model(MODEL.namespace, MODEL.name) is not None
    assert reader.model(MODEL.namespace, "absent") is None
    reader.verdict_keys(SYSTEM)
    with pytest.raises(ApiUnavailableError, match="403"):
        reader.verdict_keys("vision")
