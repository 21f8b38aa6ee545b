"""Limits that the verification process puts on itself before it reads a byte from strangers.

Memory and file descriptors by rlimits; network and new programs by a seccomp filter, which needs no privilege
once `no_new_privs` is set. On an architecture whose system call numbers are not listed here, Python's audit
hook remains: it stops our own code from opening a socket, but not a broken C library.
"""

import ctypes
import platform
import resource
import struct
import sys
from typing import Final

#: Address space in bytes. A 16 MiB bundle with 100,000 files peaks far below; a runaway parser does not.
MEMORY_LIMIT: Final = 1 << 30
#: Standard streams, and a few that imports need for a moment.
DESCRIPTOR_LIMIT: Final = 64

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_DENY: Final = 0x00050000 | 1  # SECCOMP_RET_ERRNO with EPERM
_KILL: Final = 0x80000000  # SECCOMP_RET_KILL_PROCESS
#: AUDIT_ARCH value, then the numbers of socket, socketpair, connect, execve, execveat, ptrace
#: (Linux: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h).
_CALLS: Final = {
    "x86_64": (0xC000003E, (41, 53, 42, 59, 322, 101)),
    "aarch64": (0xC00000B7, (198, 199, 203, 221, 281, 117)),
    "riscv64": (0xC00000F3, (198, 199, 203, 221, 281, 117)),
}
#: On x86-64 the same calls exist under numbers with this bit (x32); none of them is needed.
_X32_BIT: Final = 0x40000000


def enter() -> None:
    """Apply every limit. Irreversible for this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTOR_LIMIT, DESCRIPTOR_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_refuse)
    _filter_system_calls()


def _refuse(event: str, _: tuple[object, ...]) -> None:
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system")):
        raise PermissionError(f"{event} is not for the verifier")


def _filter_system_calls() -> None:
    listed = _CALLS.get(platform.machine())
    if listed is None:
        return
    architecture, calls = listed
    program = _program(architecture, calls)
    library = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog {unsigned short len; struct sock_filter *filter;}
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or (
        library.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(head), 0, 0) != 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel refuses the verifier's system call filter")


def _program(architecture: int, calls: tuple[int, ...]) -> bytes:
    """Classic BPF over struct seccomp_data: number at offset 0, architecture at offset 4."""
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, architecture), (answer, 0, 0, _KILL), (load, 0, 0, 0)]
    steps += [(at_least, 0, 1, _X32_BIT), (answer, 0, 0, _KILL)]
    for call in calls:
        steps += [(equal, 0, 1, call), (answer, 0, 0, _DENY)]
    steps.append((answer, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)
