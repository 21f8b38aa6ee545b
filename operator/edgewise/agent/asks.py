"""Reading what the kubelet asks. The pod writes two attributes; everything else is the kubelet's word."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.agent.errors import AgentError, Code
from edgewise.agent.journal import NAME
from edgewise.provenance.digests import parse_digest
from edgewise.provenance.errors import ProvenanceError, printable
from edgewise.provenance.verdict import Expectation

#: Set by the kubelet because the CSIDriver object says `podInfoOnMount: true`
#: (https://kubernetes-csi.github.io/docs/pod-info.html); they replace what a pod may have written there.
_PREFIX: Final = "csi.storage.k8s.io/"
_NAMESPACE: Final = f"{_PREFIX}pod.namespace"
_POD_UID: Final = f"{_PREFIX}pod.uid"
_EPHEMERAL: Final = f"{_PREFIX}ephemeral"
_KUBELETS: Final = frozenset(
    {_NAMESPACE, _POD_UID, _EPHEMERAL, f"{_PREFIX}pod.name", f"{_PREFIX}serviceAccount.name"}
)
_POD_UID_FORM: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_VOLUME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Ask:
    """A pod's volume: who asks for what, and where it has to appear."""

    wanted: Expectation
    pod_uid: str
    target: Path


def read_ask(target: str, read_only: bool, context: Mapping[str, str], kubelet: Path) -> Ask:
    """Read a publish request.

    Args:
        target: the path that the kubelet names.
        read_only: of the volume in the pod.
        context: the pod's `volumeAttributes` and what the kubelet added.
        kubelet: the kubelet's folder.

    Raises:
        AgentError: INVALID_ARGUMENT; the message says what to write into the pod.
    """
    if context.get(_EPHEMERAL) != "true" or not context.get(_NAMESPACE) or not context.get(_POD_UID):
        raise _invalid(
            "PodUnknown",
            "the kubelet does not say which pod asks: the CSIDriver object models.edgewise.dev has to have "
            "podInfoOnMount: true, and only inline (csi) volumes of a pod are served",
        )
    unknown = sorted(set(context) - _KUBELETS - {"model", "digest"})
    if unknown:
        raise _invalid(
            "AttributeUnknown",
            f"volume attribute {printable(unknown[0])}: a model volume has model and digest only",
        )
    if not read_only:
        raise _invalid("NotReadOnly", "a model volume is read-only: write readOnly: true beside the driver")
    namespace, pod_uid = context[_NAMESPACE], context[_POD_UID]
    model, digest = context.get("model", ""), context.get("digest", "")
    if not NAME.fullmatch(model) or not NAME.fullmatch(namespace) or not _POD_UID_FORM.fullmatch(pod_uid):
        raise _invalid(
            "NameInvalid", f"volume attribute model: {printable(model)} is no name of an EdgeModel"
        )
    try:
        kind = parse_digest(digest).kind
    except ProvenanceError as error:
        raise _invalid(error.reason, f"volume attribute digest: {error.message}") from error
    if kind != "tree":
        raise _invalid("DigestUnsupported", f"volume attribute digest: {digest} is no tree: digest")
    path = read_target(target, kubelet)
    if path.relative_to(kubelet / "pods").parts[0] != pod_uid:
        raise _invalid(
            "PodUnknown", "the pod's UID is not the one in the target path: somebody set it by hand"
        )
    return Ask(Expectation(namespace, model, digest), pod_uid, path)


def read_target(target: str, kubelet: Path) -> Path:
    """The target path, which has to be a CSI volume of a pod below the kubelet's folder.

    Raises:
        AgentError: INVALID_ARGUMENT for every other path; nothing else is ever mounted on, or unmounted.
    """
    path = Path(target)
    try:
        parts = path.relative_to(kubelet / "pods").parts
    except ValueError:
        parts = ()
    well_formed = (
        len(parts) == 5
        and _POD_UID_FORM.fullmatch(parts[0])
        and parts[1:3] == ("volumes", "kubernetes.io~csi")
        and _VOLUME.fullmatch(parts[3])
        and parts[4] == "mount"
    )
    if not well_formed or str(path) != target:
        raise _invalid(
            "TargetInvalid", f"target {printable(target, 200)} is no CSI volume below {kubelet}/pods"
        )
    return path


def _invalid(reason: str, message: str) -> AgentError:
    return AgentError(Code.INVALID_ARGUMENT, reason, message)
