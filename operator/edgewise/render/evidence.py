"""The copy of a variant's manifest and signatures that the cluster keeps, for when its registry is away."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from edgewise.api.meta import API_VERSION
from edgewise.render.names import child_name, labels, owner

EVIDENCE: Final = "evidence"
#: Larger ones are not kept: an object of the API server holds 1.5 MiB, base64 included.
MAX_BYTES: Final = 700_000


def source_mark(uri: str) -> str:
    """The label value that tells which source a copy is of."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def evidence_copy(
    namespace: str, model: str, model_uid: str, uri: str, manifest: bytes, bundles: Sequence[bytes]
) -> dict[str, Any] | None:
    """A ControllerRevision owned by the EdgeModel, named by its content; None when it would be too large.

    It is trusted no more than a registry: whatever is read back is verified anew, signature by signature.
    A ControllerRevision, since its data cannot be changed, and since a right to write ConfigMaps
    everywhere would be a right to read everybody's.
    """
    if len(manifest) + sum(len(bundle) for bundle in bundles) > MAX_BYTES:
        return None
    parts = [base64.b64encode(part).decode() for part in (manifest, *sorted(bundles))]
    content = hashlib.sha256("/".join((uri, *parts)).encode()).hexdigest()[:10]
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": child_name(model, EVIDENCE, content),
            "namespace": namespace,
            "labels": labels(EVIDENCE, model=model, source=source_mark(uri)),
            "ownerReferences": owner(API_VERSION, "EdgeModel", model, model_uid),
        },
        "revision": 0,
        "data": {"uri": uri, "manifest": parts[0], "bundles": parts[1:]},
    }


def read_copy(data: object, uri: str) -> tuple[bytes, tuple[bytes, ...]] | None:
    """Manifest and bundles out of a copy's data; None when it is no copy of this source."""
    if not isinstance(data, dict) or data.get("uri") != uri:
        return None
    manifest, bundles = data.get("manifest"), data.get("bundles")
    if not isinstance(manifest, str) or not isinstance(bundles, list):
        return None
    try:
        return _decoded(manifest), tuple(_decoded(str(bundle)) for bundle in bundles)
    except ValueError:
        return None


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
