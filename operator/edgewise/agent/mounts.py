"""Read-only bind mounts that are read-only everywhere they show up.

The agent's container shares the kubelet's folder with the host (`mountPropagation: Bidirectional`). A bind
mount made there reaches the host at once, but a later `remount,ro` does not: the host's copy, which the pod
gets, would stay writable. So the flags are set before the mount is attached: on a detached copy of the tree
(open_tree, mount_setattr, move_mount; Linux 5.12), or on older kernels by binding out of a private view that
is read-only.
"""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

# System call numbers are the same on every architecture since Linux 5.0 (include/uapi/asm-generic/unistd.h).
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_MOUNT_SETATTR: Final = 442

# include/uapi/linux/mount.h and fcntl.h
_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8

#: Mounts on one target that are undone in one call: more than a crash at the worst moment can leave.
_MAX_STACKED: Final = 16

_library = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def bind_read_only(source: Path, target: Path, view: Path) -> None:
    """Mount `source` on the existing folder `target`: ro, nosuid, nodev, noexec, on the host too.

    Args:
        source: a folder of the store.
        target: where the kubelet wants it.
        view: a private folder for kernels without `mount_setattr`, outside of any propagated mount.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        _bind_detached(source, target)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        bind_through_view(source, target, view)


def bind_through_view(source: Path, target: Path, view: Path) -> None:
    """The way of older kernels: a bind mount inherits the flags of the mount that it is bound from."""
    view.mkdir(mode=0o700, parents=True, exist_ok=True)
    _mount(view, view, _MS_BIND)
    try:
        _mount(None, view, _MS_PRIVATE)
        _mount(source, view, _MS_BIND)
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount(None, view, _MS_REMOUNT | _MS_BIND | flags)
        _mount(view, target, _MS_BIND)
    finally:
        unmount(view)


def unmount(target: Path) -> None:
    """Undo every mount on `target`; nothing to do is fine. Busy mounts vanish once the last user lets go."""
    for _ in range(_MAX_STACKED):
        if not is_mounted(target):
            return
        try:
            _umount(target, _UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _umount(target, _UMOUNT_NOFOLLOW | _MNT_DETACH)
    raise OSError(errno.EBUSY, f"more than {_MAX_STACKED} mounts on {target}")


def is_mounted(target: Path) -> bool:
    """Whether something is mounted on exactly this path."""
    return str(target) in mount_points()


def mount_points() -> dict[str, str]:
    """Options by mount point, from the kernel's own list; of stacked mounts, the topmost."""
    points: dict[str, str] = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(" ")
            points[_unescaped(fields[4])] = fields[5]
    return points


def _unescaped(field: str) -> str:
    """proc(5): blank, tab, newline and backslash are written as octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def _bind_detached(source: Path, target: Path) -> None:
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_SYMLINK_NOFOLLOW
    tree = _call(_OPEN_TREE, _AT_FDCWD, bytes(source), flags)
    try:
        attributes = _MountAttr(attr_set=_ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOEXEC)
        size = ctypes.sizeof(attributes)
        _call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
        _call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, bytes(target), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def _call(number: int, *arguments: object) -> int:
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(_library.syscall(ctypes.c_long(number), *converted))
    if result < 0:
        raise _error("mount")
    return result


def _mount(source: Path | None, target: Path, flags: int) -> None:
    given = None if source is None else bytes(source)
    if _library.mount(given, bytes(target), None, ctypes.c_ulong(flags), None) != 0:
        raise _error(f"mount on {target}")


def _umount(target: Path, flags: int) -> None:
    if _library.umount2(bytes(target), ctypes.c_int(flags)) != 0 and ctypes.get_errno() != errno.EINVAL:
        raise _error(f"unmount {target}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
