"""Writing only what differs: drift is found against live fields, and removal by a fingerprint."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from pydantic import BaseModel

from edgewise.api.meta import API_VERSION, GROUP, Metadata, quantity
from edgewise.cluster.client import Client
from edgewise.cluster.resources import Object

#: Fingerprint of what was applied last: tells that a field we set before is not wanted any more.
#: Alone it proves nothing, so the live values are compared as well.
APPLIED: Final = f"{GROUP}/applied"
_MERGE_KEYS: Final = ("name", "type", "key", "ip", "containerPort", "port", "topologyKey")


def fingerprint(obj: Object) -> str:
    """Short hash of an object as we want it; the write preconditions in it do not count."""
    volatile = {"resourceVersion", "uid"}
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in volatile}
    text = json.dumps(obj | {"metadata": metadata}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stamped(obj: Object) -> Object:
    """The object with its fingerprint in an annotation."""
    metadata = dict(obj["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    annotations[APPLIED] = fingerprint(obj)
    return obj | {"metadata": metadata | {"annotations": annotations}}


def holds(wanted: Any, live: Any) -> bool:
    """Whether every value in `wanted` is so in `live`; what `live` has beside it is not ours.

    Lists of objects are matched by the merge keys of server-side apply, other lists must be equal.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key in live and holds(value, live[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(live, list) or len(wanted) > len(live):
            return False
        return all(_item_holds(item, index, live) for index, item in enumerate(wanted))
    return bool(wanted == live) or _same_amount(wanted, live)


def _same_amount(wanted: Any, live: Any) -> bool:
    """Whether two texts are the same quantity: the API server writes 0.5 cores as 500m."""
    if not (isinstance(wanted, str) and isinstance(live, str)):
        return False
    try:
        return quantity(wanted) == quantity(live)
    except ValueError:
        return False


def _item_holds(item: Any, index: int, live: list[Any]) -> bool:
    if not isinstance(item, dict):
        return len(live) > index and item == live[index]
    key = next((key for key in _MERGE_KEYS if key in item), None)
    if key is None:
        return len(live) > index and holds(item, live[index])
    return any(
        isinstance(other, dict) and other.get(key) == item[key] and holds(item, other) for other in live
    )


def differs(wanted: Object, live: Object | None) -> bool:
    """Whether `wanted` (stamped) has to be written, given what stands there."""
    if live is None:
        return True
    ignored = {"resourceVersion", "uid"}
    metadata = {key: value for key, value in wanted["metadata"].items() if key not in ignored}
    return not holds(wanted | {"metadata": metadata}, live)


async def apply_changed(client: Client, obj: Object, live: Object | None) -> bool:
    """Apply an object when it differs from what stands there; tells whether it was written."""
    wanted = stamped(obj)
    if not differs(wanted, live):
        return False
    await client.apply(wanted)
    return True


async def apply_status(client: Client, kind: str, metadata: Metadata, status: BaseModel) -> None:
    """Write the status of an object of ours. The caller has compared it with what stands there."""
    where = {"name": metadata.name}
    if metadata.namespace:
        where["namespace"] = metadata.namespace
    body = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": where,
        "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    await client.apply(body, "status")


def without_version(obj: Object) -> Object:
    """The object for a delete whose precondition is its UID alone: for objects whose status others churn."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    return obj | {"metadata": metadata}
