"""One node: a network, mount and process namespace with its own kubelet, containerd and kube-proxy.

Process 1 of the node holds it together. When it is killed the kernel ends every process of the node,
containers included, and with the last one go the node's mounts and its /run: what a power cut does to a
machine. What the node keeps, it keeps below `Layout.node(name)`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import cgroups, nodeconfig, readiness
from lab.api import Api
from lab.errors import CommandFailedError, LabError, NotReadyError
from lab.keys import Authority, kubeconfig
from lab.network import Network
from lab.nodeconfig import CONTAINERD_SOCKET, PAUSE_IMAGE, NodeFacts
from lab.process import MARKER, Identity, Registry, is_running, only_child, spawn, stop, tail
from lab.settings import Layout
from lab.shell import run
from lab.specs import NodeSpec


class Node:
    """A node of a running lab."""

    def __init__(self, layout: Layout, spec: NodeSpec, octet: int, programs: Mapping[str, Path]) -> None:
        """Describe one; nothing happens yet.

        Args:
            layout: the lab's.
            spec: what the user wants.
            octet: its number in the address plan.
            programs: kubelet, kube-proxy and pause by name.
        """
        self.spec = spec
        self.octet = octet
        self._layout = layout
        self._programs = programs
        self._registry = Registry(layout.processes)
        self._network = Network(layout)
        plan = layout.addresses
        self._facts = NodeFacts(
            name=spec.name,
            address=plan.node(octet),
            pods=plan.pods(octet),
            every_pod=plan.every_pod,
            host=plan.host,
            dns=plan.dns_service,
            folder=layout.node(spec.name),
            keys=layout.keys,
            cgroup=f"{layout.prefix}/{spec.name}",
        )

    @property
    def name(self) -> str:
        """The node's name."""
        return self.spec.name

    @property
    def address(self) -> str:
        """The node's address on the switch."""
        return self._facts.address

    @property
    def folder(self) -> Path:
        """What the node keeps over a reboot, as the host sees it."""
        return self._facts.folder

    def path(self, path: str) -> Path:
        """The node's file `path` (absolute, below /var/lib/kubelet or /var/lib/edgewise, say) for the host.

        While the node runs this goes through its process 1, so the node's mounts and /run are seen as it
        sees them.
        """
        return Path(f"/proc/{self._init().pid}/root{path}")

    def disk(self, folder: str) -> Path:
        """Where `folder`, one that the node keeps, lies on the host's disk; also while it is off."""
        return nodeconfig.disk(self._facts, folder)

    # -- life -------------------------------------------------------------------------------------------

    def prepare(self, server: str) -> None:
        """Make the node's identity and the files that its programs read.

        Args:
            server: the API server's URL.
        """
        facts, authority = self._facts, Authority(self._layout.keys)
        user = f"system:node:{self.name}"
        pair = authority.client(f"node-{self.name}", user, ["system:nodes"])
        authority.server(f"kubelet-{self.name}", [self.name, self.address])
        for folder in (*nodeconfig.SHARED, *nodeconfig.PRIVATE):
            self.disk(folder).mkdir(parents=True, exist_ok=True)
        resolver = Path("/etc/resolv.conf")
        files = {
            "kubeconfig": kubeconfig(server, authority.root.certificate, pair),
            "containerd.toml": nodeconfig.containerd(facts),
            "kubelet.json": nodeconfig.kubelet(facts),
            "kube-proxy.json": nodeconfig.kube_proxy(facts),
            "cni/10-lab.conflist": nodeconfig.cni(facts),
            # A copy: on many hosts the file is a link into /run, and the node's /run is its own.
            "resolv.conf": resolver.read_text() if resolver.exists() else "",
            **{f"registries/{host}/hosts.toml": text for host, text in nodeconfig.registries(facts).items()},
        }
        for name, text in files.items():
            path = facts.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def start(self) -> None:
        """Start process 1, containerd, kubelet and kube-proxy, as far as they do not run."""
        if self._registry.get(self._key("init")) is None:
            cgroups.create(self._system_cgroup)
            self._start_init()
        if self._registry.get(self._key("containerd")) is None:
            self._spawn("containerd", ["containerd", "--config", str(self.folder / "containerd.toml")])
        self._wait_for_containerd()
        self._ensure_pause_image()
        self.start_kubelet()
        if self._registry.get(self._key("kube-proxy")) is None:
            proxy = str(self._programs["kube-proxy"])
            self._spawn("kube-proxy", [proxy, f"--config={self.folder / 'kube-proxy.json'}"])

    def kill(self) -> None:
        """End everything on the node at once, as a power cut does."""
        init = self._registry.get(self._key("init"))
        if init is not None:
            stop(init, grace=0)
        for part in ("init", "containerd", "kubelet", "kube-proxy"):
            self._registry.forget(self._key(part))
        self._network.unplug_pods(self.name)
        cgroups.remove(self._facts.cgroup)

    def start_kubelet(self) -> None:
        """Start the kubelet when it does not run."""
        if self._registry.get(self._key("kubelet")) is None:
            self._spawn(
                "kubelet",
                [
                    str(self._programs["kubelet"]),
                    f"--config={self.folder / 'kubelet.json'}",
                    f"--kubeconfig={self.folder / 'kubeconfig'}",
                    "--root-dir=/var/lib/kubelet",
                    f"--hostname-override={self.name}",
                    f"--node-ip={self.address}",
                ],
            )

    def stop_kubelet(self) -> None:
        """End the kubelet; containers go on."""
        found = self._registry.get(self._key("kubelet"))
        if found is not None:
            stop(found)
        self._registry.forget(self._key("kubelet"))

    def restart_kubelet(self) -> None:
        """End the kubelet and start it again; containers go on."""
        self.stop_kubelet()
        self.start_kubelet()

    def is_running(self) -> bool:
        """Whether all of the node's programs run."""
        parts = ("init", "containerd", "kubelet", "kube-proxy")
        return all(self._registry.get(self._key(part)) is not None for part in parts)

    def wait_until_ready(self, api: Api, since: str | None = None, within: float = 90.0) -> None:
        """Wait until the node is Ready.

        Args:
            api: requests as the administrator.
            since: what `boot_of` said before a reboot; only a Ready of a later boot counts then.
            within: seconds.

        Raises:
            NotReadyError: it is not Ready in time; the text has the condition and the end of the kubelet's
                log.
        """
        readiness.wait(api, self.name, self._log("kubelet"), since, within)

    # -- inside -----------------------------------------------------------------------------------------

    def command(self, argv: Sequence[str], *, whole: bool = False) -> list[str]:
        """`argv` as it must be called on the host to run in the node.

        Args:
            argv: program and arguments.
            whole: False enters the node's network only and sees the host's files; True enters its network,
                mounts and processes.
        """
        if whole:
            return ["nsenter", f"--target={self._init().pid}", "--mount", "--net", "--pid", "--", *argv]
        return ["nsenter", f"--net={self._network.namespace_path(self.name)}", "--", *argv]

    def run(self, argv: Sequence[str], *, whole: bool = False, timeout: float | None = None) -> str:
        """Run `argv` in the node to its end and return its standard output.

        Raises:
            CommandFailedError: it ended with another code than 0.
        """
        return run(self.command(argv, whole=whole), timeout=timeout)

    def popen(self, argv: Sequence[str], *, whole: bool = False, **options: Any) -> subprocess.Popen[Any]:
        """Start `argv` in the node, with Popen's `options`; `lab down` ends what still runs."""
        environment = {**(options.pop("env", None) or os.environ), MARKER: str(self._layout.home)}
        return subprocess.Popen(self.command(argv, whole=whole), env=environment, **options)

    def ctr(self, *arguments: str, timeout: float | None = None) -> str:
        """Run containerd's `ctr` on the node, in the kubelet's namespace `k8s.io`."""
        argv = ["ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", *arguments]
        return run(self.command(argv, whole=True), timeout=timeout)

    def pull(self, reference: str, *names: str) -> None:
        """Pull an image from a registry that speaks plain http, and give it further names."""
        self.ctr("images", "pull", "--plain-http", reference)
        for name in names:
            self.ctr("images", "tag", "--force", reference, name)

    def import_archive(self, archive: Path, names: Sequence[str] = ()) -> None:
        """Load images from an archive (OCI or docker) into the node.

        Args:
            archive: a file that the host sees.
            names: further names for the image that the first of them names, as `host/repo@sha256:...`.
        """
        self.ctr("images", "import", str(archive))
        for name in names[1:]:
            self.ctr("images", "tag", "--force", names[0], name)

    # -- parts ------------------------------------------------------------------------------------------

    def _key(self, part: str) -> str:
        return f"node-{self.name}-{part}"

    def _log(self, part: str) -> Path:
        return self._layout.logs / f"{self._key(part)}.log"

    @property
    def _system_cgroup(self) -> str:
        """Where the node's own programs are counted, beside the kubelet's `kubepods`."""
        return f"{self._facts.cgroup}/system"

    def _in_cgroup(self, argv: list[str]) -> list[str]:
        script = cgroups.enter_script(self._system_cgroup)
        return ["sh", "-c", f'{script}\nexec "$@"', "sh", *argv]

    def _init(self) -> Identity:
        found = self._registry.get(self._key("init"))
        if found is None:
            raise LabError(f"node {self.name} is off; start it with `python -m lab reboot {self.name}`")
        return found

    def _start_init(self) -> None:
        pause, log = self._programs["pause"], self._log("init")
        script = nodeconfig.init_script(self._facts, pause)
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv = self.command([*namespaces, "--propagation", "private", "--", "sh", "-c", script])
        outer = spawn(self._in_cgroup(argv), home=self._layout.home, log=log)
        init = only_child(outer, log)
        deadline = time.monotonic() + 20
        # Its mounts stand once the script has turned into the pause program.
        while os.path.basename(_program(init)) != pause.name:
            if not is_running(init) or time.monotonic() > deadline:
                raise LabError(f"node {self.name} did not start; the end of {log}:\n{tail(log)}")
            time.sleep(0.005)
        self._registry.record(self._key("init"), init)

    def _spawn(self, part: str, argv: list[str]) -> None:
        log = self._log(part)
        outer = spawn(self._in_cgroup(self.command(argv, whole=True)), home=self._layout.home, log=log)
        self._registry.record(self._key(part), only_child(outer, log))

    def _wait_for_containerd(self, within: float = 30.0) -> None:
        deadline = time.monotonic() + within
        while True:
            try:
                self.ctr("version", timeout=10)
                return
            except CommandFailedError as error:
                if self._registry.get(self._key("containerd")) is None or time.monotonic() > deadline:
                    log = self._log("containerd")
                    raise NotReadyError(
                        f"containerd does not answer: {error}\n{log}:\n{tail(log)}"
                    ) from error
            time.sleep(0.05)

    def _ensure_pause_image(self) -> None:
        if PAUSE_IMAGE not in self.ctr("images", "list", "--quiet").split():
            self.import_archive(nodeconfig.pause_archive(self.folder / "pause", self._programs["pause"]))


def _program(identity: Identity) -> str:
    try:
        return os.readlink(f"/proc/{identity.pid}/exe")
    except OSError:
        return ""
