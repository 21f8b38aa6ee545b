"""A lab: a control plane and its nodes, up, changed and taken down by one object.

Everything is on disk below the home, so a second program (the command line, another test) goes on with the
same lab.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab import hostnotes, leftovers, packages, toolchain
from lab.api import Api
from lab.controlplane import ControlPlane
from lab.errors import LabError
from lab.faults import Faults
from lab.files import locked, write_whole
from lab.images import Images
from lab.network import Network
from lab.node import Node
from lab.nodeconfig import PRIVATE, SHARED
from lab.oci import Image
from lab.progress import Progress
from lab.registry import Registry, distribution, referrers
from lab.settings import MAX_NODES, Layout
from lab.shell import run
from lab.specs import DEFAULT_NODES, ControlPlaneOptions, NodeSpec
from lab.toolchain import Toolchain


class Lab(Faults):
    """One lab on this machine."""

    def __init__(self, layout: Layout | None = None, progress: Progress | None = None) -> None:
        """Describe one; nothing happens yet.

        Args:
            layout: folders and addresses; out of the environment when None.
            progress: who is told what is being done; lines on standard error when None.
        """
        self.layout = layout or Layout.from_environment()
        self.progress = progress or Progress(self.layout.cache / "durations.json")
        self.toolchain = Toolchain(self.layout.cache, self.progress)
        self.images = Images(self.layout.cache, self.progress)
        self.registry: Registry = distribution(
            self.layout, lambda: packages.docker_registry(self.layout.cache)
        )
        self.referrers: Registry = referrers(self.layout, lambda: self.toolchain.path(toolchain.REFERRERS))
        self._network = Network(self.layout)

    # -- up and down ------------------------------------------------------------------------------------

    def up(
        self,
        nodes: Sequence[NodeSpec] = DEFAULT_NODES,
        options: ControlPlaneOptions | None = None,
    ) -> None:
        """Start the lab and wait until every node is Ready.

        A lab that runs is gone on with: missing nodes are added. What a crashed one left is removed first.

        Args:
            nodes: none gives a control plane only.
            options: how patient the control plane is; not changed in a lab that runs.

        Raises:
            LabError: something is missing or did not start; the text says what and what to do.
        """
        require_root()
        with self._locked():
            packages.ensure(self.progress, nodes=bool(nodes))
            wanted = [*toolchain.CONTROL_PLANE, *(toolchain.NODE if nodes else ())]
            self.toolchain.ensure(wanted)
            if not self.is_running():
                if self.layout.home.exists() or self._network.exists():
                    with self.progress.step("remove what an earlier lab left", "remove leftovers"):
                        leftovers.remove(self.layout)
                with self.progress.step("start the control plane", "start control plane"):
                    self._start_control_plane(options or ControlPlaneOptions())
                if nodes:
                    self.registry.start()
            missing = [spec for spec in nodes if spec.name not in self.nodes()]
            if missing:
                names = ", ".join(spec.name for spec in missing)
                with self.progress.step(f"start {names}", f"start {len(missing)} nodes"):
                    self._add(missing)

    def prepare(self) -> None:
        """Do all that takes long and can be kept: packages, programs, images.

        Programs are built in the order in which they are needed while the images are made beside them.
        """
        require_root()
        packages.ensure(self.progress, images=True)
        _together([lambda: self.toolchain.ensure(toolchain.ALL), self.images.envoy])

    def down(self) -> None:
        """End and remove everything that the lab made; the cache stays."""
        require_root()
        with self._locked(), self.progress.step("take the lab down", "down"):
            leftovers.remove(self.layout)

    def is_running(self) -> bool:
        """Whether the control plane was started whole and answers."""
        return bool(self._state()) and self.control_plane().is_complete()

    # -- nodes ------------------------------------------------------------------------------------------

    def nodes(self) -> dict[str, Node]:
        """The lab's nodes by name, whether they run or not."""
        programs = self._programs()
        return {
            entry["spec"]["name"]: Node(
                self.layout, NodeSpec.from_json(entry["spec"]), entry["octet"], programs
            )
            for entry in self._state().get("nodes", [])
        }

    def node(self, name: str) -> Node:
        """One node.

        Raises:
            LabError: there is none of this name; the text has those that there are.
        """
        found = self.nodes()
        if name not in found:
            raise LabError(f"no node {name!r}; there are: {', '.join(found) or 'none'}")
        return found[name]

    def add_node(self, spec: NodeSpec) -> Node:
        """Add a node and wait until it is Ready."""
        with self._locked(), self.progress.step(f"start {spec.name}", "start 1 nodes"):
            if spec.name in self.nodes():
                raise LabError(f"node {spec.name} is there already")
            self._add([spec])
        return self.node(spec.name)

    def remove_node(self, name: str) -> None:
        """Take a node away for good: its processes, its disk and its object."""
        with self._locked(), self.progress.step(f"remove {name}"):
            node = self.node(name)
            node.kill()
            self._network.detach(name)
            state = self._state()
            state["nodes"] = [entry for entry in state["nodes"] if entry["spec"]["name"] != name]
            self._write_state(state)
            self.api().delete(f"/api/v1/nodes/{name}")
            shutil.rmtree(node.folder)

    def publish(self, image: Image, *, preload: bool = True, nodes: Sequence[str] | None = None) -> str:
        """Put an image where pods find it, and return its reference by digest.

        It is pushed to the lab's registry, so that every node can pull it, and pulled by the nodes at once,
        so that a pod starts without waiting, also while the registry is away. (A pull takes half the time
        of an import: layers that the node has are not read again.)

        Args:
            image: as made by `images`.
            preload: False leaves it to the kubelets.
            nodes: which pull; all of them when None.
        """
        self.registry.start()
        reference = self.registry.push(image)
        if preload:
            tagged = f"{self.registry.host}/{image.name}"
            _together([lambda node=node: node.pull(reference, tagged) for node in self._chosen(nodes)])
        return reference

    def load(self, archive: Path, names: Sequence[str] = (), nodes: Sequence[str] | None = None) -> None:
        """Load the images of an archive (OCI or docker) into nodes, all of them when `nodes` is None.

        Args:
            archive: the file.
            names: the name that the archive gives its image, then further names for it.
            nodes: into which.
        """
        _together([lambda node=node: node.import_archive(archive, names) for node in self._chosen(nodes)])

    # -- control plane ----------------------------------------------------------------------------------

    def api(self) -> Api:
        """Requests to the API server as the administrator."""
        return self.control_plane().api()

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self.control_plane().server

    def kubeconfig(self, user: str | None = None, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig file: the administrator's, or one for `user` in `groups`, with a certificate each."""
        if user is None:
            return self.layout.keys / "admin.kubeconfig"
        name = "user-" + "".join(c if c.isalnum() or c in "-_" else "_" for c in "-".join((user, *groups)))
        return self.control_plane().kubeconfig(name, user, tuple(groups))

    def kubectl(self, *arguments: str, text: str | None = None, user: str | None = None) -> str:
        """Run kubectl as the administrator, or as `user`, and return its standard output.

        Raises:
            CommandFailedError: it ended with another code than 0.
        """
        return self._client(toolchain.KUBECTL, arguments, text, user)

    def helm(self, *arguments: str, text: str | None = None) -> str:
        """Run helm as the administrator and return its standard output."""
        return self._client(toolchain.HELM, arguments, text, None)

    def audit(self, user: str | None = None) -> list[dict[str, Any]]:
        """What was asked of the API server, oldest first: events of audit.k8s.io/v1 at metadata level.

        Args:
            user: only requests of this user.
        """
        log = self.control_plane().audit_log
        # A line that is being written has no end yet.
        lines = log.read_text().rpartition("\n")[0].splitlines() if log.exists() else []
        events = [json.loads(line) for line in lines]
        return [event for event in events if user is None or event["user"].get("username") == user]

    # -- parts ------------------------------------------------------------------------------------------

    def _chosen(self, names: Sequence[str] | None) -> list[Node]:
        return [self.node(name) for name in names] if names is not None else list(self.nodes().values())

    def _client(
        self, tool: toolchain.Tool, arguments: Sequence[str], text: str | None, user: str | None
    ) -> str:
        environment = toolchain.environment_for_tools()
        environment["KUBECONFIG"] = str(self.kubeconfig(user))
        return run([str(self.toolchain.path(tool)), *arguments], text=text, env=environment)

    def _programs(self) -> dict[str, Path]:
        return self.toolchain.ensure((*toolchain.CONTROL_PLANE, *toolchain.NODE))

    def control_plane(self) -> ControlPlane:
        """The control plane's processes."""
        options = ControlPlaneOptions(**self._state().get("options", {}))
        return ControlPlane(self.layout, self.toolchain.ensure(toolchain.CONTROL_PLANE), options)

    def _start_control_plane(self, options: ControlPlaneOptions) -> None:
        leftovers.claim(self.layout)
        self._network.create()
        plane = ControlPlane(self.layout, self.toolchain.ensure(toolchain.CONTROL_PLANE), options)
        plane.prepare()
        plane.start()
        plane.settle()
        # Written last: a lab with a state was started whole.
        self._write_state({"options": asdict(options), "nodes": []})

    def _add(self, specs: Sequence[NodeSpec]) -> None:
        hostnotes.make_mount_points((*SHARED, *PRIVATE))
        programs, api, added = self._programs(), self.api(), []
        for spec in specs:
            state, known = self._state(), self.nodes()
            used = {node.octet for node in known.values()}
            free = [octet for octet in range(2, 2 + MAX_NODES) if octet not in used]
            if not free:
                raise LabError(f"a lab has at most {MAX_NODES} nodes")
            node = Node(self.layout, spec, free[0], programs)
            self._network.attach(spec.name, node.octet, {n.name: n.octet for n in known.values()})
            state["nodes"].append({"spec": spec.to_json(), "octet": node.octet})
            self._write_state(state)
            node.prepare(self.server)
            # The administrator makes the object, labels and all: the kubelet may not set those that matter.
            api.apply(f"/api/v1/nodes/{spec.name}", spec.manifest())
            added.append(node)

        def start(node: Node) -> None:
            node.start()
            node.wait_until_ready(api)

        _together([lambda node=node: start(node) for node in added])

    def _state(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.layout.home / "lab.json").read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def _write_state(self, state: dict[str, Any]) -> None:
        write_whole(self.layout.home / "lab.json", json.dumps(state, indent=1))

    def _locked(self) -> AbstractContextManager[None]:
        """Let one program at a time change this lab."""
        return locked(self.layout.cache / f".lab-{self.layout.instance}.lock")


def require_root() -> None:
    """Raise LabError when the caller is not root, saying what else there is."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and mounts, so it needs root: run it with sudo")


def _together(jobs: Sequence[Any]) -> None:
    """Run all jobs at once and raise the first error, when all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        for result in [pool.submit(job) for job in jobs]:
            result.result()
