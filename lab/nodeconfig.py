"""What the programs of a node read: pure functions from names and addresses to the text of their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import oci
from lab.settings import REFERRERS_PORT, REGISTRY_PORT

PAUSE_IMAGE = "edgewise.lab/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

#: Folders where programs of a node keep what outlives a reboot, at the paths that a real node has them.
#: Those in SHARED pass mounts on in both directions, as the kubelet's folder must for a CSI driver in a pod.
SHARED = ("/var/lib/kubelet", "/var/lib/edgewise")
PRIVATE = ("/var/lib/cni", "/var/log/pods", "/var/log/containers")


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node's files are made of."""

    name: str
    address: str
    pods: str
    every_pod: str
    host: str
    dns: str
    folder: Path
    keys: Path
    cgroup: str


def containerd(facts: NodeFacts) -> str:
    """Write containerd's configuration (version 2, which containerd 1.6 to 2.x read)."""
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{facts.folder}/containerd"
state = "/run/containerd"

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{facts.folder}/opt"

{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE runc cannot lower a score and ends with "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  # A profile that is loaded would stay on the host.
  disable_apparmor = true
{cri}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{facts.folder}/cni"
{cri}.containerd]
  snapshotter = "overlayfs"
{cri}.registry]
  config_path = "{facts.folder}/registries"
"""


def registries(facts: NodeFacts) -> dict[str, str]:
    """Write containerd's hosts.toml by registry: the lab's speak plain http."""
    return {
        f"{facts.host}:{port}": f'server = "http://{facts.host}:{port}"\n'
        for port in (REGISTRY_PORT, REFERRERS_PORT)
    }


def cni(facts: NodeFacts) -> str:
    """The pods' network: a cable each from the node (ptp).

    A bridge would let pods of one node answer each other past the node's address translation, so a
    ClusterIP whose pod is next door would fail wherever the kernel does not filter bridged packets.
    """
    plugins = [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": facts.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                # Leases of pods that a power cut ended would keep their addresses for ever: they go with
                # /run.
                "dataDir": "/run/cni-leases",
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"cniVersion": "0.4.0", "name": "lab", "plugins": plugins}, indent=1)


def kubelet(facts: NodeFacts) -> str:
    """KubeletConfiguration as JSON."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(facts.keys / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(facts.keys / f"kubelet-{facts.name}.crt"),
            "tlsPrivateKeyFile": str(facts.keys / f"kubelet-{facts.name}.key"),
            "cgroupDriver": "cgroupfs",
            # With one shared root, every kubelet takes the pods of the others for strays and kills them.
            "cgroupRoot": f"/{facts.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "clusterDomain": "cluster.local",
            "clusterDNS": [facts.dns],
            "resolvConf": str(facts.folder / "resolv.conf"),
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
            # Several nodes share one disk and one memory: a node evicts only when the machine itself is in
            # need.
            "evictionHard": {
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "memory.available": "100Mi",
            },
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": False,
            "oomScoreAdj": 0,
        },
        indent=1,
    )


def kube_proxy(facts: NodeFacts) -> str:
    """KubeProxyConfiguration as JSON."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(facts.keys / "kube-proxy.kubeconfig")},
            "mode": "iptables",
            "clusterCIDR": facts.every_pod,
            # Few services: a change may reach the rules at once.
            "iptables": {"minSyncPeriod": "100ms"},
            "hostnameOverride": facts.name,
            # These sysctls belong to the host's first network namespace; zeros leave them alone.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
                "udpTimeout": "0s",
                "udpStreamTimeout": "0s",
            },
            "oomScoreAdj": 0,
        },
        indent=1,
    )


def init_script(facts: NodeFacts, pause: Path, folders: Sequence[str] = (*SHARED, *PRIVATE)) -> str:
    """What process 1 of a node runs: mounts its disk where it belongs and an empty /run, then waits."""
    lines = [
        "set -e",
        # Copies of the namespaces' mounts: kept here they would keep a removed node's network alive.
        "umount --recursive --lazy /run/netns 2>/dev/null || true",
        "mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run",
        "mkdir -p /run/netns /run/lock",
    ]
    for folder in folders:
        lines.append(f"mount --bind '{disk(facts, folder)}' {folder}")
        if folder in SHARED:
            lines.append(f"mount --make-rshared {folder}")
    return "\n".join([*lines, f"exec '{pause}'"])


def disk(facts: NodeFacts, folder: str) -> Path:
    """Where the host keeps what the node sees as `folder`."""
    return facts.folder / "disk" / folder.strip("/").replace("/", "-")


def pause_archive(folder: Path, program: Path) -> Path:
    """An archive of the image that holds a pod's namespaces: one program that waits. Made in `folder`."""
    folder.mkdir(exist_ok=True)
    layer = folder / "layer.tar"
    oci.write_layer(layer, {"pause": program})
    image = oci.assemble(folder, PAUSE_IMAGE, [oci.add_blob(folder, layer)], {"Entrypoint": ["/pause"]})
    archive = folder / "pause.tar"
    oci.write_archive(image, archive, PAUSE_IMAGE)
    return archive
