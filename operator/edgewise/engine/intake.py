"""Kopf as the event source: our kinds, nodes and namespaces flow into the tables.

Only ``on.event`` is used, with storages that keep nothing: no annotation and no finalizer of Kopf's on any
object, and no write of its own. Errors in such handlers would be lost, so the handlers only put an object
into a table.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import kopf

from edgewise.api.meta import GROUP, VERSION
from edgewise.cluster.resources import OURS, Object, key_of
from edgewise.cluster.world import World

_CORE: Final = ("Node", "Namespace")
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress: event handlers have none."""

    def fetch(self, *, key: Any, body: Any) -> None:
        """Nothing was kept."""

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Nothing is kept."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """There is nothing to purge."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """There is nothing to touch."""

    def clear(self, *, essence: Any) -> Any:
        """There is nothing to clear."""
        return essence


class _NoDiff(kopf.DiffBaseStorage):
    """Keeps no copy of objects: event handlers compare nothing."""

    def fetch(self, *, body: Any) -> None:
        """Nothing was kept."""

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Nothing is kept."""


def _service_account() -> kopf.ConnectionInfo | None:
    """The pod's own account, by the API server's address: Kopf's login wants DNS, which a site may lack."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not _ACCOUNT.is_dir():
        return None
    return kopf.ConnectionInfo(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca_path=str(_ACCOUNT / "ca.crt"),
        scheme="Bearer",
        token=(_ACCOUNT / "token").read_text(encoding="utf-8").strip(),
        default_namespace=(_ACCOUNT / "namespace").read_text(encoding="utf-8").strip(),
    )


def registry(world: World) -> kopf.OperatorRegistry:
    """Handlers that feed the tables of a world."""
    found = kopf.OperatorRegistry()
    tables = world.own()

    async def login(**kwargs: Any) -> Any:
        return _service_account() or kopf.login_with_kubeconfig(**kwargs)

    kopf.on.login(registry=found)(login)

    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.peering.standalone = True
        settings.networking.request_timeout = 30
        settings.watching.server_timeout = 420
        settings.watching.client_timeout = 450
        settings.persistence.progress_storage = _NoProgress()
        settings.persistence.diffbase_storage = _NoDiff()
        settings.queueing.worker_limit = 100
        settings.queueing.idle_timeout = 0.05

    kopf.on.startup(registry=found)(configure)

    def feed(kind: str) -> Any:
        table = tables[kind]

        async def handle(event: Any, **_: Any) -> None:
            obj: Object = dict(event["object"])
            obj.setdefault("kind", kind)
            if event["type"] == "DELETED":
                table.discard(key_of(obj))
            else:
                table.upsert(obj)

        return handle

    for kind, resource in OURS.items():
        kopf.on.event(GROUP, VERSION, resource.plural, registry=found, id=f"watch-{kind}")(feed(kind))
    for kind in _CORE:
        kopf.on.event("v1", kind.lower() + "s", registry=found, id=f"watch-{kind}")(feed(kind))
    return found
