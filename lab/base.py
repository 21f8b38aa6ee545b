"""The base image: this host's own distribution with Python, by debootstrap from apt's own mirror."""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path

from lab.errors import LabError
from lab.shell import run

#: What every image of the project stands on: Python, a way to make an environment, and trust anchors.
INCLUDE = ("ca-certificates", "python3", "python3-venv")
#: Not needed to run, and a third of the size; copyright files stay.
_PRUNED = (
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)


def release() -> tuple[str, str]:
    """The host's distribution and the code name of its release: `debian`, `bookworm`.

    Raises:
        LabError: the host is neither Debian nor Ubuntu.
    """
    found = platform.freedesktop_os_release()
    name, codename = found.get("ID", ""), found.get("VERSION_CODENAME", "")
    if name not in ("debian", "ubuntu") or not codename:
        raise LabError(
            f"the base image is made by debootstrap on Debian or Ubuntu; this is {name or 'unknown'}"
        )
    return name, codename


def mirror(codename: str) -> str | None:
    """The address from which apt gets `main` of this release here; None leaves it to debootstrap."""
    targets = run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    )
    for line in targets.splitlines():
        site, _, rest = line.partition(" ")
        if rest == f"{codename} main":
            return site
    return None


def key() -> str:
    """What tells one base from another, for the cache."""
    return "-".join((*release(), platform.machine(), "1", *INCLUDE))


def make(layer: Path) -> None:
    """Write the root file system as one uncompressed layer.

    Args:
        layer: the tar file to write; its folder has room for the tree as well (400 MB).
    """
    name, codename = release()
    with tempfile.TemporaryDirectory(dir=layer.parent, prefix="base-") as scratch:
        root = Path(scratch) / "root"
        source = mirror(codename)
        components = ["--components=main,universe"] if name == "ubuntu" else []
        run(
            [
                # What debootstrap mounts goes with its namespace, also when it fails half way.
                *("unshare", "--mount", "--propagation", "private", "--"),
                *("debootstrap", "--variant=minbase", f"--include={','.join(INCLUDE)}", *components),
                *(codename, str(root), *([source] if source else [])),
            ]
        )
        for folder in _PRUNED:
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir(parents=True)
        for page in (root / "usr/share/doc").rglob("*"):
            if page.is_file() and page.name != "copyright":
                page.unlink()
        for cached in root.rglob("__pycache__"):
            shutil.rmtree(cached, ignore_errors=True)
        (root / "etc/resolv.conf").unlink(missing_ok=True)
        (root / "etc/hostname").unlink(missing_ok=True)
        run(
            [
                *("tar", "--create", "--file", str(layer), "--directory", str(root), "--numeric-owner"),
                *("--sort=name", "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "."),
            ]
        )
