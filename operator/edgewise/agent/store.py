"""The node's store of verified bytes, content-addressed: `tree/sha256/<hex>/<path>`.

What is sealed there was hashed while it was written, is read-only, and is hashed again once after every boot
before it is mounted for the first time (a disk may lie after a power cut, or have been changed in between).
Beside each tree stands a small record: the boot in which it was last hashed, its size, and its last use.
"""

import hashlib
import json
import os
import shutil
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgewise.agent.files import read_if_there, sync_folder, write_atomically
from edgewise.provenance.digests import File
from edgewise.provenance.strictjson import Fields, JsonError, parse

_CHUNK: Final = 256 * 1024
_MAX_RECORD: Final = 4096


class StoreError(Exception):
    """A sealed tree is not what it should be; the message names the file."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """The record of a tree: hex digest, boot id of the last hashing, bytes, last use (seconds since 1970)."""

    tree: str
    boot: str
    size: int
    used: float


@dataclass(slots=True)
class Store:
    """The store below `root`.

    Attributes:
        boot: an id of the running boot of the machine.
        quota: bytes that sealed trees may take; 0 for no limit but the disk's.
    """

    root: Path
    boot: str
    quota: int = 0
    _pins: Counter[str] = field(default_factory=Counter)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def path(self, tree: str) -> Path:
        """Where a tree is, once sealed."""
        return self.root / "tree" / "sha256" / tree

    def incoming(self, tree: str) -> Path:
        """Where a tree is received."""
        return self.root / "incoming" / tree

    def is_sealed(self, tree: str) -> bool:
        """Whether the tree is complete; says nothing about this boot."""
        return self.path(tree).is_dir()

    def is_trusted(self, tree: str) -> bool:
        """Whether the tree is complete and was hashed in this boot, so that it may be mounted at once."""
        record = self.record(tree)
        return record is not None and record.boot == self.boot and self.is_sealed(tree)

    def record(self, tree: str) -> Sealed | None:
        """The record of a tree; None when there is none."""
        data = read_if_there(self._record_path(tree), _MAX_RECORD)
        if data is None:
            return None
        try:
            fields = Fields(parse(data, max_bytes=_MAX_RECORD), "record")
            return Sealed(tree, fields.text("boot"), fields.number("size"), float(fields.number("used")))
        except JsonError:
            return None

    def trust(self, tree: str, size: int) -> None:
        """Record that the tree was hashed in this boot."""
        document = {"boot": self.boot, "size": size, "used": int(time.time())}
        write_atomically(self._record_path(tree), json.dumps(document).encode())

    def touch(self, tree: str) -> None:
        """Record a use, for the order of collection."""
        if (record := self.record(tree)) is not None and record.boot == self.boot:
            self.trust(tree, record.size)

    def check(self, tree: str, files: Sequence[File]) -> None:
        """Hash a sealed tree and compare it with the files of its verdict, one to one.

        Raises:
            StoreError: another file, a missing one, another kind, other bytes.
        """
        wanted = {file.path: file for file in files}
        root = self.path(tree)
        for folder, folders, names in os.walk(root, onerror=_raise):
            for name in [*folders, *names]:
                path = Path(folder) / name
                mode = path.lstat().st_mode
                if stat.S_ISDIR(mode):
                    continue
                relative = path.relative_to(root).as_posix()
                file = wanted.pop(relative, None)
                if file is None or not stat.S_ISREG(mode):
                    raise StoreError(f"{relative} is not part of the model")
                if (found := hash_file(path)) != (file.sha256, file.size):
                    raise StoreError(f"{relative} hashes to sha256:{found[0]}, wanted sha256:{file.sha256}")
        if wanted:
            raise StoreError(f"{min(wanted)} is missing")

    def seal(self, tree: str, files: Sequence[File], blobs: Path) -> None:
        """Put received blobs (`blobs/<sha256>`, hashed, mode 0444) into place as one tree, durably."""
        staged = self.incoming(tree) / "tree"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for file in files:
            target = staged / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(blobs / file.sha256, target)
        for folder, _, _ in os.walk(staged, topdown=False):
            os.chmod(folder, 0o555)  # noqa: S103  (no write for anybody is the point)
            sync_folder(Path(folder))
        final = self.path(tree)
        final.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            staged.rename(final)
            sync_folder(final.parent)
            self.trust(tree, sum(file.size for file in files))
        shutil.rmtree(self.incoming(tree), ignore_errors=True)

    def set_aside(self, tree: str) -> Path:
        """Take a tree that failed its check out of use; kept until space is needed, for whoever asks why."""
        aside = self.root / "aside" / f"{tree}-{int(time.time() * 1000)}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self.path(tree).rename(aside)
            self._record_path(tree).unlink(missing_ok=True)
        return aside

    @contextmanager
    def pinned(self, tree: str) -> Iterator[None]:
        """Keep a tree while the block runs."""
        with self._lock:
            self._pins[tree] += 1
        try:
            yield
        finally:
            with self._lock:
                self._pins[tree] -= 1

    def sealed(self) -> list[Sealed]:
        """Every sealed tree, oldest use first; one without a record was never trusted and comes first."""
        folder = self.root / "tree" / "sha256"
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        records = [self.record(name) or Sealed(name, "", _size_of(self.path(name)), 0.0) for name in names]
        return sorted(records, key=lambda record: record.used)

    def used(self) -> int:
        """Bytes in sealed trees."""
        return sum(record.size for record in self.sealed())

    def free(self) -> int:
        """Bytes that the disk still has for us."""
        self.root.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def make_room(self, wanted: int, in_use: frozenset[str]) -> int:
        """Remove unused trees, oldest use first, until `wanted` bytes fit; as few as that takes.

        Nothing is removed when even removing everything would not be enough.

        Args:
            wanted: bytes that are about to come.
            in_use: trees (hex) that pods have; pinned ones are kept as well.

        Returns:
            How many bytes are still short: 0 when they fit.
        """
        with self._lock:
            kept = in_use | {tree for tree, count in self._pins.items() if count > 0}
            short = self._short(wanted)
            if short:
                self._drop_leftovers(kept)
                short = self._short(wanted)
            candidates = [record for record in self.sealed() if record.tree not in kept]
            if short > sum(record.size for record in candidates):
                return short - sum(record.size for record in candidates)
            for record in candidates:
                if short <= 0:
                    break
                self._remove(record.tree)
                short -= record.size
            return 0

    def _drop_leftovers(self, kept: frozenset[str]) -> None:
        """Remove what failed its check, and downloads that nobody is waiting for."""
        shutil.rmtree(self.root / "aside", ignore_errors=True)
        incoming = self.root / "incoming"
        for entry in incoming.iterdir() if incoming.is_dir() else ():
            if entry.name not in kept:
                shutil.rmtree(entry, ignore_errors=True)

    def _short(self, wanted: int) -> int:
        over_quota = self.used() + wanted - self.quota if self.quota else 0
        return max(0, over_quota, wanted - self.free())

    def _remove(self, tree: str) -> None:
        doomed = self.root / "incoming" / f"{tree}.removed"
        doomed.parent.mkdir(parents=True, exist_ok=True)
        self.path(tree).rename(doomed)
        self._record_path(tree).unlink(missing_ok=True)
        shutil.rmtree(doomed, ignore_errors=True)

    def _record_path(self, tree: str) -> Path:
        return self.root / "sealed" / f"{tree}.json"


def hash_file(path: Path) -> tuple[str, int]:
    """sha256 (hex) and length of a regular file, never through a symbolic link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    digest, size = hashlib.sha256(), 0
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with open(descriptor, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(view[:count])
            size += count
    return digest.hexdigest(), size


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _size_of(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def _raise(error: OSError) -> None:
    raise error
