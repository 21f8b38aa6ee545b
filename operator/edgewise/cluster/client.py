"""A small asyncio client for the API server: plain objects in, plain objects out.

The connection, its TLS and its credentials come from ``kubernetes.aio``; its generated models are left
aside, since server-side apply wants exactly the fields that we own and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from prometheus_client import Counter

from edgewise.api.meta import FIELD_MANAGER
from edgewise.cluster.bucket import TokenBucket
from edgewise.cluster.errors import ApiError, NotFoundError, NotLeaderError, from_status
from edgewise.cluster.resources import LEASE, Object, Resource, resource_of

PAGE: Final = 500
#: A watch that hears nothing for this long is made anew, in seconds.
WATCH_TIMEOUT: Final = 420
_RETRIES: Final = 4
_REQUESTS: Final = Counter(
    "rest_client_requests_total", "Requests to the API server.", ["code", "method", "resource"]
)
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Client:
    """Requests to one API server, rate-limited, and fenced by a lease when one is set."""

    def __init__(self, configuration: Configuration, rate: float = 100.0, burst: int = 200) -> None:
        self._api = ApiClient(configuration)
        self._host = str(configuration.host).rstrip("/")
        self._configuration = configuration
        self._bucket = TokenBucket(rate, burst, time.monotonic)
        #: Looked at after the token bucket, just before a write leaves: may this replica write?
        self.may_write: Callable[[], bool] = lambda: True

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """An object, or None when it is not there."""
        try:
            return await self._request("GET", resource, resource.path(namespace, name))
        except NotFoundError:
            return None

    async def list(
        self, resource: Resource, namespace: str = "", labels: str = "", metadata_only: bool = False
    ) -> tuple[list[Object], str]:
        """All objects of a kind, in pages, and the resourceVersion to watch from."""
        items: list[Object] = []
        query: dict[str, str] = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = labels
        headers = {"Accept": _METADATA_ONLY} if metadata_only else {}
        while True:
            page = await self._request("GET", resource, resource.path(namespace), query, headers=headers)
            for item in page.get("items") or []:
                item.setdefault("apiVersion", resource.api_version)
                item["kind"] = resource.kind
                items.append(item)
            metadata = page.get("metadata", {})
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]

    async def watch(
        self, resource: Resource, resource_version: str, namespace: str = "", labels: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """Events of a kind from `resource_version` on, until the server ends the watch.

        Raises:
            GoneError: `resource_version` is too old; list again.
            ApiError: anything else that ends the watch with an error.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_TIMEOUT),
        }
        if labels:
            query["labelSelector"] = labels
        timeout = aiohttp.ClientTimeout(total=None, sock_read=WATCH_TIMEOUT + 30, sock_connect=15)
        response = await self._send("GET", resource, resource.path(namespace), query, None, {}, timeout)
        try:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise from_status(int(event["object"].get("code", 500)), event["object"])
                event["object"].setdefault("kind", resource.kind)
                yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, "WatchBroken", str(error) or type(error).__name__) from error
        finally:
            response.close()

    async def apply(self, obj: Object, subresource: str = "") -> Object:
        """Server-side apply of the fields in `obj`, and of nothing else.

        A `resourceVersion` in its metadata is a precondition.

        Raises:
            ConflictError: the precondition does not hold any more.
        """
        resource, metadata = resource_of(obj), obj["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return await self._request("PATCH", resource, path, query, obj, headers)

    async def create(self, obj: Object) -> Object:
        """Create an object.

        Raises:
            ConflictError: it exists already.
        """
        resource = resource_of(obj)
        path = resource.path(obj["metadata"].get("namespace", ""))
        return await self._request("POST", resource, path, {"fieldManager": FIELD_MANAGER}, obj)

    async def replace(self, obj: Object) -> Object:
        """Replace an object; its resourceVersion is the precondition.

        Raises:
            ConflictError: somebody else changed it.
        """
        resource, metadata = resource_of(obj), obj["metadata"]
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        return await self._request("PUT", resource, path, {"fieldManager": FIELD_MANAGER}, obj)

    async def delete(self, obj: Object) -> None:
        """Delete just this object: its UID, and its resourceVersion when it has one, are preconditions.

        An object that is gone already is as good as deleted.

        Raises:
            ConflictError: another object of that name stands there, or it changed since it was read.
        """
        resource, metadata = resource_of(obj), obj["metadata"]
        conditions = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": conditions,
            "propagationPolicy": "Background",
        }
        path = resource.path(metadata.get("namespace", ""), metadata["name"])
        try:
            await self._request("DELETE", resource, path, body=body)
        except NotFoundError:
            return

    async def _request(
        self,
        method: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        response = await self._send(
            method, resource, path, query or {}, body, headers or {}, aiohttp.ClientTimeout(total=30)
        )
        try:
            parsed: Object = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            raise ApiError(0, "AnswerBroken", f"{method} {path}: {error}") from error
        return parsed

    async def _send(
        self,
        method: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - it belongs to the connection
    ) -> aiohttp.ClientResponse:
        """One request, again after as long as the server asks for when it is busy (429)."""
        url = f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")
        for attempt in range(_RETRIES + 1):
            await self._bucket.take()
            if method != "GET" and resource is not LEASE and not self.may_write():
                raise NotLeaderError
            response = await self._once(method, url, body, headers, timeout)
            _REQUESTS.labels(str(response.status), method, resource.plural).inc()
            if response.status < 300:
                return response
            try:
                parsed: Any = await response.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
                parsed = None
            finally:
                response.release()
            if response.status != 429 or attempt == _RETRIES:
                raise from_status(response.status, parsed)
            await asyncio.sleep(min(30.0, float(response.headers.get("Retry-After", "1"))))
        raise AssertionError("the loop returns or raises")

    async def _once(
        self,
        method: str,
        url: str,
        body: Object | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> aiohttp.ClientResponse:
        sent = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        token = await self._configuration.get_api_key_with_prefix("BearerToken", "authorization")
        if token:
            sent["Authorization"] = token
        try:
            response = await self._api.rest_client.request(
                method, url, headers=sent, body=body, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{method} {url}: {error or type(error).__name__}") from error
        answer: aiohttp.ClientResponse = response.response
        return answer
