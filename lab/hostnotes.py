"""What the labs of one machine changed on the host outside their homes, so that the last one puts it back.

The note is one JSON file in /run, shared by all labs: which labs there are, which folders had to be made as
mount points, and what the kernel settings were that a kubelet changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.files import locked, write_whole
from lab.shell import run

_NETNS = Path("/run/netns")
NOTE = Path("/run/edgewise-lab.json")
#: What the kubelet sets on the whole machine when it starts (it refuses to run otherwise).
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


@dataclass(slots=True)
class HostNotes:
    """The note's content."""

    homes: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    sysctls: dict[str, str] = field(default_factory=dict)
    netns_was_mounted: bool = True


def enter(home: Path, note: Path = NOTE) -> None:
    """Note that there is a lab at `home`; the first one notes the kernel settings too."""
    with _open(note) as notes:
        if not notes.homes:
            notes.sysctls = read_sysctls()
            notes.netns_was_mounted = os.path.ismount(_NETNS)
        if str(home) not in notes.homes:
            notes.homes.append(str(home))


def make_mount_points(folders: tuple[str, ...], note: Path = NOTE) -> None:
    """Make folders of the host that nodes mount over; those that were missing are noted."""
    with _open(note) as notes:
        for folder in folders:
            missing = [str(p) for p in (Path(folder), *Path(folder).parents) if not p.exists()]
            # The deepest first: they are removed in this order.
            notes.folders = [*missing, *notes.folders]
            Path(folder).mkdir(parents=True, exist_ok=True)


def leave(home: Path, note: Path = NOTE) -> None:
    """Drop the lab at `home`; the last one puts everything back.

    A mount point must not go earlier: removing a folder takes away what other namespaces have mounted on it.
    """
    if not note.exists():
        return
    with _open(note) as notes:
        notes.homes = [other for other in notes.homes if other != str(home) and Path(other).exists()]
        if notes.homes:
            return
        for name, value in notes.sysctls.items():
            path = Path("/proc/sys", name)
            if path.exists() and path.read_text().strip() != value:
                path.write_text(value)
        for folder in notes.folders:
            path = Path(folder)
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        # `ip netns add` mounts this folder on itself; somebody else may use it by now.
        if not notes.netns_was_mounted and os.path.ismount(_NETNS) and not any(_NETNS.iterdir()):
            run(["umount", str(_NETNS)])


def read_sysctls() -> dict[str, str]:
    """The settings that a kubelet changes, as they are now."""
    paths = {name: Path("/proc/sys", name) for name in SYSCTLS}
    return {name: path.read_text().strip() for name, path in paths.items() if path.exists()}


@contextmanager
def _open(note: Path) -> Iterator[HostNotes]:
    lock = Path(f"{note}.lock")
    with locked(lock):
        notes = _read(note)
        yield notes
        if notes.homes:
            write_whole(note, json.dumps(asdict(notes)))
        else:
            note.unlink(missing_ok=True)
            lock.unlink()


def _read(note: Path) -> HostNotes:
    """What the note says; one that is missing, or that a power cut left unreadable, says nothing."""
    try:
        return HostNotes(**json.loads(note.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return HostNotes()
