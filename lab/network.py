"""Links between the nodes: a switch in a network namespace of its own, with a cable to everybody.

The switch is no bridge on the host, so whatever a firewall or Docker does with the host's forwarded packets
touches nothing here. The host gets one interface and routes to the nodes' pods; both vanish with the
namespace. Namespaces are entered with nsenter and `ip -n`, never with `ip netns exec`, which mounts /sys
anew and so hides the cgroups from what it starts.
"""

from __future__ import annotations

import json
from pathlib import Path

from lab.settings import Layout
from lab.shell import run, succeeds

_NAMESPACES = Path("/run/netns")


class Network:
    """The links of one lab."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._addresses = layout.addresses

    def create(self) -> None:
        """Make the switch and the host's cable to it."""
        switch, interface = self._layout.switch, self._layout.interface
        run(["ip", "netns", "add", switch])
        _batch(
            switch,
            "link set lo up",
            "link add br0 type bridge forward_delay 0",
            "link set br0 up",
        )
        run(["ip", "link", "add", interface, "type", "veth", "peer", "name", "uplink", "netns", switch])
        _batch(switch, "link set uplink master br0 up")
        _batch(None, f"addr add {self._addresses.host}/24 dev {interface}", f"link set {interface} up")

    def exists(self) -> bool:
        """Whether `create` was carried out and not undone."""
        return (_NAMESPACES / self._layout.switch).exists()

    def attach(self, node: str, octet: int, others: dict[str, int]) -> None:
        """Make the node's namespace and its cable, and routes between its pods and everybody's.

        Args:
            node: the node's name.
            octet: its number in the address plan.
            others: name -> octet of the nodes that are attached already.
        """
        namespace, plan = self._layout.namespace(node), self._addresses
        port = f"port{octet}"
        run(["ip", "netns", "add", namespace])
        run(
            [
                *("ip", "-n", self._layout.switch, "link", "add", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", namespace),
            ]
        )
        _batch(self._layout.switch, f"link set {port} master br0 up")
        _batch(
            namespace,
            "link set lo up",
            f"addr add {plan.node(octet)}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {plan.host}",
            *(f"route add {plan.pods(o)} via {plan.node(o)}" for o in others.values()),
        )
        # Settings of a network namespace, not of the host; a node forwards between its pods and its cable.
        run(["nsenter", f"--net={_NAMESPACES / namespace}", "sysctl", "-qw", "net.ipv4.ip_forward=1"])
        for other in others:
            _batch(self._layout.namespace(other), f"route replace {plan.pods(octet)} via {plan.node(octet)}")
        _batch(None, f"route replace {plan.pods(octet)} via {plan.node(octet)} dev {self._layout.interface}")
        if not others:
            # Enough for a person and a test on the host to reach a ClusterIP: the first node carries them.
            services = f"route replace {plan.services} via {plan.node(octet)} dev {self._layout.interface}"
            _batch(None, services)

    def detach(self, node: str) -> None:
        """Remove the node's namespace, and with it its cable."""
        if (_NAMESPACES / self._layout.namespace(node)).exists():
            run(["ip", "netns", "delete", self._layout.namespace(node)])

    def set_link(self, octet: int, *, up: bool) -> None:
        """Join or cut the node's cable, at the switch: the node sees its carrier come and go."""
        _batch(self._layout.switch, f"link set port{octet} {'up' if up else 'down'}")

    def unplug_pods(self, node: str) -> None:
        """Remove the cables of the node's pods, and with them their routes.

        The kernel does so by itself when a pod's namespace ends, but later: a node that starts again may
        have given the address to another pod by then, and the ptp plugin takes the old route for the new.
        """
        namespace = self._layout.namespace(node)
        shown = json.loads(run(["ip", "-n", namespace, "-json", "link", "show", "type", "veth"]) or "[]")
        for name in (link["ifname"] for link in shown if link.get("ifname", "eth0") != "eth0"):
            # It may go by itself at the same time.
            succeeds(["ip", "-n", namespace, "link", "delete", name])

    def remove(self) -> None:
        """Remove every namespace of this lab, the host's interface, and with it the host's routes."""
        if _NAMESPACES.is_dir():
            for entry in sorted(_NAMESPACES.iterdir()):
                if entry.name.startswith(f"{self._layout.prefix}-"):
                    run(["ip", "netns", "delete", entry.name])
        # The kernel takes a namespace's devices away a little later; the host's end is removed at once.
        if succeeds(["ip", "link", "show", self._layout.interface]):
            succeeds(["ip", "link", "delete", self._layout.interface])

    def namespace_path(self, node: str) -> Path:
        """The file to enter the node's network namespace by."""
        return _NAMESPACES / self._layout.namespace(node)


def _batch(namespace: str | None, *commands: str) -> None:
    argv = ["ip", *(("-n", namespace) if namespace else ()), "-batch", "-"]
    run(argv, text="".join(f"{command}\n" for command in commands))
