"""Small files that another program, or this one after a power cut, finds whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Put `text` into `path`: readers see the old content or the new one, never a part.

    The text is on the disk before it gets its name; without that, a machine that loses power right after
    the renaming comes back with an empty file.
    """
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
