"""Two questions to the API server: an EdgeModel's status, and the verdict keys. Standard library only.

The client library for Kubernetes would cost the node more memory than the whole agent.
"""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edgewise.provenance.strictjson import JsonError, parse_object
from edgewise.provenance.transport import RegistryError, read_bounded

#: Seconds for connecting and for each read; the kubelet waits meanwhile.
TIMEOUT: Final = 3.0
#: After a failed connection, the API server counts as away for so long: a node that is cut off must not wait
#: TIMEOUT for every volume.
AWAY: Final = 10.0
_MAX_OBJECT: Final = 4 << 20
#: managedFields nest deeper than anything else in an object.
_MAX_DEPTH: Final = 64


class ApiUnavailableError(Exception):
    """The API server cannot be asked now; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What counts of an EdgeModel: its UID, the envelopes of its verdicts, and what the operator refuses.

    Attributes:
        refused: typed digests that the operator judged and did not verify; None when it judged the model as a
            whole and says no more than that.
        refusal: reason and message of condition Verified when that is False, else "".
    """

    uid: str
    envelopes: tuple[str, ...]
    refused: frozenset[str] | None
    refusal: str

    def refuses(self, digest: str) -> bool:
        """Whether the operator says no to this digest now. Silence (an earlier version's digest) is no no."""
        return bool(self.refusal) if self.refused is None else digest in self.refused


@dataclass(slots=True)
class ApiServer:
    """Asks with the agent's own service account.

    Attributes:
        url: `https://host:port`; "" when there is no API server to ask.
        credentials: folder with `token` and `ca.crt`, read anew each time because they rotate.
    """

    url: str
    credentials: Path
    clock: Callable[[], float] = time.monotonic
    _away_until: float = field(default=float("-inf"))

    def model(self, namespace: str, name: str) -> ModelStatus | None:
        """The status of an EdgeModel; None when there is no such object.

        Raises:
            ApiUnavailableError: no answer, or none that can be used.
        """
        path = f"/apis/edgewise.dev/v1alpha1/namespaces/{namespace}/edgemodels/{name}"
        document = self._object(path)
        return None if document is None else _model(document)

    def verdict_keys(self, namespace: str) -> bytes | None:
        """The document of verdict keys in the operator's ConfigMap; None when there is none.

        Raises:
            ApiUnavailableError: no answer, or none that can be used.
        """
        document = self._object(f"/api/v1/namespaces/{namespace}/configmaps/edgewise-verdict-keys")
        text = _object((document or {}).get("data")).get("keys.json")
        return text.encode() if isinstance(text, str) else None

    def _object(self, path: str) -> dict[str, object] | None:
        if not self.url:
            raise ApiUnavailableError("no API server is configured")
        if self.clock() < self._away_until:
            raise ApiUnavailableError("the API server did not answer a moment ago")
        try:
            status, body = self._get(path)
        except (OSError, http.client.HTTPException, RegistryError) as error:
            self._away_until = self.clock() + AWAY
            raise ApiUnavailableError(f"the API server does not answer: {str(error)[:100]}") from error
        if status == 404:
            return None
        if status != 200:
            raise ApiUnavailableError(f"the API server answers {status}")
        try:
            return parse_object(body, max_bytes=_MAX_OBJECT, max_depth=_MAX_DEPTH)
        except JsonError as error:
            raise ApiUnavailableError(f"the API server's answer cannot be read: {error}") from error

    def _get(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            raise ApiUnavailableError(f"{self.url}: the API server is spoken to by https only")
        trusted = ssl.create_default_context(cafile=str(self.credentials / "ca.crt"))
        connection = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=trusted)
        token = (self.credentials / "token").read_text(encoding="ascii").strip()
        try:
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
            connection.request("GET", path, headers=headers)
            with closing(connection.getresponse()) as response:
                return response.status, read_bounded(response, _MAX_OBJECT, path)
        finally:
            connection.close()


def _model(document: dict[str, object]) -> ModelStatus:
    """Read an EdgeModel leniently: other fields are none of our business, and nothing here is believed."""
    metadata, status = _object(document.get("metadata")), _object(document.get("status"))
    envelopes = [_object(item).get("envelope") for item in _items(status.get("verdicts"))]
    refusal = ""
    for condition in map(_object, _items(status.get("conditions"))):
        if condition.get("type") == "Verified" and condition.get("status") == "False":
            refusal = f"{condition.get('reason', '')}: {condition.get('message', '')}"[:500]
    refused: frozenset[str] | None = None
    if variants := [_object(item) for item in _items(status.get("variants"))]:
        refused = frozenset(str(v.get("digest")) for v in variants if v.get("verified") is not True)
    return ModelStatus(
        str(metadata.get("uid", "")),
        # The envelope is JSON in a string; an object is accepted too, as a person would write it.
        tuple(text if isinstance(text, str) else json.dumps(text) for text in envelopes if text),
        refused,
        refusal,
    )


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
