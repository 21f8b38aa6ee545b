from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.process import Registry, identify, is_running, marked, parse_stat, spawn, stop, tail


def test_a_name_with_blanks_and_parentheses_does_not_confuse() -> None:
    rest = " ".join(str(n) for n in range(4, 53))
    assert parse_stat(f"12 (a) b (c) S {rest}\n") == ("S", 22)


def test_another_process_under_the_same_pid_is_not_the_same(tmp_path: Path) -> None:
    sleeper = spawn(["sleep", "1000"], home=tmp_path, log=tmp_path / "log")
    try:
        assert is_running(sleeper)
        earlier = replace(sleeper, started=sleeper.started - 1)
        assert not is_running(earlier)
        stop(earlier, grace=0)
        assert is_running(sleeper)
        assert not is_running(replace(sleeper, boot="another boot"))
    finally:
        stop(sleeper, grace=0)
    assert not is_running(sleeper)


def test_a_process_has_its_own_session_and_carries_the_marker(tmp_path: Path) -> None:
    sleeper = spawn(["sleep", "1000"], home=tmp_path, log=tmp_path / "log")
    try:
        assert os.getsid(sleeper.pid) == sleeper.pid
        assert sleeper in list(marked(tmp_path))
        assert sleeper not in list(marked(tmp_path / "other"))
    finally:
        stop(sleeper, grace=0)


def test_one_that_will_not_end_is_killed(tmp_path: Path) -> None:
    stubborn = spawn(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"],
        home=tmp_path,
        log=tmp_path / "log",
    )
    while "ready" not in (tmp_path / "log").read_text():
        assert is_running(stubborn)
    group = os.getpgid(stubborn.pid)
    try:
        stop(stubborn, grace=0.05)
        assert not is_running(stubborn)
    finally:
        os.killpg(group, signal.SIGKILL)


def test_notes_outlive_the_program_but_not_the_process(tmp_path: Path) -> None:
    sleeper = spawn(["sleep", "1000"], home=tmp_path, log=tmp_path / "log")
    try:
        Registry(tmp_path / "notes").record("etcd", sleeper)
        again = Registry(tmp_path / "notes")
        assert (again.get("etcd"), again.get("other"), again.names()) == (sleeper, None, ["etcd"])
    finally:
        stop(sleeper, grace=0)
    assert again.get("etcd") is None
    again.forget("etcd")
    assert again.names() == []


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not installed"):
        spawn(["no-such-program"], home=tmp_path, log=tmp_path / "log")


def test_nobody_runs_under_a_free_pid() -> None:
    assert identify(2**22 + 1) is None


def test_the_end_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\nb\nc\n")
    assert tail(tmp_path / "log", lines=2) == "b\nc"
    assert "no log" in tail(tmp_path / "none")
