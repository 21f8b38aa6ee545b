"""The model artifact: an OCI manifest in CNCF ModelPack form, read into files.

One uncompressed file a layer, so a layer's digest is the file's digest and nothing is unpacked or hashed
twice. Archives are refused: they are where path tricks and bombs live.
"""

import re
from dataclasses import dataclass
from typing import Final

from edgewise.provenance import reasons
from edgewise.provenance.digests import HEX, File, sha256_hex
from edgewise.provenance.errors import ProvenanceError, printable
from edgewise.provenance.names import problem_of, set_problem_of
from edgewise.provenance.strictjson import Fields, JsonError, parse_object

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
#: https://github.com/modelpack/model-spec, docs/spec.md.
MODEL_TYPE: Final = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.cncf.model.config.v1+json"
WEIGHT_TYPE: Final = "application/vnd.cncf.model.weight.v1.raw"
_RAW_LAYER: Final = re.compile(
    r"application/vnd\.cncf\.model\.(weight|weight\.config|doc|code|dataset)\.v1\.raw"
)
PATH_ANNOTATION: Final = "org.cncf.model.filepath"
TITLE_ANNOTATION: Final = "org.opencontainers.image.title"

#: The OCI distribution specification asks registries to take 4 MiB a manifest; nobody stores larger ones.
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
#: No single file is larger than 4 TiB; also keeps sizes exact in every JSON reader.
MAX_FILE_BYTES: Final = 1 << 42


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model's files as the registry's manifest lists them, sorted by path."""

    digest: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def read_artifact(manifest: bytes, digest: str) -> Artifact:
    """Read a model manifest that is named by `digest` (sha256, hex).

    Raises:
        ProvenanceError: ManifestMismatch when the bytes are others; ArtifactInvalid when this is no model of
            single, uncompressed files with acceptable names.
    """
    found = sha256_hex(manifest)
    if found != digest:
        raise ProvenanceError(
            reasons.MANIFEST_MISMATCH,
            f"the registry's manifest hashes to sha256:{found}, wanted sha256:{digest}",
        )
    try:
        files = _files(parse_object(manifest, max_bytes=MAX_MANIFEST_BYTES))
    except JsonError as error:
        raise ProvenanceError(reasons.ARTIFACT_INVALID, str(error)) from error
    return Artifact(digest, files)


def _files(document: dict[str, object]) -> tuple[File, ...]:
    fields = Fields(document, "manifest")
    media_type = fields.text("mediaType", MANIFEST_TYPE)
    if media_type == INDEX_TYPE or "manifests" in fields:
        raise JsonError("this is an index; name the manifest of one variant by its digest")
    if media_type != MANIFEST_TYPE:
        raise JsonError(f"manifest.mediaType {printable(media_type)}: wanted {MANIFEST_TYPE}")
    config = fields.fields("config").text("mediaType")
    kind = fields.text("artifactType", config)
    if MODEL_TYPE not in (kind, config) and CONFIG_TYPE not in (kind, config):
        raise JsonError(f"artifact type {printable(kind)}: wanted a ModelPack, {MODEL_TYPE}")
    files = [_layer(layer, index) for index, layer in enumerate(fields.items("layers"))]
    if not files:
        raise JsonError("the artifact has no files")
    if problem := set_problem_of([file.path for file in files]):
        raise JsonError(f"the artifact's file names collide: {problem}")
    return tuple(sorted(files))


def _layer(value: object, index: int) -> File:
    layer = Fields(value, f"layers[{index}]")
    media_type = layer.text("mediaType")
    if not _RAW_LAYER.fullmatch(media_type):
        raise JsonError(
            f"{layer.where}.mediaType {printable(media_type)}: push single files as {WEIGHT_TYPE}"
        )
    notes = layer.text_map("annotations")
    path = notes.get(PATH_ANNOTATION) or notes.get(TITLE_ANNOTATION) or ""
    if notes.get(TITLE_ANNOTATION, path) != path:
        raise JsonError(f"{layer.where}: {PATH_ANNOTATION} and {TITLE_ANNOTATION} name two files")
    if problem := problem_of(path):
        raise JsonError(f"{layer.where}: file name {printable(path)} {problem}")
    algorithm, _, digest = layer.text("digest").partition(":")
    if algorithm != "sha256" or not HEX.fullmatch(digest):
        raise JsonError(f"{layer.where}.digest: wanted sha256:<64 lower-case hex digits>")
    size = layer.number("size")
    if size > MAX_FILE_BYTES:
        raise JsonError(f"{layer.where}.size: {size} bytes, at most {MAX_FILE_BYTES}")
    return File(path, digest, size)
