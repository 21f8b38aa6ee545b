"""Run a program and get its answer, or an error that says what it said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import CommandFailedError


def run(
    argv: Sequence[str],
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run `argv` to its end and return what it wrote to standard output.

    Args:
        argv: the program and its arguments; no shell is in between.
        text: what the program reads from standard input; nothing when None.
        env: the whole environment; the caller's when None.
        cwd: the folder to run in.
        timeout: seconds after which the program is killed; None waits for ever.

    Raises:
        CommandFailedError: the program ended with another code than 0, is missing, or took too long.
    """
    try:
        done = subprocess.run(
            argv,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            env=env,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as missing:
        raise CommandFailedError(argv, 127, f"{missing.filename} is not installed") from missing
    except subprocess.TimeoutExpired as late:
        raise CommandFailedError(argv, -9, f"killed after {timeout:g} s") from late
    if done.returncode != 0:
        raise CommandFailedError(argv, done.returncode, done.stdout + done.stderr)
    return done.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Whether `argv` ends with 0; what it says is dropped."""
    try:
        run(argv)
    except CommandFailedError:
        return False
    return True
