"""A small client for OCI registries that believes only digests (distribution specification 1.1).

Synchronous: the agent calls it from its download threads, the operator from a thread of its pool. No
authentication yet; nothing of ours travels to a registry but the names of what is wanted.
"""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from edgewise.provenance.artifact import INDEX_TYPE, MANIFEST_TYPE, MAX_MANIFEST_BYTES
from edgewise.provenance.bundle import MEDIA_TYPE
from edgewise.provenance.digests import HEX, sha256_hex
from edgewise.provenance.errors import printable
from edgewise.provenance.sources import Source
from edgewise.provenance.strictjson import Fields, JsonError, parse_object
from edgewise.provenance.transport import LyingRegistryError, RegistryError, Transport, read_bounded

#: Referrers looked at, as many as the judge reads. Whoever may push may add some; thousands are an attack.
MAX_REFERRERS: Final = 32
#: Bytes of bundles held in memory for one artifact: what the verification process takes in one request.
MAX_BUNDLES_BYTES: Final = 48 << 20
_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A thing in a registry: media type, sha256 (hex), size in bytes, artifact type."""

    media_type: str
    sha256: str
    size: int
    artifact_type: str = ""


@dataclass(frozen=True, slots=True)
class Blob:
    """A body that is being received: it starts at byte `offset` of the blob (0 when ranges are ignored)."""

    offset: int
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Registry:
    """Reading from registries."""

    transport: Transport

    def manifest(self, source: Source) -> bytes:
        """The manifest that `source` names; its hash is checked.

        Raises:
            RegistryError: not there, too large; LyingRegistryError: other bytes.
        """
        return self._manifest(source, source.digest, None)

    def bundles(self, source: Source, *, max_bytes: int = 16 << 20) -> tuple[bytes, ...]:
        """Every Sigstore bundle attached to the artifact: by the referrers API, else by the fallback tag.

        Bundles are returned as they are; only their digests are checked. A referrer that cannot be read is
        skipped when another one can: an attacker's broken referrer must not hide the publisher's good one.

        Raises:
            RegistryError: none could be read, though some are attached.
        """
        found: list[bytes] = []
        failure: RegistryError | None = None
        for referrer in self.referrers(source, MEDIA_TYPE):
            if sum(map(len, found)) + max_bytes > MAX_BUNDLES_BYTES:
                break
            try:
                found.append(self._bundle(source, referrer, max_bytes))
            except RegistryError as error:
                failure = error
        if failure is not None and not found:
            raise failure
        return tuple(dict.fromkeys(found))

    def referrers(self, source: Source, artifact_type: str) -> tuple[Descriptor, ...]:
        """Descriptors of manifests whose subject is the artifact, of one artifact type.

        Raises:
            RegistryError: the registry fails in another way than knowing of none.
        """
        path = f"/v2/{source.repository}/referrers/sha256:{source.digest}"
        path += f"?artifactType={quote(artifact_type, '')}"
        data = self._optional(source, path, INDEX_TYPE)
        known = () if data is None else _index(data, artifact_type)
        if not known:  # an old registry answers 404; some answer an empty list beside a pushed fallback tag
            data = self._optional(
                source, f"/v2/{source.repository}/manifests/sha256-{source.digest}", INDEX_TYPE
            )
            known = () if data is None else _index(data, artifact_type)
        return known[:MAX_REFERRERS]

    def small_blob(self, source: Source, digest: str, size: int) -> bytes:
        """A blob in memory, its length and hash checked."""
        with self.open_blob(source, digest, size) as blob:
            data = b"".join(blob.chunks)
        _same(data, digest, f"{source.authority}/{source.repository}: blob")
        return data

    @contextmanager
    def open_blob(self, source: Source, digest: str, size: int, offset: int = 0) -> Iterator[Blob]:
        """Receive a blob of `size` bytes from byte `offset` on. The caller hashes what it gets.

        The chunks end after exactly the bytes wanted. They raise RegistryError when the connection ends early
        (worth resuming), LyingRegistryError when the registry has more bytes than there may be.

        Raises:
            RegistryError: not there, or the registry does not answer.
        """
        what = f"{source.authority}/{source.repository}: blob sha256:{digest[:12]}"
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-{size - 1}"
        url = self.transport.url(source.authority, f"/v2/{source.repository}/blobs/sha256:{digest}")
        with self.transport.request("GET", url, headers) as response:
            if response.status not in {200, 206}:
                raise _refused(response, what)
            start = _start(response, offset, size, what) if response.status == 206 else 0
            yield Blob(start, _chunks(response, size - start, size, what))

    def _bundle(self, source: Source, referrer: Descriptor, max_bytes: int) -> bytes:
        manifest = self._manifest(source, referrer.sha256, referrer.size)
        try:
            fields = Fields(parse_object(manifest, max_bytes=MAX_MANIFEST_BYTES), "referrer")
            subject = fields.fields("subject").text("digest")
            layers = [_descriptor(item, "referrer.layers") for item in fields.items("layers")]
        except JsonError as error:
            raise RegistryError(f"referrer sha256:{referrer.sha256[:12]}: {error}") from error
        if subject != f"sha256:{source.digest}":
            raise LyingRegistryError(f"referrer sha256:{referrer.sha256[:12]} is about {printable(subject)}")
        if len(layers) != 1 or layers[0].size > max_bytes:
            raise RegistryError(
                f"referrer sha256:{referrer.sha256[:12]}: wanted one bundle of at most {max_bytes} bytes"
            )
        return self.small_blob(source, layers[0].sha256, layers[0].size)

    def _manifest(self, source: Source, digest: str, size: int | None) -> bytes:
        what = f"{source.authority}/{source.repository}: manifest sha256:{digest[:12]}"
        url = self.transport.url(source.authority, f"/v2/{source.repository}/manifests/sha256:{digest}")
        with self.transport.request("GET", url, {"Accept": MANIFEST_TYPE}) as response:
            if response.status != 200:
                raise _refused(response, what)
            data = read_bounded(response, MAX_MANIFEST_BYTES, what)
        if size is not None and len(data) != size:
            raise LyingRegistryError(f"{what} has {len(data)} bytes, its descriptor says {size}")
        _same(data, digest, what)
        return data

    def _optional(self, source: Source, path: str, accept: str) -> bytes | None:
        what = f"{source.authority}{path.partition('?')[0]}"
        with self.transport.request(
            "GET", self.transport.url(source.authority, path), {"Accept": accept}
        ) as response:
            if response.status == 404:
                return None
            if response.status != 200:
                raise _refused(response, what)
            return read_bounded(response, MAX_MANIFEST_BYTES, what)


def _index(data: bytes, artifact_type: str) -> tuple[Descriptor, ...]:
    try:
        fields = Fields(parse_object(data, max_bytes=MAX_MANIFEST_BYTES), "referrers")
        all_of_them = [_descriptor(item, "referrers.manifests") for item in fields.items("manifests")]
    except JsonError as error:
        raise RegistryError(str(error)) from error
    # Only ours: a registry may ignore the filter, and the fallback tag lists every type.
    return tuple(d for d in all_of_them if d.artifact_type == artifact_type and d.media_type == MANIFEST_TYPE)


def _descriptor(value: object, where: str) -> Descriptor:
    fields = Fields(value, where)
    algorithm, _, digest = fields.text("digest").partition(":")
    if algorithm != "sha256" or not HEX.fullmatch(digest):
        raise JsonError(f"{where}.digest: wanted sha256:<hex>")
    return Descriptor(
        fields.text("mediaType"), digest, fields.number("size"), fields.text("artifactType", "")
    )


def _same(data: bytes, digest: str, what: str) -> None:
    if (found := sha256_hex(data)) != digest:
        raise LyingRegistryError(f"{what} hashes to sha256:{found}, wanted sha256:{digest}; refusing")


def _start(response: http.client.HTTPResponse, offset: int, size: int, what: str) -> int:
    """Where a partial body starts; it has to be where we asked, in a blob of the size that we know."""
    told = response.headers.get("Content-Range", "")
    if told not in {f"bytes {offset}-{size - 1}/{size}", f"bytes {offset}-{size - 1}/*"}:
        raise LyingRegistryError(f"{what}: asked for bytes {offset}-{size - 1}/{size}, got {printable(told)}")
    return offset


def _chunks(response: http.client.HTTPResponse, wanted: int, size: int, what: str) -> Iterator[bytes]:
    declared = response.headers.get("Content-Length")
    if declared is not None and declared != str(wanted):
        raise LyingRegistryError(
            f"{what}: {printable(declared)} bytes announced, {wanted} wanted (size {size})"
        )
    missing = wanted
    while missing:
        try:
            chunk = response.read1(min(missing, _CHUNK))
        except (OSError, http.client.HTTPException) as error:
            raise RegistryError(f"{what}: {str(error)[:80] or type(error).__name__}") from error
        if not chunk:
            raise RegistryError(f"{what}: cut off, {missing} of {size} bytes missing")
        missing -= len(chunk)
        yield chunk
    if declared is None and response.read1(1):
        raise LyingRegistryError(f"{what}: more than its {size} bytes")


def _refused(response: http.client.HTTPResponse, what: str) -> RegistryError:
    """The status alone: a body from outside does not belong into events and logs."""
    return RegistryError(f"{what}: HTTP {response.status} {printable(response.reason, 40)}", response.status)
