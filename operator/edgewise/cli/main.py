"""``edgewise``: sign, publish and verify models, and try traffic out in virtual time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edgewise import __version__
from edgewise.cli import simulate, verify


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = argparse.ArgumentParser(prog="edgewise", description=__doc__)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True)
    sign = commands.add_parser("sign", help="sign every file of a folder (OpenSSF Model Signing)")
    sign.add_argument("folder", type=Path)
    sign.add_argument("--key", type=Path, required=True, help="private key in PEM: ECDSA or Ed25519")
    sign.add_argument("--output", "-o", type=Path, help="the bundle; FOLDER/model.sig when not given")
    sign.add_argument("--name", default="", help="the model's name in the signed statement")
    push = commands.add_parser("publish", help="push a folder as a model artifact, with its signature")
    push.add_argument("folder", type=Path)
    push.add_argument("--to", required=True, metavar="oci://HOST/REPOSITORY")
    push.add_argument("--bundle", type=Path, action="append", help="FOLDER/model.sig when not given")
    push.add_argument("--name", default="")
    push.add_argument("--model-version", default="")
    verify.add(commands)
    simulate.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command: 0 when done, 1 when refused, 2 when it could not be tried."""
    arguments = parser().parse_args(argv)
    # What a command needs is loaded with it: who simulates needs no keys, who signs no queues.
    if arguments.command == "simulate":
        return simulate.run(arguments)
    if arguments.command == "verify":
        return verify.run(arguments)
    from edgewise.cli import publish

    return publish.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
