"""What goes wrong in the field, done to a lab on purpose: cut links, power cuts, a site left alone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lab import readiness
from lab.api import Api
from lab.controlplane import ControlPlane
from lab.network import Network
from lab.node import Node
from lab.progress import Progress
from lab.registry import Registry
from lab.settings import Layout


class Faults(ABC):
    """The part of a lab that breaks it, and mends it."""

    layout: Layout
    progress: Progress
    registry: Registry
    referrers: Registry

    @abstractmethod
    def nodes(self) -> dict[str, Node]:
        """The lab's nodes by name."""

    @abstractmethod
    def node(self, name: str) -> Node:
        """One node."""

    @abstractmethod
    def api(self) -> Api:
        """Requests to the API server as the administrator."""

    @abstractmethod
    def control_plane(self) -> ControlPlane:
        """The control plane's processes."""

    def cut(self, name: str) -> None:
        """Cut the node's link: no packet passes until `join`."""
        Network(self.layout).set_link(self.node(name).octet, up=False)

    def join(self, name: str) -> None:
        """Join the node's link again."""
        Network(self.layout).set_link(self.node(name).octet, up=True)

    def reboot(self, name: str, *, network: bool = True) -> None:
        """Kill everything on the node as a power cut does, then start it again from what is on its disk.

        Args:
            name: the node.
            network: True joins its link and waits until it is Ready; False leaves it cut, and returns when
                the kubelet runs.
        """
        node, api = self.node(name), self.api()
        before = readiness.sign_of_life(api, name) if network else None
        with self.progress.step(f"reboot {name}{'' if network else ' without network'}"):
            node.kill()
            (self.join if network else self.cut)(name)
            node.start()
            if network:
                node.wait_until_ready(api, since=before)

    def isolate(self, name: str) -> None:
        """Leave the control plane and one node alone, as a one-cluster site whose uplink is gone.

        The registries end and every other node's link is cut, until `reunite`.
        """
        self.registry.stop()
        self.referrers.stop()
        for other in self.nodes():
            (self.join if other == name else self.cut)(other)

    def reunite(self) -> None:
        """Undo `isolate`: every link is joined and the registries run again over what they stored."""
        self.registry.start()
        for name in self.nodes():
            self.join(name)

    def reboot_site(self, name: str) -> None:
        """A power cut at a one-cluster site: control plane and node go at once and come back.

        Links and registries stay as they are; with `isolate` before it, the site boots without any network.
        """
        node, api, plane = self.node(name), self.api(), self.control_plane()
        before = readiness.sign_of_life(api, name)
        with self.progress.step(f"reboot {name} and its control plane"):
            plane.stop(grace=0)
            node.kill()
            plane.start()
            node.start()
            node.wait_until_ready(api, since=before)

    def restart_control_plane(self) -> None:
        """End the control plane and start it again over the same store."""
        with self.progress.step("restart the control plane"):
            plane = self.control_plane()
            plane.stop()
            plane.start()

    def stop_control_plane(self) -> None:
        """End the control plane; nodes go on."""
        self.control_plane().stop()

    def start_control_plane(self) -> None:
        """Start it again over the same store."""
        self.control_plane().start()
