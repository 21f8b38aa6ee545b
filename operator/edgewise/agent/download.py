"""Receiving one tree: resumable, hashed while it is written, sealed only when every byte is right."""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgewise.agent.errors import AgentError, Code
from edgewise.agent.files import sync_folder
from edgewise.agent.store import Store, hash_file
from edgewise.provenance.digests import File
from edgewise.provenance.oci import Registry
from edgewise.provenance.sources import Source, parse_source
from edgewise.provenance.transport import LyingRegistryError, RegistryError

#: Cuts in one file after which the source counts as away. Each has to have brought at least one byte.
_MAX_CUTS: Final = 50
_CHUNK: Final = 256 * 1024


@dataclass(slots=True)
class Progress:
    """Bytes of a tree: wanted, and had. Read by other threads."""

    wanted: int
    received: int = 0
    doing: str = "starting"

    def __str__(self) -> str:
        percent = 100 * self.received // self.wanted if self.wanted else 100
        return f"{self.doing}: {self.received} of {self.wanted} bytes ({percent} %)"


@dataclass(slots=True)
class Download:
    """One tree on its way.

    Attributes:
        in_use: gives the trees that pods have, for making room.
        stop: set when the agent ends; what was received stays for the next one.
    """

    store: Store
    registry: Registry
    tree: str
    files: Sequence[File]
    sources: Sequence[str]
    progress: Progress
    in_use: Callable[[], frozenset[str]]
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Receive what is missing and seal the tree.

        Raises:
            AgentError: no space; the source is away (what came stays); the bytes are wrong.
        """
        blobs = self.store.incoming(self.tree) / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        unique = {file.sha256: file for file in self.files}
        self._make_room(blobs, unique)
        self.progress.received = 0
        for file in unique.values():
            self._file(blobs, file)
        sync_folder(blobs)
        self.progress.doing = "sealing"
        self.store.seal(self.tree, self.files, blobs)

    def _make_room(self, blobs: Path, unique: dict[str, File]) -> None:
        there = sum(path.stat().st_size for path in blobs.iterdir())
        missing = max(0, sum(file.size for file in unique.values()) - there)
        short = self.store.make_room(missing, self.in_use())
        if short:
            free = self.store.free()
            raise AgentError(
                Code.RESOURCE_EXHAUSTED,
                "NeedsSpace",
                f"{missing} bytes wanted, {free} free on the disk, quota {self.store.quota or 'none'}: "
                f"{short} bytes short after removing every unused model; raise the quota or free the node",
            )

    def _file(self, blobs: Path, file: File) -> None:
        done, part = blobs / file.sha256, blobs / f"{file.sha256}.part"
        self.progress.doing = f"fetching {file.path}"
        if done.exists():
            if hash_file(done) == (file.sha256, file.size):
                self.progress.received += file.size
                return
            done.unlink()
        before = self.progress.received
        for attempt in ("resumed", "from the start"):
            self.progress.received = before
            resumed = part.exists() and part.stat().st_size > 0
            found = self._receive(part, file)
            if found == file.sha256:
                break
            part.unlink()
            if not resumed or attempt == "from the start":
                raise AgentError(
                    Code.FAILED_PRECONDITION,
                    "DigestMismatch",
                    f"blob sha256:{file.sha256} ({file.path}) hashes to sha256:{found}; refusing",
                )
        os.chmod(part, 0o444)
        part.rename(done)

    def _receive(self, part: Path, file: File) -> str:
        """Complete `part` and return the hash of everything in it."""
        failure: RegistryError | None = None
        for text in self.sources:
            source = parse_source(text)
            for _ in range(_MAX_CUTS):
                before = part.stat().st_size if part.exists() else 0
                try:
                    return self._append(part, file, source)
                except LyingRegistryError as error:
                    part.unlink(missing_ok=True)
                    raise AgentError(
                        Code.FAILED_PRECONDITION, "DigestMismatch", f"{error}; refusing"
                    ) from error
                except RegistryError as error:
                    failure = error
                    if self.stop.is_set() or part.stat().st_size <= before:
                        break
                except OSError as error:
                    raise _disk(error) from error
        raise AgentError(
            Code.UNAVAILABLE, "SourceUnavailable", f"{failure}; trying again later ({self.progress})"
        )

    def _append(self, part: Path, file: File, source: Source) -> str:
        base = self.progress.received
        with part.open("a+b") as stream:
            digest, size = _hash_so_far(stream.fileno(), file.size)
            stream.truncate(size)
            self.progress.received = base + size
            try:
                if size < file.size:
                    with self.registry.open_blob(source, file.sha256, file.size, size) as blob:
                        if blob.offset != size:  # the registry ignores ranges: from the start
                            stream.truncate(0)
                            digest = hashlib.sha256()
                            self.progress.received = base
                        for chunk in blob.chunks:
                            stream.write(chunk)
                            digest.update(chunk)
                            self.progress.received += len(chunk)
                            if self.stop.is_set():
                                raise RegistryError("the agent is ending")
                stream.flush()
                os.fsync(stream.fileno())
            except BaseException:
                self.progress.received = base
                raise
            return digest.hexdigest()


def _hash_so_far(descriptor: int, limit: int) -> "tuple[hashlib._Hash, int]":
    digest, size = hashlib.sha256(), 0
    while size < limit and (chunk := os.pread(descriptor, min(_CHUNK, limit - size), size)):
        digest.update(chunk)
        size += len(chunk)
    return digest, size


def _disk(error: OSError) -> AgentError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return AgentError(
            Code.RESOURCE_EXHAUSTED, "NeedsSpace", "the disk is full; free the node or move the store"
        )
    return AgentError(Code.INTERNAL, "StoreFailed", f"the store cannot be written: {error.strerror}")
