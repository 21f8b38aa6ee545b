"""Writing small files so that a crash or a power cut leaves the old one or the new one, never half of one."""

import os
from pathlib import Path
from threading import get_ident


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, durable when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name a thread: two pods of one model write the same verdict at the same time.
    temporary = path.with_name(f".{path.name}.{get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_if_there(path: Path, limit: int) -> bytes | None:
    """The content of a small file, or None when there is no such file or it is larger than `limit`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return data if len(data) <= limit else None
