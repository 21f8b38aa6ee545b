"""Names and labels of children."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from edgewise.api.meta import (
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_SERVICE,
    LABEL_SITE,
    MANAGED_BY,
)

#: A Deployment's name plus what ReplicaSet and Pod append has to fit into a label value of 63.
_LONGEST: Final = 46
SERVER: Final = "server"
ROUTER: Final = "router"


def child_name(*parts: str) -> str:
    """A name made of `parts`: readable where it fits, cut and told apart by a hash where not."""
    name = "-".join(part for part in parts if part)
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - 9].rstrip('-.')}-{digest}"


def labels(component: str, service: str = "", site: str = "", **more: str) -> dict[str, str]:
    """The labels that every child carries; `more` are further labels of edgewise.dev by their last part."""
    found = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_COMPONENT: component}
    if service:
        found[LABEL_SERVICE] = service
    if site:
        found[LABEL_SITE] = site
    return found | {f"edgewise.dev/{key}": value for key, value in more.items()}


def owner(api_version: str, kind: str, name: str, uid: str) -> list[dict[str, Any]]:
    """An ownerReferences list: the child goes when its owner goes, and the deletion waits for nothing."""
    return [{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": True}]
