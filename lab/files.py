"""Small files that another program, or this one after a power cut, finds whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Put `text` into `path`: readers see the old content or the new one, never a part."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(text)
    move_whole(fresh, path)


def move_whole(fresh: Path, path: Path) -> None:
    """Give the file `fresh` its name, once its bytes are on the disk.

    Without that, a machine that loses power right after the renaming comes back with an empty file.
    """
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of that name, also one that its last holder has removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_still(path, lock.fileno()):
                continue  # removed while we waited: whoever comes next would lock another file
            yield
            return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
