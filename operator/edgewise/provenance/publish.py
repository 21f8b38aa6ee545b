"""Publishing: a model directory as a CNCF ModelPack artifact, and bundles attached to it.

`publish` pushes one uncompressed layer a file, so that a layer's digest is its file's. `attach` pushes a
bundle as a referrer (OCI 1.1 `subject`) and keeps the fallback tag `sha256-<hex>` for registries without the
referrers API. What is pushed is read back from the registry by digest only; its answers are never believed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urljoin

from edgewise.provenance.artifact import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    MAX_MANIFEST_BYTES,
    MODEL_TYPE,
    PATH_ANNOTATION,
    TITLE_ANNOTATION,
    WEIGHT_TYPE,
)
from edgewise.provenance.bundle import MEDIA_TYPE
from edgewise.provenance.digests import Digest, File, sha256_hex, tree_digest
from edgewise.provenance.signer import list_files
from edgewise.provenance.sources import Source, parse_source
from edgewise.provenance.strictjson import Fields, JsonError, parse_object
from edgewise.provenance.transport import RegistryError, Transport, read_bounded

#: The empty descriptor of the OCI image specification.
EMPTY: Final = b"{}"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What a publisher writes into the EdgeModel: `uri`, `digest`, `size` in bytes, and the files."""

    uri: str
    digest: Digest
    size: int
    files: tuple[File, ...]


def publish(
    directory: Path,
    repository: str,
    transport: Transport,
    *,
    name: str = "",
    version: str = "",
    progress: Progress | None = None,
) -> Published:
    """Push every file of a directory as one model artifact.

    Args:
        directory: the model; a `model.sig` at its top is not pushed.
        repository: `oci://host[:port]/repository`, without tag or digest.
        transport: with the hosts that speak plain http.
        name: model name for the ModelPack descriptor.
        version: its version.
        progress: called with a path and its size before each file is pushed.

    Raises:
        UnsignableError, OSError: see `signer.list_files`.
        ProvenanceError: the repository is not canonical.
        RegistryError: the registry refuses.
    """
    files = list_files(directory)
    target = parse_source(f"{repository}@sha256:{'0' * 64}")
    pusher = Pusher(transport, target)
    for file in files:
        if progress is not None:
            progress(file.path, file.size)
        with (directory / file.path).open("rb") as stream:
            pusher.blob(stream, file.sha256, file.size)
    config = _config(files, name, version)
    pusher.blob(config, sha256_hex(config), len(config))
    manifest = model_manifest(files, config)
    digest = pusher.manifest(manifest, MANIFEST_TYPE)
    return Published(
        str(Source(target.authority, target.repository, digest)),
        tree_digest((file.path, file.sha256) for file in files),
        sum(file.size for file in files),
        files,
    )


def attach(bundle: bytes, uri: str, transport: Transport) -> str:
    """Attach a bundle to a published artifact; returns the referrer's digest (sha256, hex).

    Attaching the same bundle twice changes nothing.

    Raises:
        ProvenanceError: `uri` is not canonical. RegistryError: the registry refuses, or has no such artifact.
    """
    source = parse_source(uri)
    pusher = Pusher(transport, source)
    subject = pusher.fetch(f"sha256:{source.digest}")
    if subject is None or sha256_hex(subject) != source.digest:
        raise RegistryError(f"{uri}: not in the registry; publish the model first")
    pusher.blob(EMPTY, sha256_hex(EMPTY), len(EMPTY))
    pusher.blob(bundle, sha256_hex(bundle), len(bundle))
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": MEDIA_TYPE,
            "config": _descriptor(EMPTY_TYPE, EMPTY),
            "layers": [_descriptor(MEDIA_TYPE, bundle)],
            "subject": _descriptor(MANIFEST_TYPE, subject),
        }
    )
    digest = pusher.manifest(manifest, MANIFEST_TYPE)
    entry = {**_descriptor(MANIFEST_TYPE, manifest), "artifactType": MEDIA_TYPE}
    pusher.extend_fallback(f"sha256-{source.digest}", entry)
    return digest


