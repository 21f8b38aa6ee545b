"""Images for the lab, made without a registry of the outside and without a daemon.

The project's own Dockerfiles are built on the lab's base by their build argument BASE, so what ships is
what is tested. Everything is kept in the cache by the hash of what went in.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import base, oci, packages, wheels
from lab.errors import CommandFailedError, LabError
from lab.files import write_whole
from lab.oci import Image
from lab.progress import Progress
from lab.settings import ENVOY_VERSION
from lab.shell import run
from lab.toolchain import ENVOY, Toolchain

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
#: Never part of a build: they differ from run to run, or belong to the checkout's owner.
_IGNORED = (".git", ".venv", "__pycache__", "*.pyc", "*.egg-info", ".*_cache", ".hypothesis")
#: Raise it when an image built by the same recipe would come out otherwise.
_RECIPE = "2"


class Images:
    """Makes images and keeps them in the cache."""

    def __init__(self, cache: Path, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress
        self._folder = cache / "images"
        self._blobs = self._folder / "blobs"

    def base(self) -> Image:
        """The distribution with Python, as `edgewise-lab/base:1`; made once, in about a minute."""
        name = "edgewise-lab/base:1"
        key = hashlib.sha256(f"{base.key()} {_RECIPE}".encode()).hexdigest()
        found = self._recall(name, key)
        if found is not None:
            return found
        packages.ensure(self._progress, nodes=False, images=True)
        self._blobs.mkdir(parents=True, exist_ok=True)
        with self._progress.step("make the base image with debootstrap", "base image"):
            layer = self._blobs / f"base.{os.getpid()}"
            try:
                base.make(layer)
                blob = oci.add_blob(self._blobs, layer)
            finally:
                layer.unlink(missing_ok=True)
            path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            image = oci.assemble(self._blobs, name, [blob], {"Env": [path], "Cmd": ["/bin/sh"]})
        return self._keep(image, key)

    def envoy(self) -> Image:
        """Envoy on the base, started as the upstream image starts it: `edgewise-lab/envoy:VERSION`."""
        name, under = f"edgewise-lab/envoy:{ENVOY_VERSION}", self.base()
        key = hashlib.sha256(f"{under.digest} {ENVOY_VERSION} {_RECIPE}".encode()).hexdigest()
        found = self._recall(name, key)
        if found is not None:
            return found
        program = Toolchain(self._cache, self._progress).path(ENVOY)
        layer = self._blobs / f"envoy.{os.getpid()}"
        oci.write_layer(layer, {"usr/local/bin/envoy": program})
        lowest = under.manifest()["layers"][0]
        layers = [(lowest["digest"], lowest["size"]), oci.add_blob(self._blobs, layer)]
        config = {
            "Entrypoint": ["/usr/local/bin/envoy"],
            "Cmd": ["-c", "/etc/envoy/envoy.yaml"],
            "User": "65532:65532",
        }
        return self._keep(oci.assemble(self._blobs, name, layers, config), key)

    def build(
        self,
        dockerfile: Path,
        context: Path,
        name: str,
        *,
        include: Sequence[str] = (".",),
        arguments: Mapping[str, str] | None = None,
    ) -> Image:
        """Build a Dockerfile on the lab's base, given to it as the build argument BASE.

        Args:
            dockerfile: the file.
            context: the folder that its COPY lines start from.
            name: repository and tag of the result, as `edgewise/agent:dev`.
            include: what of the context is sent, relative paths; only these count for the cache.
            arguments: further build arguments.

        Raises:
            LabError: the build failed; the text has the end of what it said.
        """
        under = self.base()
        packages.ensure(self._progress, nodes=False, images=True)
        with tempfile.TemporaryDirectory(prefix="edgewise-context-") as scratch:
            staged = Path(scratch) / "context"
            _stage(context, include, staged)
            shutil.copy(dockerfile, Path(scratch) / "Dockerfile")
            said = json.dumps([_RECIPE, under.digest, name, dict(arguments or {})])
            key = _hash_tree(Path(scratch), said)
            found = self._recall(name, key)
            if found is not None:
                return found
            with self._progress.step(f"build the image {name}", f"image {name.rpartition(':')[0]}"):
                archive = Path(scratch) / "image.tar"
                self._buildah_build(Path(scratch), under, name, dict(arguments or {}), archive)
                image = oci.from_docker_archive(archive, self._blobs, name)
        return self._keep(image, key)

    def archive(self, image: Image, reference: str) -> Path:
        """An OCI archive of `image` that containerd imports as `reference`; kept beside the blobs."""
        folder = self._folder / "archives"
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(f"{reference} {image.digest}".encode()).hexdigest()
        path = folder / f"{name}.tar"
        if not path.exists():
            oci.write_archive(image, path, reference)
        return path

    # -- buildah ----------------------------------------------------------------------------------------

    def _buildah(self, *arguments: str) -> list[str]:
        store = self._cache / "buildah"
        driver = os.environ.get("STORAGE_DRIVER", "overlay")
        folders = (f"--root={store / 'root'}", f"--runroot={store / 'run'}", f"--storage-driver={driver}")
        # buildah leaves mounts of its store behind; in a namespace of its own they go with it.
        return ["unshare", "--mount", "--propagation", "private", "--", "buildah", *folders, *arguments]

    def _buildah_build(
        self, scratch: Path, under: Image, name: str, arguments: dict[str, str], archive: Path
    ) -> None:
        local = f"localhost/edgewise-lab/base:{under.digest.removeprefix('sha256:')[:16]}"
        try:
            run(self._buildah("inspect", "--type=image", local))
        except CommandFailedError:
            whole = scratch / "base.tar"
            oci.write_archive(under, whole, local)
            identifier = run(self._buildah("pull", "--quiet", f"oci-archive:{whole}")).split()[-1]
            run(self._buildah("tag", identifier, local))
            whole.unlink()
        volumes = _build_time_files(scratch)
        tag = f"localhost/{name}"
        try:
            run(
                self._buildah(
                    *("build", "--quiet", "--isolation=chroot", "--layers", "--pull-never"),
                    *("--format=oci", f"--tag={tag}", f"--file={scratch / 'Dockerfile'}"),
                    *(f"--build-arg={k}={v}" for k, v in {"BASE": local, **arguments}.items()),
                    *(f"--volume={source}:{target}:ro" for source, target in volumes.items()),
                    str(scratch / "context"),
                )
            )
        except CommandFailedError as failed:
            raise LabError(f"the image {name} did not build: {failed}") from failed
        run(self._buildah("push", "--quiet", tag, f"docker-archive:{archive}:{name}"))

    # -- cache ------------------------------------------------------------------------------------------

    def _recall(self, name: str, key: str) -> Image | None:
        try:
            digest = (self._folder / "made" / key).read_text().strip()
        except FileNotFoundError:
            return None
        image = Image(name, digest, self._blobs)
        if not image.blob(digest).exists():
            return None
        return image if all(image.blob(part).exists() for part in image.content()) else None

    def _keep(self, image: Image, key: str) -> Image:
        folder = self._folder / "made"
        folder.mkdir(parents=True, exist_ok=True)
        os.sync()  # buildah's own store has to be as whole after a power cut as our blobs
        write_whole(folder / key, f"{image.digest}\n")
        return image


def _stage(context: Path, include: Sequence[str], target: Path) -> None:
    """Copy what is wanted of the context, with times that do not vary."""
    ignore = shutil.ignore_patterns(*_IGNORED)
    for name in include:
        source, copy = context / name, target / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=ignore, dirs_exist_ok=True)
        elif source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        else:
            raise LabError(f"{source} is not there; wanted as a part of an image's build context")
    for path in (target, *target.rglob("*")):
        os.utime(path, (0, 0), follow_symlinks=False)


def _hash_tree(folder: Path, more: str) -> str:
    """A hash of names, kinds, executable bits and bytes of everything below `folder`, and of `more`."""
    total = hashlib.sha256(more.encode())
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            told = f"link {os.readlink(path)}"
        elif path.is_dir():
            told = "folder"
        else:
            with path.open("rb") as stream:
                told = f"file {os.access(path, os.X_OK)} {hashlib.file_digest(stream, 'sha256').hexdigest()}"
        total.update(f"\0{path.relative_to(folder)}\0{told}".encode())
    return total.hexdigest()


def _build_time_files(scratch: Path) -> dict[str, str]:
    """Files of the host that only a build sees: where pip finds packages, and whom to trust."""
    files: dict[str, str] = {}
    if _CERTIFICATES.exists():
        files[str(_CERTIFICATES)] = str(_CERTIFICATES)
    settings = pip_settings(run([*wheels.pip(), "config", "list"]), dict(os.environ))
    if settings:
        if "cert" in settings:
            files[settings["cert"]] = str(_CERTIFICATES)
            settings["cert"] = str(_CERTIFICATES)
        links = settings.get("find-links", "").split()
        for number, folder in enumerate(links):
            if Path(folder).is_dir():
                links[number] = f"/run/find-links-{number}"
                files[folder] = links[number]
        if links:
            settings["find-links"] = " ".join(links)
        path = scratch / "pip.conf"
        path.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        files[str(path)] = "/etc/pip.conf"
    return files


def pip_settings(listing: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The host's own pip settings that say where packages come from, as keys of pip.conf.

    Args:
        listing: what `pip config list` prints: lines such as `global.cert='/etc/ca.crt'`.
        environment: variables PIP_*; they win, as they do for pip.
    """
    wanted = (
        "cert",
        "index-url",
        "extra-index-url",
        "find-links",
        "trusted-host",
        "proxy",
        "timeout",
        "retries",
    )
    found: dict[str, str] = {}
    for line in listing.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if separator and section in ("global", "install", "site", "user") and key in wanted:
            found[key] = value.strip().strip("'\"").replace("\\n", " ").strip()
    for key in wanted:
        value = environment.get(f"PIP_{key.upper().replace('-', '_')}", "")
        if value:
            found[key] = value
    return found
