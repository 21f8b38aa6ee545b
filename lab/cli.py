"""The lab's command line: `python -m lab up|down|status|...`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from lab import toolchain
from lab.cluster import Lab
from lab.errors import LabError
from lab.specs import DEFAULT_NODES, ControlPlaneOptions, NodeSpec


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a lab and wait until its nodes are Ready")
    up.add_argument("--node", action="append", type=NodeSpec.parse, metavar="NAME[=SITE[,LABEL=VALUE...]]")
    up.add_argument("--control-plane-only", action="store_true")
    up.add_argument("--node-grace", type=int, default=ControlPlaneOptions().node_grace, metavar="SECONDS")
    up.add_argument("--eviction", type=int, default=ControlPlaneOptions().eviction, metavar="SECONDS")
    commands.add_parser("down", help="end and remove everything; the cache stays")
    commands.add_parser("status", help="what runs; ends with 1 when the lab does not")
    add = commands.add_parser("add-node", help="add a node to a running lab")
    add.add_argument("node", type=NodeSpec.parse, metavar="NAME[=SITE[,LABEL=VALUE...]]")
    for name, text in (("cut", "cut a node's link"), ("join", "join a node's link again")):
        commands.add_parser(name, help=text).add_argument("node")
    reboot = commands.add_parser("reboot", help="kill a node as a power cut does, and start it again")
    reboot.add_argument("node")
    reboot.add_argument("--no-network", action="store_true", help="leave its link cut")
    reboot.add_argument("--site", action="store_true", help="the control plane too, as at a one-cluster site")
    alone = commands.add_parser("isolate", help="stop the registries and cut every other node's link")
    alone.add_argument("node")
    commands.add_parser("reunite", help="undo isolate")
    for name in ("kubectl", "helm"):
        client = commands.add_parser(name, help=f"run {name} against the lab", add_help=False)
        client.add_argument("arguments", nargs=argparse.REMAINDER)
    inside = commands.add_parser("exec", help="run a program in a node's network")
    inside.add_argument("--whole", action="store_true", help="in its mounts and processes too")
    inside.add_argument("node")
    inside.add_argument("arguments", nargs=argparse.REMAINDER)
    commands.add_parser("build-tools", help="build or fetch every program, into the cache")
    commands.add_parser("images", help="make the base image and Envoy's, into the cache")
    commands.add_parser("prepare", help="packages, programs and images: all that takes long, at once")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # argparse would take kubectl's own options for ours.
    if words[:1] in (["kubectl"], ["helm"]):
        arguments = argparse.Namespace(command=words[0], arguments=words[1:])
    else:
        arguments = parser().parse_args(words)
    try:
        return _carry_out(Lab(), arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _carry_out(lab: Lab, arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            nodes = () if arguments.control_plane_only else tuple(arguments.node or DEFAULT_NODES)
            lab.up(nodes, ControlPlaneOptions(arguments.node_grace, arguments.eviction))
            print(f"KUBECONFIG={lab.kubeconfig()}")
        case "down":
            lab.down()
        case "status":
            return _status(lab)
        case "add-node":
            lab.add_node(arguments.node)
        case "cut":
            lab.cut(arguments.node)
        case "join":
            lab.join(arguments.node)
        case "isolate":
            lab.isolate(arguments.node)
        case "reunite":
            lab.reunite()
        case "reboot" if arguments.site:
            lab.reboot_site(arguments.node)
        case "reboot":
            lab.reboot(arguments.node, network=not arguments.no_network)
        case "kubectl" | "helm":
            tool = toolchain.KUBECTL if arguments.command == "kubectl" else toolchain.HELM
            program = str(lab.toolchain.path(tool))
            environment = {**toolchain.environment_for_tools(), "KUBECONFIG": str(lab.kubeconfig())}
            os.execve(program, [program, *arguments.arguments], environment)  # noqa: S606
        case "exec":
            command = lab.node(arguments.node).command(arguments.arguments, whole=arguments.whole)
            os.execvp(command[0], command)  # noqa: S606
        case "build-tools":
            lab.toolchain.ensure(toolchain.ALL)
        case "images":
            for image in (lab.images.base(), lab.images.envoy()):
                print(f"{image.name} {image.digest}")
        case "prepare":
            lab.prepare()
    return 0


def _status(lab: Lab) -> int:
    running = lab.is_running()
    print(f"control plane: {'ready at ' + lab.server if running else 'not running'}")
    for node in lab.nodes().values():
        print(f"{node.name}: {'running' if node.is_running() else 'off'}, {node.address}")
    return 0 if running else 1
