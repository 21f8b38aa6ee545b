"""The note about what labs changed on the host: several labs, crashes and power cuts."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import hostnotes


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "note.json"


def _home(tmp_path: Path, name: str) -> Path:
    home = tmp_path / name
    home.mkdir()
    return home


def test_the_last_lab_that_leaves_removes_note_and_folders(tmp_path: Path, note: Path) -> None:
    one, two = _home(tmp_path, "one"), _home(tmp_path, "two")
    hostnotes.enter(one, note)
    hostnotes.enter(two, note)
    hostnotes.make_mount_points((str(tmp_path / "a" / "b"),), note)

    hostnotes.leave(one, note)
    assert (tmp_path / "a" / "b").is_dir()
    hostnotes.leave(two, note)
    assert not (tmp_path / "a").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_folder_that_somebody_uses_by_now_stays(tmp_path: Path, note: Path) -> None:
    home = _home(tmp_path, "one")
    hostnotes.enter(home, note)
    hostnotes.make_mount_points((str(tmp_path / "a"),), note)
    (tmp_path / "a" / "theirs").touch()
    hostnotes.leave(home, note)
    assert (tmp_path / "a" / "theirs").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"unknown": 1}'], ids=["empty", "half", "list", "other"])
def test_a_note_that_a_power_cut_spoiled_stops_nobody(tmp_path: Path, note: Path, content: str) -> None:
    note.write_text(content)
    home = _home(tmp_path, "one")
    hostnotes.leave(home, note)
    hostnotes.enter(home, note)
    assert json.loads(note.read_text())["homes"] == [str(home)]
    hostnotes.leave(home, note)
    assert not note.exists()


def test_a_home_that_is_gone_holds_nothing_back(tmp_path: Path, note: Path) -> None:
    gone, home = _home(tmp_path, "gone"), _home(tmp_path, "one")
    hostnotes.enter(gone, note)
    hostnotes.enter(home, note)
    gone.rmdir()
    hostnotes.leave(home, note)
    assert not note.exists()


def test_labs_that_come_and_go_at_once_leave_nothing(tmp_path: Path, note: Path) -> None:
    homes = [_home(tmp_path, f"h{number}") for number in range(8)]

    def visit(home: Path) -> None:
        for _ in range(20):
            hostnotes.enter(home, note)
            assert str(home) in json.loads(note.read_text())["homes"]
            hostnotes.leave(home, note)

    with ThreadPoolExecutor(len(homes)) as pool:
        list(pool.map(visit, homes))
    assert not note.exists()
    assert not Path(f"{note}.lock").exists()
