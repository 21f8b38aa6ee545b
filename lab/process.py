"""Processes that outlive the program that started them, and are never confused with others.

A pid is reused by the kernel, so a process is known by pid, start time and boot. Everything started here also
carries a marker in its environment: what a crashed lab left behind is found by it, pid file or not.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError, LeftoverError
from lab.files import write_whole

#: The environment variable that marks a process of the lab; its value is the lab's home.
MARKER = "EDGEWISE_LAB_PROCESS"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process: `started` in ticks since boot (proc_pid_stat(5), field 22), `boot` the boot's id."""

    pid: int
    started: int
    boot: str


def boot_id() -> str:
    """The kernel's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def parse_stat(stat: str) -> tuple[str, int]:
    """State letter and start time out of the text of /proc/PID/stat.

    The second field is the program's name in parentheses and may hold blanks and parentheses itself.
    """
    fields = stat[stat.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


def identify(pid: int) -> Identity | None:
    """Who runs under `pid`; None when nobody does (a zombie runs no more)."""
    try:
        state, started = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state in "ZX":
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return None
    return Identity(pid, started, boot_id())


def is_running(identity: Identity) -> bool:
    """Whether that very process still runs."""
    return identify(identity.pid) == identity


def spawn(argv: Sequence[str], *, home: Path, log: Path, env: Mapping[str, str] | None = None) -> Identity:
    """Start `argv` in a session of its own, marked, with its output appended to `log`.

    Raises:
        LabError: the program is missing or ended at once; the text has the end of its log.
    """
    environment = dict(os.environ if env is None else env)
    environment[MARKER] = str(home)
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pid = os.posix_spawnp(
            argv[0],
            list(argv),
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    except FileNotFoundError as missing:
        raise LabError(f"cannot start {argv[0]}: it is not installed") from missing
    finally:
        os.close(output)
        os.close(nothing)
    found = identify(pid)
    if found is None:
        raise LabError(f"{argv[0]} ended at once:\n{tail(log)}")
    return found


def only_child(parent: Identity, log: Path, within: float = 10.0) -> Identity:
    """The process that `parent` (nsenter, unshare) forked and waits for.

    Raises:
        LabError: the parent ended before it had a child; the text has the end of its log.
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            found = identify(int(children[0])) if children else None
            if found is not None:
                return found
        if not is_running(parent):
            break
        time.sleep(0.002)
    raise LabError(f"process {parent.pid} started nothing:\n{tail(log)}")


def stop(identity: Identity, *, grace: float = 5.0, sign: signal.Signals = signal.SIGTERM) -> None:
    """End that process and no other, and wait until it is gone.

    Args:
        identity: who; when it is gone already, nothing happens.
        grace: seconds after which a kill follows; 0 kills at once.
        sign: what is sent first when there is a grace.

    Raises:
        LeftoverError: it is still there 30 s after the kill.
    """
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        # The handle is open, so the pid cannot be reused under us: what is checked now is what gets the
        # signal.
        if not is_running(identity):
            return
        if grace > 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, sign)
            if _wait(handle, grace):
                return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not _wait(handle, 30):
            raise LeftoverError(f"process {identity.pid} does not end; look at /proc/{identity.pid}/stack")
    finally:
        os.close(handle)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(identity.pid, os.WNOHANG)


def _wait(handle: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def marked(home: Path) -> Iterator[Identity]:
    """Every running process that carries the marker of the lab at `home`, this one excepted."""
    wanted = f"{MARKER}={home}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found = identify(int(entry))
            if found is not None:
                yield found


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log, for an error's text."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no log at {log})"


class Registry:
    """The processes of a lab by name, as files: another program can go on where this one stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, name: str, identity: Identity) -> None:
        """Note who is `name` now."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / f"{name}.json", json.dumps(asdict(identity)))

    def get(self, name: str) -> Identity | None:
        """Who is `name`, when it still runs."""
        try:
            noted = Identity(**json.loads((self._folder / f"{name}.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return noted if is_running(noted) else None

    def forget(self, name: str) -> None:
        """Drop the note about `name`."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Every name with a note, running or not."""
        return sorted(path.stem for path in self._folder.glob("*.json"))
