"""Status, and the Events that go with it: one a transition of a condition, the same ones added up."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from edgewise.api.conditions import Condition
from edgewise.api.meta import API_VERSION, Metadata
from edgewise.cluster.apply import apply_status
from edgewise.cluster.client import Client
from edgewise.cluster.errors import ApiError
from edgewise.cluster.resources import Object

_LOG = logging.getLogger(__name__)
COMPONENT: Final = "edgewise-operator"
#: Where Events about cluster-scoped objects live; Kubernetes' own components do the same.
_CLUSTER_SCOPED: Final = "default"
#: Events whose count is remembered. One that was forgotten starts again at 1.
_REMEMBERED: Final = 4096
#: Longest message that the API server takes for an Event.
_LONGEST: Final = 1024


@dataclass(frozen=True, slots=True)
class _Seen:
    first: str
    count: int


def transitions(before: Sequence[Condition], after: Sequence[Condition]) -> list[Condition]:
    """Conditions that say something else than before; numbers in their messages do not count."""
    known = {condition.type: (condition.status, condition.reason) for condition in before}
    return [
        condition for condition in after if known.get(condition.type) != (condition.status, condition.reason)
    ]


class Recorder:
    """Writes a status that changed, and tells what changed in it."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def report(self, kind: str, metadata: Metadata, before: BaseModel, after: BaseModel) -> None:
        """Write the status; then an Event for each condition that changed. The caller has compared them."""
        await apply_status(self._client, kind, metadata, after)
        old: list[Condition] = getattr(before, "conditions", [])
        for condition in transitions(old, getattr(after, "conditions", [])):
            try:
                await self._client.apply(self._event(kind, metadata, condition))
            except ApiError as error:
                # An Event is for people; a namespace that is being deleted takes none.
                _LOG.debug("no Event for %s %s: %s", kind, metadata.name, error)

    def _event(self, kind: str, metadata: Metadata, condition: Condition) -> Object:
        identity = "/".join((metadata.uid, condition.type, condition.status, condition.reason))
        name = f"{metadata.name}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        now = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        seen = self._seen.pop(name, None)
        seen = _Seen(seen.first, seen.count + 1) if seen is not None else _Seen(now, 1)
        self._seen[name] = seen
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        involved = {"apiVersion": API_VERSION, "kind": kind, "name": metadata.name, "uid": metadata.uid}
        if metadata.namespace:
            involved["namespace"] = metadata.namespace
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata.namespace or _CLUSTER_SCOPED},
            "involvedObject": involved,
            "type": "Warning" if condition.status == "False" else "Normal",
            "reason": condition.reason,
            "action": condition.type,
            "message": f"{condition.type}: {condition.message or condition.status}"[:_LONGEST],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": seen.first,
            "lastTimestamp": now,
            "count": seen.count,
        }
