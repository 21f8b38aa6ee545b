"""The lab's certificate authority: who the API server is, and who everybody is to it.

Certificates rather than a token file: a token file is read once, when the API server starts, and nodes and
users come later.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.shell import run

_VALID_DAYS = "365"
_REQUEST = "[req]\ndistinguished_name=dn\n[dn]\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A P-256 authority that lives in one folder and issues certificates into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = Pair(folder / "ca.crt", folder / "ca.key")

    def create(self) -> None:
        """Make the authority and the key that signs service account tokens, when they are not there yet."""
        if self.root.certificate.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._request(
            self.root,
            "/CN=edgewise-lab",
            ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"],
            signed_by=None,
        )
        run(["openssl", "genrsa", "-out", str(self.service_accounts.key), "2048"])
        run(
            [
                *("openssl", "rsa", "-in", str(self.service_accounts.key), "-pubout"),
                *("-out", str(self.service_accounts.certificate)),
            ]
        )

    @property
    def service_accounts(self) -> Pair:
        """The key for service account tokens; `certificate` is just its public half."""
        return Pair(self._folder / "service-accounts.pub", self._folder / "service-accounts.key")

    def server(self, name: str, hosts: Sequence[str]) -> Pair:
        """A certificate for a server that is reached as one of `hosts` (names or IPv4 addresses)."""
        names = ",".join(f"{'IP' if _is_address(host) else 'DNS'}:{host}" for host in hosts)
        return self._issue(name, f"/CN={name}", ["extendedKeyUsage=serverAuth", f"subjectAltName={names}"])

    def client(self, name: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """A certificate that the API server takes as `user`, member of `groups`."""
        subject = "".join(f"/O={_escape(group)}" for group in groups) + f"/CN={_escape(user)}"
        return self._issue(name, subject, ["extendedKeyUsage=clientAuth"])

    def _issue(self, name: str, subject: str, extensions: list[str]) -> Pair:
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        if not pair.certificate.exists():
            usage = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
            self._request(pair, subject, [*usage, *extensions], signed_by=self.root)
        return pair

    def _request(self, pair: Pair, subject: str, extensions: list[str], signed_by: Pair | None) -> None:
        config = self._folder / "request.cnf"
        config.write_text(_REQUEST)
        # The certificate appears last and by a rename: what exists is whole.
        fresh = pair.certificate.with_suffix(f".{os.getpid()}")
        run(
            [
                *("openssl", "req", "-x509", "-new", "-config", str(config), "-nodes", "-days", _VALID_DAYS),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject),
                *("-keyout", str(pair.key), "-out", str(fresh)),
                *(word for extension in extensions for word in ("-addext", extension)),
                *(("-CA", str(signed_by.certificate), "-CAkey", str(signed_by.key)) if signed_by else ()),
            ]
        )
        fresh.replace(pair.certificate)


def kubeconfig(server: str, authority: Path, pair: Pair) -> str:
    """A kubeconfig (JSON, which is YAML too) with everything inside, so that it may be moved.

    Args:
        server: the API server's URL.
        authority: the CA's certificate, PEM.
        pair: who the user is.
    """

    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {"server": server, "certificate-authority-data": inline(authority)},
                }
            ],
            "users": [
                {
                    "name": "user",
                    "user": {
                        "client-certificate-data": inline(pair.certificate),
                        "client-key-data": inline(pair.key),
                    },
                }
            ],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
            "current-context": "lab",
        },
        indent=1,
    )


def _is_address(host: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+){3}", host) is not None


def _escape(value: str) -> str:
    """A value for openssl's -subj, where a slash separates and a backslash escapes."""
    return value.replace("\\", "\\\\").replace("/", "\\/")
