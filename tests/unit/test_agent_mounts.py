"""Mounts are read-only where the pod sees them: on the host, behind mount propagation."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.agent import mounts
from edgewise.agent.mounts import bind_read_only, bind_through_view, is_mounted, mount_points, unmount
from tests.unit.agent_world import needs_root

pytestmark = needs_root

FLAGS = {"ro", "nosuid", "nodev", "noexec"}

#: Run in a mount namespace of its own, which plays the host: a shared kubelet folder; below it, a second
#: namespace plays the agent's container. Prints the host's options of the mount, and whether writing works.
HOST = """
set -e
mount -t tmpfs tmpfs "$1/kubelet"
mount --make-shared "$1/kubelet"
mkdir -p "$1/kubelet/target" "$1/store/tree"
echo x > "$1/store/tree/file"
unshare --mount --propagation unchanged "$2" -c "$3" "$1"
findmnt --noheadings --output OPTIONS --mountpoint "$1/kubelet/target"
cat "$1/kubelet/target/file"
if echo y > "$1/kubelet/target/file"; then echo WRITABLE; fi
"""
AGENT = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from edgewise.agent import mounts
root = Path(sys.argv[1])
mounts.{function}(root / "store" / "tree", root / "kubelet" / "target", root / "view")
"""


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    for name in ("source", "target", "kubelet", "store"):
        (tmp_path / name).mkdir()
    (tmp_path / "source" / "file").write_text("x")
    yield tmp_path
    unmount(tmp_path / "target")


@pytest.mark.parametrize("function", ["bind_read_only", "bind_through_view"])
def test_the_host_s_copy_is_read_only_too(folders: Path, function: str) -> None:
    agent = AGENT.format(path=sys.path, function=function)
    command = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        HOST,
        "sh",
        str(folders),
        sys.executable,
    ]
    done = subprocess.run([*command, agent], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    options, content, *rest = done.stdout.splitlines()
    assert set(options.split(",")) >= FLAGS
    assert (content, rest) == ("x", [])
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("bind", [bind_read_only, bind_through_view])
def test_flags_here(folders: Path, bind: type[object]) -> None:
    source, target = folders / "source", folders / "target"
    bind(source, target, folders / "view")  # type: ignore[call-arg]
    assert set(mount_points()[str(target)].split(",")) >= FLAGS
    assert (target / "file").read_text() == "x"
    assert not is_mounted(folders / "view")
    (source / "new").write_text("the source itself stays as it was")


def test_kernels_without_the_new_calls_take_the_other_way(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSYS, "no such call")

    monkeypatch.setattr(mounts, "_bind_detached", missing)
    bind_read_only(folders / "source", folders / "target", folders / "view")
    assert set(mount_points()[str(folders / "target")].split(",")) >= FLAGS


def test_stacked_and_busy_mounts_come_off(folders: Path) -> None:
    target = folders / "target"
    for _ in range(3):
        bind_read_only(folders / "source", target, folders / "view")
    with (target / "file").open():
        unmount(target)
    assert not is_mounted(target)
    unmount(target)


def test_a_link_in_place_of_the_source_is_refused(folders: Path) -> None:
    (folders / "link").symlink_to(folders / "source")
    with pytest.raises(OSError, match="mount"):
        bind_read_only(folders / "link", folders / "target", folders / "view")


def test_odd_characters_in_mount_points(folders: Path) -> None:
    target = folders / "a b\tc\\d"
    target.mkdir()
    bind_read_only(folders / "source", target, folders / "view")
    assert is_mounted(target)
    unmount(target)
    assert not is_mounted(target)
