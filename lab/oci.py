"""Images as OCI archives: written, read and turned over from what buildah exports, without a daemon.

Layers stay uncompressed: on one machine compressing costs more than the bytes it saves, and the same
content then has the same digest everywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.files import move_whole

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a folder of blobs.

    Attributes:
        name: repository and tag without a host, as `edgewise/agent:dev`.
        digest: of the manifest, `sha256:...`.
        blobs: the folder with one file a digest, named by its hex.
    """

    name: str
    digest: str
    blobs: Path

    @property
    def repository(self) -> str:
        """The name without its tag."""
        return self.name.rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The name's tag."""
        return self.name.rpartition(":")[2]

    def blob(self, digest: str) -> Path:
        """Where the blob `digest` lies."""
        return self.blobs / digest.removeprefix("sha256:")

    def manifest(self) -> dict[str, Any]:
        """The manifest, parsed."""
        return dict(json.loads(self.blob(self.digest).read_text()))

    def content(self) -> list[str]:
        """Digests of config and layers, in the manifest's order."""
        manifest = self.manifest()
        return [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]


def architecture() -> str:
    """This machine's architecture, as images name it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def add_blob(blobs: Path, source: Path) -> tuple[str, int]:
    """Take a file in (moved, not copied); its digest and size in bytes."""
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size = source.stat().st_size
    blobs.mkdir(parents=True, exist_ok=True)
    move_whole(source, blobs / digest)
    return f"sha256:{digest}", size


def add_bytes(blobs: Path, content: bytes) -> tuple[str, int]:
    """Take bytes in; their digest and number."""
    digest = hashlib.sha256(content).hexdigest()
    blobs.mkdir(parents=True, exist_ok=True)
    path = blobs / digest
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(content)
        move_whole(fresh, path)
    return f"sha256:{digest}", len(content)


def write_layer(target: Path, files: Mapping[str, Path]) -> None:
    """A layer of files (path in the image -> file here), the same bytes whenever and wherever it is made."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        folders: set[str] = set()
        for name, source in sorted(files.items()):
            parts = name.strip("/").split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                if folder not in folders:
                    folders.add(folder)
                    entry = tarfile.TarInfo(folder)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
            entry = tarfile.TarInfo("/".join(parts))
            entry.size = source.stat().st_size
            entry.mode = 0o755 if os.access(source, os.X_OK) else 0o644
            with source.open("rb") as stream:
                archive.addfile(entry, stream)


def assemble(
    blobs: Path, name: str, layers: Sequence[tuple[str, int]], config: Mapping[str, Any], media: str = LAYER
) -> Image:
    """Make an image of layers that are in `blobs` already.

    Args:
        blobs: the folder of blobs.
        name: repository and tag.
        layers: digest and size of each uncompressed layer, the lowest first.
        config: the runtime part of the configuration (Entrypoint, Env, User ...).
        media: media type of the layers.
    """
    whole = {
        "architecture": architecture(),
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [digest for digest, _ in layers]},
        # One entry a layer: buildah refuses to build on an image whose history and layers do not match.
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "edgewise lab"} for _ in layers],
    }
    return _finish(blobs, name, layers, json.dumps(whole, sort_keys=True).encode(), media)


def _finish(
    blobs: Path, name: str, layers: Sequence[tuple[str, int]], config: bytes, media: str = LAYER
) -> Image:
    config_digest, config_size = add_bytes(blobs, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config_digest, "size": config_size},
        "layers": [{"mediaType": media, "digest": digest, "size": size} for digest, size in layers],
    }
    digest, _ = add_bytes(blobs, json.dumps(manifest, sort_keys=True).encode())
    return Image(name, digest, blobs)


def from_docker_archive(archive: Path, blobs: Path, name: str) -> Image:
    """Turn a docker-archive (as `docker save` and buildah write it) into blobs and a manifest."""
    with tarfile.open(archive) as tar:

        def member(path: str) -> tarfile.TarInfo:
            found = tar.getmember(path)
            # Layers that occur twice are links to the first.
            return tar.getmember(found.linkname) if found.islnk() or found.issym() else found

        def content(path: str) -> io.BufferedIOBase:
            stream = tar.extractfile(member(path))
            assert stream is not None  # noqa: S101 - a regular file by docker-archive's format
            return stream  # type: ignore[return-value]

        first = json.loads(content("manifest.json").read())[0]
        config = content(first["Config"]).read()
        diff_ids = json.loads(config)["rootfs"]["diff_ids"]
        layers: list[tuple[str, int]] = []
        for path, diff_id in zip(first["Layers"], diff_ids, strict=True):
            known = blobs / diff_id.removeprefix("sha256:")
            if not known.exists():
                fresh = blobs / f"{known.name}.{os.getpid()}"
                blobs.mkdir(parents=True, exist_ok=True)
                with content(path) as source, fresh.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                digest, _ = add_blob(blobs, fresh)
                if digest != diff_id:
                    raise ValueError(f"{archive}: layer {path} is {digest}, its configuration says {diff_id}")
            layers.append((diff_id, known.stat().st_size))
    return _finish(blobs, name, layers, config)


def write_archive(image: Image, target: Path, reference: str) -> None:
    """Write an OCI archive that containerd imports as `reference` (host, repository and tag)."""
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": image.digest,
                "size": image.blob(image.digest).stat().st_size,
                "annotations": {
                    "io.containerd.image.name": reference,
                    "org.opencontainers.image.ref.name": reference,
                },
            }
        ],
    }
    fresh = target.with_suffix(f".{os.getpid()}")
    with tarfile.open(fresh, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(archive, "index.json", json.dumps(index).encode())
        for digest in dict.fromkeys([image.digest, *image.content()]):
            archive.add(image.blob(digest), f"blobs/{digest.replace(':', '/')}", recursive=False)
    move_whole(fresh, target)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
