"""Typed digests: what a digest is a digest of travels with it.

`file:sha256:<hex>` is one file, `oci:sha256:<hex>` an OCI manifest, `tree:sha256:<hex>` a set of files. The
tree is sha256 over the RFC 8785 form of the list of {"path", "sha256"}, sorted by path. (The root that OMS
statements carry is no content address: it leaves out the names, so two different trees share one root.)
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, cast

from edgewise.provenance import reasons
from edgewise.provenance.errors import ProvenanceError, printable

Kind = Literal["file", "oci", "tree"]

_DIGEST: Final = re.compile(r"(file|oci|tree):sha256:([0-9a-f]{64})")
HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest and the kind of thing that it identifies."""

    kind: Kind
    hex: str

    def __str__(self) -> str:
        return f"{self.kind}:sha256:{self.hex}"


@dataclass(frozen=True, slots=True, order=True)
class File:
    """One file of a model: relative path with `/`, sha256 as lower-case hex, size in bytes."""

    path: str
    sha256: str
    size: int


def parse_digest(text: str) -> Digest:
    """Read a typed digest.

    Raises:
        ProvenanceError: DigestUnsupported, with the form that is wanted.
    """
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise ProvenanceError(
            reasons.DIGEST_UNSUPPORTED,
            f"digest {printable(text)}: wanted tree:sha256:<64 lower-case hex digits> (or file:, oci:)",
        )
    return Digest(cast(Kind, match[1]), match[2])


def sha256_hex(data: bytes) -> str:
    """sha256 of `data` as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: object) -> bytes:
    """RFC 8785 (JCS) form of a value made of objects, arrays, strings, integers, booleans and null.

    Raises:
        ValueError: floats (nothing we hash has any, and their form is where implementations differ),
            integers beyond 2^53, keys that are not strings, half surrogate pairs.
    """
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        "utf-8"
    )


def canonical_sha256(value: object) -> str:
    """sha256 (hex) over `canonical_json(value)`; how policies are named by content."""
    return sha256_hex(canonical_json(value))


def tree_digest(files: Iterable[tuple[str, str]]) -> Digest:
    """The tree of (path, sha256 hex) pairs; the order given does not matter, paths are unique."""
    entries = [{"path": path, "sha256": digest} for path, digest in sorted(files)]
    return Digest("tree", canonical_sha256(entries))


def _ordered(value: object) -> object:
    match value:
        case bool() | None | str():
            return value
        case int():
            if abs(value) >= 2**53:
                raise ValueError(f"{value} cannot be written exactly in JSON: integers end at 2^53")
            return value
        case list() | tuple():
            return [_ordered(item) for item in value]
        case dict():
            if not all(isinstance(name, str) for name in value):
                raise ValueError("keys of a JSON object are strings")
            # RFC 8785 sorts by UTF-16 code units, which differs from Python's order beyond U+FFFF.
            names = sorted(value, key=lambda name: str(name).encode("utf-16-be"))
            return {name: _ordered(value[name]) for name in names}
    raise ValueError(f"{type(value).__name__} has no canonical JSON form here")
