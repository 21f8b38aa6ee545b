"""etcd, API server, controller-manager and scheduler, as processes of the host."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from lab.api import Api
from lab.errors import NotReadyError
from lab.keys import Authority, kubeconfig
from lab.process import Registry, spawn, stop, tail
from lab.settings import API_PORT, Layout
from lab.specs import ControlPlaneOptions

#: Started in this order, stopped in the reverse.
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ControlPlane:
    """The control plane of one lab. It is one site's own when all else is away."""

    def __init__(self, layout: Layout, programs: Mapping[str, Path], options: ControlPlaneOptions) -> None:
        self._layout = layout
        self._programs = programs
        self._options = options
        self._authority = Authority(layout.keys)
        self._registry = Registry(layout.processes)

    @property
    def server(self) -> str:
        """The API server's URL, the same from the host and from every node."""
        return f"https://{self._layout.addresses.host}:{API_PORT}"

    @property
    def audit_log(self) -> Path:
        """One JSON object a request and line, at metadata level."""
        return self._layout.logs / "audit.log"

    def api(self) -> Api:
        """Requests as the administrator."""
        admin = self._authority.client("admin", "edgewise-lab-admin", ["system:masters"])
        return Api(self._layout.addresses.host, API_PORT, self._authority.root, admin)

    def kubeconfig(self, name: str, user: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig file for `user` in `groups`; made once a `name`."""
        path = self._layout.keys / f"{name}.kubeconfig"
        if not path.exists():
            pair = self._authority.client(name, user, groups)
            path.write_text(kubeconfig(self.server, self._authority.root.certificate, pair))
            path.chmod(0o600)
        return path

    def prepare(self) -> None:
        """Make keys and configuration."""
        self._authority.create()
        plan = self._layout.addresses
        service = "kubernetes.default.svc"
        names = ["kubernetes", "kubernetes.default", service, f"{service}.cluster.local", "localhost"]
        self._authority.server("apiserver", [*names, plan.host, plan.kubernetes_service, "127.0.0.1"])
        self._authority.client("apiserver-kubelet", "kube-apiserver", ["system:masters"])
        self.kubeconfig("admin", "edgewise-lab-admin", ("system:masters",))
        for part in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            self.kubeconfig(part, f"system:{part}")
        (self._layout.keys / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))

    def start(self, within: float = 60.0) -> None:
        """Start what does not run, and wait until the API server says it is ready.

        Raises:
            NotReadyError: it is not ready after `within` seconds, or ended; the text has the end of its log.
        """
        for part in ("etcd", "kube-apiserver"):
            self._start(part)
        api, deadline = self.api(), time.monotonic() + within
        while not api.is_ready():
            ended = [part for part in ("etcd", "kube-apiserver") if self._registry.get(part) is None]
            if ended or time.monotonic() > deadline:
                part = ended[0] if ended else "kube-apiserver"
                log = self._layout.logs / f"{part}.log"
                what = "ended" if ended else f"is not ready after {within:g} s"
                raise NotReadyError(f"{part} {what}; the end of {log}:\n{tail(log)}")
            time.sleep(0.1)
        for part in ("kube-controller-manager", "kube-scheduler"):
            self._start(part)

    def settle(self) -> None:
        """Make what every cluster has beside the control plane itself.

        The service kube-dns has nobody behind it: a name then fails at once and not after a timeout, and a
        test that needs names puts a server there.
        """
        ports = [{"name": p.lower(), "port": 53, "protocol": p} for p in ("UDP", "TCP")]
        spec = {
            "clusterIP": self._layout.addresses.dns_service,
            "selector": {"k8s-app": "kube-dns"},
            "ports": ports,
        }
        metadata = {"name": "kube-dns", "namespace": "kube-system"}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        self.api().apply("/api/v1/namespaces/kube-system/services/kube-dns", service)

    def stop(self, grace: float = 5.0) -> None:
        """End everything, the API server before its store.

        Args:
            grace: seconds for a clean end; 0 is a power cut.
        """
        for part in reversed(PARTS):
            found = self._registry.get(part)
            if found is not None:
                # A clean end of the API server waits up to a minute for long requests; nobody gains by it
                # here.
                stop(found, grace=0 if part == "kube-apiserver" else grace)
            self._registry.forget(part)

    def is_complete(self) -> bool:
        """Whether every part runs and the API server says it is ready."""
        return all(self._registry.get(part) is not None for part in PARTS) and self.api().is_ready()

    def _start(self, part: str) -> None:
        if self._registry.get(part) is None:
            argv = [str(self._programs[part]), *self._arguments()[part]]
            log = self._layout.logs / f"{part}.log"
            self._registry.record(part, spawn(argv, home=self._layout.home, log=log))

    def _arguments(self) -> dict[str, list[str]]:
        plan, keys, home = self._layout.addresses, self._layout.keys, self._layout.home
        store, peers = f"http://{plan.loopback}:2379", f"http://{plan.loopback}:2380"
        accounts = self._authority.service_accounts
        authority = self._authority.root.certificate
        return {
            "etcd": [
                f"--data-dir={home / 'etcd'}",
                f"--listen-client-urls={store}",
                f"--advertise-client-urls={store}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=default={peers}",
                # The lab's data may be lost with the machine's power, and a slow disk must not slow every
                # test.
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
            "kube-apiserver": [
                f"--etcd-servers={store}",
                f"--bind-address={plan.host}",
                f"--advertise-address={plan.host}",
                f"--secure-port={API_PORT}",
                f"--service-cluster-ip-range={plan.services}",
                f"--tls-cert-file={keys / 'apiserver.crt'}",
                f"--tls-private-key-file={keys / 'apiserver.key'}",
                f"--client-ca-file={authority}",
                f"--kubelet-certificate-authority={authority}",
                f"--kubelet-client-certificate={keys / 'apiserver-kubelet.crt'}",
                f"--kubelet-client-key={keys / 'apiserver-kubelet.key'}",
                # Names of nodes mean nothing to the host's resolver.
                "--kubelet-preferred-address-types=InternalIP",
                f"--service-account-key-file={accounts.certificate}",
                f"--service-account-signing-key-file={accounts.key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                f"--default-unreachable-toleration-seconds={self._options.eviction}",
                f"--default-not-ready-toleration-seconds={self._options.eviction}",
                f"--audit-policy-file={keys / 'audit-policy.json'}",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-maxsize=200",
                "--audit-log-maxbackup=2",
                "--profiling=false",
            ],
            "kube-controller-manager": [
                f"--kubeconfig={keys / 'kube-controller-manager.kubeconfig'}",
                f"--bind-address={plan.loopback}",
                f"--root-ca-file={authority}",
                f"--service-account-private-key-file={accounts.key}",
                f"--cluster-signing-cert-file={authority}",
                f"--cluster-signing-key-file={self._authority.root.key}",
                "--use-service-account-credentials",
                "--leader-elect=false",
                f"--node-monitor-grace-period={self._options.node_grace}s",
                "--node-monitor-period=2s",
                "--profiling=false",
            ],
            "kube-scheduler": [
                f"--kubeconfig={keys / 'kube-scheduler.kubeconfig'}",
                f"--bind-address={plan.loopback}",
                "--leader-elect=false",
                "--profiling=false",
            ],
        }
