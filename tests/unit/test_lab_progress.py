from __future__ import annotations

import io
from pathlib import Path

import pytest

from lab.progress import Progress, duration_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_step_tells_how_long_it_took_and_the_next_run_knows(tmp_path: Path) -> None:
    stream, now = io.StringIO(), [0.0]
    progress = Progress(tmp_path / "cache" / "durations.json", stream, lambda: now[0])
    with progress.step("build etcd", "etcd"):
        now[0] += 30
    with progress.step("build etcd", "etcd"):
        now[0] += 2
    assert stream.getvalue().splitlines() == [
        "  .. build etcd",
        "  ok build etcd: 30 s",
        "  .. build etcd (last time 30 s)",
        "  ok build etcd: 2.0 s",
    ]


def test_a_step_that_fails_is_told_and_not_remembered(tmp_path: Path) -> None:
    stream = io.StringIO()
    progress = Progress(tmp_path / "durations.json", stream, lambda: 0.0)
    with pytest.raises(RuntimeError), progress.step("build etcd", "etcd"):
        raise RuntimeError
    assert "!! build etcd: failed after" in stream.getvalue()
    assert not (tmp_path / "durations.json").exists()


def test_a_broken_memory_is_no_memory(tmp_path: Path) -> None:
    memory = tmp_path / "durations.json"
    memory.write_text("{")
    stream = io.StringIO()
    with Progress(memory, stream, lambda: 0.0).step("x", "x"):
        pass
    assert "last time" not in stream.getvalue()
