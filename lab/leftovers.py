"""Take a lab away, whole or half, running or crashed: everything it made, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import cgroups, hostnotes
from lab.errors import LeftoverError
from lab.network import Network
from lab.process import marked, stop
from lab.settings import Layout

#: A file that says: this folder is a lab's home, and may be removed.
SIGN = ".edgewise-lab"


def claim(layout: Layout) -> None:
    """Make the lab's home.

    Raises:
        LeftoverError: the folder is there and is not a lab's.
    """
    home = layout.home
    if home.exists() and any(home.iterdir()) and not (home / SIGN).exists():
        raise LeftoverError(f"{home} is not empty and not a lab's; set EDGEWISE_LAB_HOME to another folder")
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o711)
    (home / SIGN).touch()
    hostnotes.enter(home)


def remove(layout: Layout) -> None:
    """Remove everything; what is not there is not missed.

    Raises:
        LeftoverError: something stays; the text names it. Calling again goes on from there.
    """
    home = layout.home
    if home.exists() and any(home.iterdir()) and not (home / SIGN).exists():
        raise LeftoverError(f"{home} is not a lab's home (no {SIGN} in it); it is left alone")
    for identity in marked(home):
        stop(identity, grace=0)
    Network(layout).remove()
    cgroups.remove(layout.prefix)
    if home.exists():
        still = mounts_below(home, Path("/proc/self/mountinfo").read_text())
        if still:
            raise LeftoverError(f"still mounted, and so kept: {', '.join(still)}")
        # The sign goes last: an interrupted removal can be repeated.
        for entry in sorted(home.iterdir(), key=lambda path: path.name == SIGN):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        home.rmdir()
    hostnotes.leave(home)


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points at or below `folder`, out of the text of /proc/self/mountinfo."""
    points = [line.split()[4].replace("\\040", " ") for line in mountinfo.splitlines() if line]
    return [point for point in points if Path(point).is_relative_to(folder)]
