"""What the kubelet asks is read strictly; what a pod sets by hand is found out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.agent.asks import read_ask, read_target
from edgewise.agent.errors import AgentError, Code
from edgewise.agent.settings import settings_from

KUBELET = Path("/var/lib/kubelet")
POD = "0b0c5f0e-1111-2222-3333-444444444444"
TARGET = f"/var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~csi/model/mount"
CONTEXT = {
    "csi.storage.k8s.io/pod.name": "line-1",
    "csi.storage.k8s.io/pod.namespace": "vision",
    "csi.storage.k8s.io/pod.uid": POD,
    "csi.storage.k8s.io/serviceAccount.name": "default",
    "csi.storage.k8s.io/ephemeral": "true",
    "model": "defect-detector",
    "digest": "tree:sha256:" + "9f" * 32,
}


def refused(reason: str, target: str = TARGET, read_only: bool = True, **changes: str | None) -> None:
    context = {name: value for name, value in {**CONTEXT, **changes}.items() if value is not None}
    with pytest.raises(AgentError) as caught:
        read_ask(target, read_only, context, KUBELET)
    assert (caught.value.code, caught.value.reason) == (Code.INVALID_ARGUMENT, reason)


def test_a_request_as_the_kubelet_writes_it() -> None:
    ask = read_ask(TARGET, True, CONTEXT, KUBELET)
    assert (ask.wanted.namespace, ask.wanted.model, ask.wanted.digest) == (
        "vision", "defect-detector", CONTEXT["digest"],
    )  # fmt: skip
    assert (ask.pod_uid, ask.target) == (POD, Path(TARGET))


@pytest.mark.parametrize("key", ["ephemeral", "pod.namespace", "pod.uid"])
def test_without_the_kubelet_s_word_nobody_is_served(key: str) -> None:
    refused("PodUnknown", **{f"csi.storage.k8s.io/{key}": None})
    refused("PodUnknown", **{f"csi.storage.k8s.io/{key}": ""})


def test_a_pod_that_claims_to_be_another() -> None:
    """With podInfoOnMount off, what a pod writes itself arrives; the target path gives it away."""
    refused("PodUnknown", **{"csi.storage.k8s.io/pod.uid": POD.replace("0b", "0c")})


def test_attributes_that_nobody_reads_are_refused() -> None:
    refused("AttributeUnknown", source="oci://mirror/x")
    refused("AttributeUnknown", **{"csi.storage.k8s.io/pod.nodeName": "x"})


def test_a_writable_volume_is_refused() -> None:
    refused("NotReadOnly", read_only=False)


@pytest.mark.parametrize("model", ["", "../x", "a/b", "A", "-a", "a\n", None])
def test_names_that_are_none(model: str | None) -> None:
    refused("NameInvalid", model=model)


@pytest.mark.parametrize(
    "digest", ["", "sha256:" + "0" * 64, "tree:sha256:../x", "file:sha256:" + "0" * 64, None]
)
def test_digests_that_are_no_tree(digest: str | None) -> None:
    refused("DigestUnsupported", digest=digest)


@pytest.mark.parametrize(
    "target",
    ["", "/", "/etc", "mount", f"/var/lib/kubelet/pods/{POD}", TARGET + "/", TARGET + "/..", TARGET + "/x",
     TARGET.replace("kubernetes.io~csi", "kubernetes.io~empty-dir"), TARGET.replace(POD, ".."),
     TARGET.replace("/model/", "/../"), TARGET.replace("/kubelet/", "/../lib/kubelet/"),
     TARGET.replace("//", "/").replace("/pods/", "//pods/"), TARGET.replace("/model/", "/a\x00b/")],
)  # fmt: skip
def test_nothing_is_mounted_anywhere_else(target: str) -> None:
    refused("TargetInvalid", target=target)
    with pytest.raises(AgentError):
        read_target(target, KUBELET)


@given(st.text("abc/.~\x00", max_size=40))
def test_accepted_targets_are_below_the_pods(text: str) -> None:
    try:
        path = read_target(f"{KUBELET}/pods/{text}", KUBELET)
    except AgentError:
        return
    assert path.is_relative_to(KUBELET / "pods")
    assert ".." not in path.parts


def test_settings_come_from_the_environment() -> None:
    settings = settings_from(
        {
            "EDGEWISE_NODE_NAME": "edge-1",
            "EDGEWISE_PLAIN_HTTP_REGISTRIES": "10.0.0.1:5000",
            "KUBERNETES_SERVICE_HOST": "fd00::1",
            "KUBERNETES_SERVICE_PORT": "6443",
            "EDGEWISE_KUBELET_DIR": "/k",
        }
    )
    assert settings.api_url == "https://[fd00::1]:6443"
    assert settings.plain_http == {"10.0.0.1:5000"}
    assert str(settings.csi_socket) == "/k/plugins/models.edgewise.dev/csi.sock"
    assert str(settings.registration_socket) == "/k/plugins_registry/models.edgewise.dev-reg.sock"


@pytest.mark.parametrize(
    "environment",
    [{}, {"EDGEWISE_NODE_NAME": "a", "EDGEWISE_AGENT_PORT": "x"},
     {"EDGEWISE_NODE_NAME": "a", "EDGEWISE_STORE_QUOTA_BYTES": "-1"},
     {"EDGEWISE_NODE_NAME": "a", "EDGEWISE_PUBLISH_WAIT_SECONDS": "nan"},
     {"EDGEWISE_NODE_NAME": "a", "EDGEWISE_KUBELET_DIR": "/" + "k" * 80}],
)  # fmt: skip
def test_settings_that_make_no_sense_name_their_variable(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="EDGEWISE_"):
        settings_from(environment)
