"""What the agent has to know after a restart: which pod has which volume, under which verdict.

One small JSON file a fact, written atomically. The verdict of a digest is kept beside it, and the cluster's
verdict keys, so that a node that reboots without network can mount again what it had.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from edgewise.agent.files import read_if_there, write_atomically
from edgewise.provenance.keys import MAX_DOCUMENT_BYTES
from edgewise.provenance.strictjson import Fields, JsonError, parse
from edgewise.provenance.verdict import MAX_VERDICT_BYTES

#: Names of namespaces and of EdgeModels (RFC 1123 subdomains): safe as file names.
NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_MAX_RECORD: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume that a pod has, or had before the node went down."""

    target: str
    pod_uid: str
    namespace: str
    model: str
    digest: str
    verdict: str  # sha256 (hex) of the envelope


@dataclass(frozen=True, slots=True)
class Journal:
    """The files below `root`."""

    root: Path

    def write_mount(self, mount: Mount) -> None:
        """Record a mount; before it is made, so that the store keeps its bytes."""
        write_atomically(self._mount_path(mount.target), json.dumps(asdict(mount)).encode())

    def mount(self, target: str) -> Mount | None:
        """The record of a target; None when there is none, or it cannot be read."""
        return _read_mount(self._mount_path(target))

    def drop_mount(self, target: str) -> None:
        """Forget a target."""
        self._mount_path(target).unlink(missing_ok=True)

    def mounts(self) -> Iterator[Mount]:
        """All records."""
        for path in sorted((self.root / "mounts").glob("*.json")):
            if (mount := _read_mount(path)) is not None:
                yield mount

    def keep_verdict(self, namespace: str, model: str, tree: str, envelope: str) -> None:
        """Keep the verdict of a digest (hex of its tree)."""
        path = self._verdict_path(namespace, model, tree)
        data = envelope.encode()
        if read_if_there(path, MAX_VERDICT_BYTES) != data:
            write_atomically(path, data)

    def verdict(self, namespace: str, model: str, tree: str) -> str | None:
        """The kept verdict's text, unchecked."""
        data = read_if_there(self._verdict_path(namespace, model, tree), MAX_VERDICT_BYTES)
        return None if data is None else data.decode("utf-8", errors="replace")

    def keep_keys(self, data: bytes) -> None:
        """Keep the document of verdict keys."""
        path = self.root / "verdict-keys.json"
        if read_if_there(path, MAX_DOCUMENT_BYTES) != data:
            write_atomically(path, data)

    def keys(self) -> bytes | None:
        """The kept document of verdict keys."""
        return read_if_there(self.root / "verdict-keys.json", MAX_DOCUMENT_BYTES)

    def _mount_path(self, target: str) -> Path:
        return self.root / "mounts" / f"{hashlib.sha256(target.encode()).hexdigest()}.json"

    def _verdict_path(self, namespace: str, model: str, tree: str) -> Path:
        if not (NAME.fullmatch(namespace) and NAME.fullmatch(model)):
            raise ValueError("names were checked by the driver")
        return self.root / "verdicts" / namespace / model / f"{tree}.json"


def _read_mount(path: Path) -> Mount | None:
    data = read_if_there(path, _MAX_RECORD)
    if data is None:
        return None
    try:
        fields = Fields(parse(data, max_bytes=_MAX_RECORD), "mount")
        names = ("target", "pod_uid", "namespace", "model", "digest", "verdict")
        return Mount(*(fields.text(name) for name in names))
    except JsonError:
        return None  # worth nothing, and forgotten at the next write
