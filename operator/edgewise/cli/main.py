"""``edgewise``: sign a model's folder, and publish it to a registry."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edgewise import __version__
from edgewise.provenance.errors import ProvenanceError
from edgewise.provenance.publickeys import UnusableKeyError
from edgewise.provenance.publish import attach, publish
from edgewise.provenance.signer import UnsignableError, directory_digest, sign_directory
from edgewise.provenance.transport import PLAIN_HTTP_VARIABLE, RegistryError, Transport, plain_http_hosts


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
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command: 0 when done, 1 when refused, 2 when it could not be tried."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.command == "sign":
            _sign(arguments)
        else:
            _publish(arguments)
    except (ProvenanceError, UnsignableError, RegistryError) as error:
        sys.stderr.write(f"edgewise: {error}\n")
        return 1
    except (OSError, UnusableKeyError) as error:
        sys.stderr.write(f"edgewise: {error}\n")
        return 2
    return 0


def _sign(arguments: argparse.Namespace) -> None:
    bundle = sign_directory(arguments.folder, arguments.key.read_bytes(), name=arguments.name)
    output: Path = arguments.output or arguments.folder / "model.sig"
    output.write_bytes(bundle)
    sys.stdout.write(f"{output}\ndigest: {directory_digest(arguments.folder)}\n")


def _publish(arguments: argparse.Namespace) -> None:
    transport = Transport(plain_http=plain_http_hosts(os.environ.get(PLAIN_HTTP_VARIABLE, "")))
    bundles = arguments.bundle or [arguments.folder / "model.sig"]
    signatures = [path.read_bytes() for path in bundles]
    done = publish(
        arguments.folder, arguments.to, transport, name=arguments.name, version=arguments.model_version
    )
    for signature in signatures:
        attach(signature, done.uri, transport)
    # The two lines that an EdgeModel's variant wants.
    sys.stdout.write(f"uri: {done.uri}\ndigest: {done.digest}\n")


if __name__ == "__main__":
    sys.exit(main())
