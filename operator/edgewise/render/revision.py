"""The ControllerRevision that keeps a revision of a service."""

from __future__ import annotations

from typing import Any

from edgewise.api.meta import API_VERSION
from edgewise.render.names import SERVER, child_name, labels, owner
from edgewise.rollout.revision import Revision


def controller_revision(namespace: str, uid: str, revision: Revision) -> dict[str, Any]:
    """An immutable ControllerRevision owned by the service. The API server refuses changes of its data."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": child_name(revision.service, revision.hash),
            "namespace": namespace,
            "labels": labels(SERVER, revision.service, revision=revision.hash, model=revision.model),
            "ownerReferences": owner(API_VERSION, "InferenceService", revision.service, uid),
        },
        "revision": revision.number,
        "data": revision.model_dump(mode="json", by_alias=True),
    }