def model_manifest(files: tuple[File, ...], config: bytes) -> bytes:
    """The ModelPack manifest over files and the bytes of its configuration."""
    layers = [
        {
            "mediaType": WEIGHT_TYPE,
            "digest": f"sha256:{file.sha256}",
            "size": file.size,
            "annotations": {PATH_ANNOTATION: file.path, TITLE_ANNOTATION: file.path},
        }
        for file in files
    ]
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": MODEL_TYPE,
            "config": _descriptor(CONFIG_TYPE, config),
            "layers": layers,
        }
    )


@dataclass(frozen=True, slots=True)
class Pusher:
    """Writing to one repository."""

    transport: Transport
    target: Source

    def blob(self, body: bytes | IO[bytes], digest: str, size: int) -> None:
        """Push a blob unless the registry has it."""
        with self.transport.request("HEAD", self._url(f"blobs/sha256:{digest}")) as response:
            if response.status == 200:
                return
        with self.transport.request("POST", self._url("blobs/uploads/"), {"Content-Length": "0"}) as response:
            location = response.headers.get("Location", "")
            if response.status != 202 or not location:
                raise RegistryError(f"{self.target.authority}: starting an upload: HTTP {response.status}")
        place = urljoin(self._url("blobs/uploads/"), location)
        url = f"{place}{'&' if '?' in place else '?'}digest=sha256:{digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self.transport.request("PUT", url, headers, body, follow=False) as response:
            if response.status != 201:
                raise RegistryError(
                    f"{self.target.authority}: uploading sha256:{digest}: HTTP {response.status}"
                )

    def manifest(self, data: bytes, media_type: str, reference: str = "") -> str:
        """Push a manifest or index under its digest or a tag; returns its sha256 (hex)."""
        digest = sha256_hex(data)
        url = self._url(f"manifests/{reference or f'sha256:{digest}'}")
        with self.transport.request("PUT", url, {"Content-Type": media_type}, data, follow=False) as response:
            if response.status != 201:
                raise RegistryError(f"{self.target.authority}: pushing a manifest: HTTP {response.status}")
        return digest

    def fetch(self, reference: str) -> bytes | None:
        """A manifest or index by digest or tag, unchecked; None when there is none."""
        accept = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}
        with self.transport.request("GET", self._url(f"manifests/{reference}"), accept) as response:
            if response.status == 404:
                return None
            if response.status != 200:
                raise RegistryError(f"{self.target.authority}: manifest {reference}: HTTP {response.status}")
            return read_bounded(response, MAX_MANIFEST_BYTES, f"manifest {reference}")

    def extend_fallback(self, tag: str, entry: dict[str, object]) -> None:
        """Add a referrer to the fallback tag's index; two publishers at once may lose one, so check after."""
        for _ in range(3):
            entries = self._fallback(tag)
            if entry in entries:
                return
            index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*entries, entry]}
            self.manifest(_json(index), INDEX_TYPE, tag)
        if entry not in self._fallback(tag):
            raise RegistryError(f"{self.target.authority}: others keep replacing the tag {tag}; try again")

    def _fallback(self, tag: str) -> list[object]:
        data = self.fetch(tag)
        if data is None:
            return []
        try:
            return Fields(parse_object(data, max_bytes=MAX_MANIFEST_BYTES), f"tag {tag}").items("manifests")
        except JsonError as error:
            raise RegistryError(f"{self.target.authority}: the tag {tag} is no index: {error}") from error

    def _url(self, path: str) -> str:
        return self.transport.url(self.target.authority, f"/v2/{self.target.repository}/{path}")


def _config(files: tuple[File, ...], name: str, version: str) -> bytes:
    """The ModelPack configuration: what the model is called, and its files' digests in layer order."""
    descriptor = {key: value for key, value in (("name", name), ("version", version)) if value}
    layers = {"type": "layers", "diffIds": [f"sha256:{file.sha256}" for file in files]}
    return _json({"descriptor": descriptor, "modelfs": layers, "config": {}})


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{sha256_hex(data)}", "size": len(data)}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
