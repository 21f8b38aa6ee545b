"""Folders of the cgroup file systems: one a node, so that no kubelet takes another one's pods for strays."""

from __future__ import annotations

import time
from pathlib import Path

from lab.errors import LeftoverError

ROOT = Path("/sys/fs/cgroup")
#: What a kubelet wants of cgroup v2.
_CONTROLLERS = ("cpu", "cpuset", "hugetlb", "io", "memory", "pids")


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Where cgroups can be made: the one tree of v2, or every tree of v1 (and of a mixture of both)."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())


def create(path: str, root: Path = ROOT) -> None:
    """Make the cgroup `path` (as `lab/node`, no leading slash) in every tree, ready for use.

    On v1 a new cpuset is empty and takes no process until it is filled; on v2 a controller reaches a child
    only when the parent hands it down.
    """
    parts = path.split("/")
    for tree in hierarchies(root):
        parent = tree
        for part in parts:
            child = parent / part
            if (tree / "cgroup.controllers").exists() and tree == root:
                _hand_down(parent)
            child.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                source, target = parent / name, child / name
                if tree != root and source.exists() and not target.read_text().strip():
                    target.write_text(source.read_text())
            parent = child


def _hand_down(parent: Path) -> None:
    available = (parent / "cgroup.controllers").read_text().split()
    control = parent / "cgroup.subtree_control"
    missing = set(available) & set(_CONTROLLERS) - set(control.read_text().split())
    if missing:
        control.write_text(" ".join(f"+{name}" for name in sorted(missing)))


def enter_script(path: str, root: Path = ROOT) -> str:
    """Shell text that moves the shell, and so what it turns into, into the cgroup `path` in every tree."""
    return "\n".join(f"echo $$ > '{tree / path}/cgroup.procs'" for tree in hierarchies(root))


def remove(path: str, root: Path = ROOT, within: float = 20.0) -> None:
    """Remove the cgroup `path` and everything below it; the processes in it must be gone or going.

    Raises:
        LeftoverError: a folder is still in use after `within` seconds.
    """
    deadline = time.monotonic() + within
    for tree in hierarchies(root):
        top = tree / path
        while top.exists():
            stuck = _remove_tree(top)
            if stuck is None:
                break
            if time.monotonic() > deadline:
                raise LeftoverError(
                    f"{stuck} holds processes: {(stuck / 'cgroup.procs').read_text().split()}"
                )
            time.sleep(0.05)


def _remove_tree(folder: Path) -> Path | None:
    """Remove what can be removed; the first folder that could not be, else None."""
    stuck: Path | None = None
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink():
            stuck = _remove_tree(child) or stuck
    if stuck is not None:
        return stuck
    try:
        folder.rmdir()
    except FileNotFoundError:
        return None
    except OSError:
        return folder
    return None
