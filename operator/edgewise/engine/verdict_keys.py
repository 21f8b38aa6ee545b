"""The operator's verdict key: made once, kept in a Secret; its public side goes to the nodes."""

from __future__ import annotations

import base64
import logging
from datetime import datetime
from typing import Any, Final

from edgewise.api.meta import FIELD_MANAGER
from edgewise.cluster.client import Client
from edgewise.cluster.errors import ConflictError
from edgewise.cluster.resources import CONFIG_MAP, SECRET
from edgewise.provenance.keys import first_document, new_private_key, read_document, rotate, write_document
from edgewise.provenance.strictjson import JsonError
from edgewise.reconcilers.model import Signer

_LOG = logging.getLogger(__name__)
SECRET_NAME: Final = "edgewise-verdict-key"  # noqa: S105 - a name
CONFIG_MAP_NAME: Final = "edgewise-verdict-keys"
_DOCUMENT: Final = "keys.json"
_PRIVATE: Final = "key.pem"


async def ensure_signer(
    client: Client, namespace: str, cluster: str, owner: tuple[dict[str, Any], ...], now: datetime
) -> Signer:
    """The verdict key of this cluster; a new one when there is none, with the old ones still accepted."""
    private_pem = await _private_key(client, namespace, owner)
    live = await client.get(CONFIG_MAP, namespace, CONFIG_MAP_NAME)
    text = (live or {}).get("data", {}).get(_DOCUMENT, "")
    document = first_document(private_pem, cluster, now)
    if text:
        try:
            known = read_document(text.encode())
            document = rotate(known, private_pem, now) if known.cluster == cluster else document
        except JsonError as error:
            _LOG.error("%s is unreadable (%s): written anew", CONFIG_MAP_NAME, error)
    wanted = write_document(document)
    if wanted != text:
        await client.apply(
            _object("v1", "ConfigMap", CONFIG_MAP_NAME, namespace, owner) | {"data": {_DOCUMENT: wanted}}
        )
    return Signer(private_pem, document)


async def _private_key(client: Client, namespace: str, owner: tuple[dict[str, Any], ...]) -> bytes:
    live = await client.get(SECRET, namespace, SECRET_NAME)
    if live is None:
        encoded = base64.b64encode(new_private_key()).decode()
        secret = _object("v1", "Secret", SECRET_NAME, namespace, owner)
        try:
            live = await client.create(secret | {"type": "Opaque", "data": {_PRIVATE: encoded}})
        except ConflictError:
            # Another replica made it first.
            live = await client.get(SECRET, namespace, SECRET_NAME) or {}
    return base64.b64decode(live["data"][_PRIVATE])


def _object(
    api_version: str, kind: str, name: str, namespace: str, owner: tuple[dict[str, Any], ...]
) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": FIELD_MANAGER},
            "ownerReferences": list(owner),
        },
    }
