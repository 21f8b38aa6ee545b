"""Debian packages that the lab needs: what is missing is installed, by apt, and nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.progress import Progress
from lab.shell import run

#: Package -> a file or a program by which it is found, so that another distribution's or a hand-made one
#: will do.
CONTROL_PLANE = {"openssl": "openssl", "iproute2": "ip", "procps": "sysctl", "util-linux": "nsenter"}
NODES = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "mount": "mount",
}
IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}


def missing(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Packages of which the file or program that tells them is not there."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

    def is_there(sign: str) -> bool:
        return Path(sign).exists() if sign.startswith("/") else shutil.which(sign, path=path) is not None

    return [package for package, sign in wanted if not is_there(sign)]


def ensure(progress: Progress, *, nodes: bool = True, images: bool = False) -> None:
    """Install what is missing.

    Args:
        progress: who is told.
        nodes: also what nodes need.
        images: also what building and serving images needs.

    Raises:
        LabError: packages are missing and there is no apt.
    """
    wanted = {**CONTROL_PLANE, **(NODES if nodes else {}), **(IMAGES if images else {})}
    absent = missing(wanted.items())
    if not absent:
        return
    if shutil.which("apt-get") is None:
        raise LabError(
            f"missing: {', '.join(absent)}; this system has no apt-get, install them by its own means"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"install {' '.join(absent)}", "install packages"):
        run(["apt-get", "update", "-q"], env=environment)
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *absent], env=environment)


def docker_registry(cache: Path) -> Path:
    """The program docker-registry: installed, or taken out of Debian's package into the cache.

    The package itself is not installed: it starts a service on port 5000 of every address.

    Raises:
        CommandFailedError: apt has no such package.
    """
    found = shutil.which("docker-registry", path=os.environ.get("PATH", "") + ":/usr/bin")
    if found is not None:
        return Path(found)
    kept = cache / "bin" / "docker-registry" / "docker-registry"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            run(["apt-get", "download", "-q", "docker-registry"], cwd=Path(scratch))
            (package,) = Path(scratch).glob("*.deb")
            run(["dpkg-deb", "--extract", str(package), scratch])
            (Path(scratch) / "usr/bin/docker-registry").replace(kept)
    return kept
