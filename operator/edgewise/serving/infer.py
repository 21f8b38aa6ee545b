"""The inference endpoint: admission first, then the body, then a worker.

The decision falls on the request's head, before a byte of its body is kept. A refusal waits a moment for the
rest of the body and drops it, because not every proxy sends a request elsewhere when it is refused before it
was all sent; callers that ask first (`Expect: 100-continue`) are answered before they send it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from edgewise.serving.errors import ModelError, RequestError
from edgewise.serving.model import Model
from edgewise.serving.orders import read_orders
from edgewise.serving.protocol import HEADER_LENGTH, Encoded, decode, encode
from edgewise.serving.service import Service

CLIENT_CLOSED = 499
"""Not in the standard; what proxies count for a caller who went away before the answer."""

RETRY_SECONDS = 1
"""In `Retry-After`, in whole seconds as the header wants; the limit moves about as fast."""

REFUSED_BODY_SECONDS = 0.1
"""How long a refusal waits for the rest of the body; after that the router should go elsewhere."""


class Gone(Exception):  # noqa: N818 - it is no error of anybody's
    """The caller hung up."""


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error in the protocol's form."""
    return JSONResponse({"error": message}, status_code=status, headers=headers)


@dataclass(frozen=True, slots=True)
class Infer:
    """ASGI endpoint of `POST /v2/models/{model}[/versions/{version}]/infer`."""

    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        problem = self._unservable(scope)
        model = self.service.model
        if problem is not None or model is None:
            await (problem or refusal(503, "the model is still being loaded"))(scope, receive, send)
            return
        self.service.gate.heed(read_orders(scope["headers"]))
        if self.service.gate.enter():
            await self._admitted(model, scope, receive, send)
        else:
            await self._refuse(scope, receive, send)

    def _unservable(self, scope: Scope) -> Response | None:
        """What can be said by the head alone: no such model, not ready, too large."""
        settings = self.service.settings
        missing = unknown_model(self.service, scope["path_params"])
        if missing is not None:
            return missing
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > settings.max_body_bytes:
            return refusal(413, _too_large(settings.max_body_bytes, length))
        return None

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self.service
        service.metrics.refused.inc()
        if "expect" not in Headers(scope=scope):
            try:
                async with asyncio.timeout(REFUSED_BODY_SECONDS):
                    while (await _next(receive)).get("more_body"):
                        pass
            except Gone:
                return
            except TimeoutError:
                pass
        message = f"full: {service.gate.in_flight} requests in flight, limit {service.gate.limit:.2f}"
        headers = {"Retry-After": str(RETRY_SECONDS), "x-edgewise-refused": message}
        # Envoy does not read the body of an answer that it retries; it closes the connection instead. With a
        # body each of 200 refusals cost a connection, without one none did (measured with 1.40).
        by_router = any(name.startswith(b"x-envoy-") for name, _ in scope["headers"])
        response = Response(status_code=429, headers=headers) if by_router else refusal(429, message, headers)
        await response(scope, receive, send)

    async def _admitted(self, model: Model, scope: Scope, receive: Receive, send: Send) -> None:
        gate, metrics = self.service.gate, self.service.metrics
        began = time.monotonic()
        metrics.started.inc()
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR
        arrived = False
        try:
            body = await self._body(receive)
            arrived = True
            response = await self._answer(model, Headers(scope=scope).get(HEADER_LENGTH), body, receive)
            status = response.status_code
            await response(scope, receive, send)
        except Gone:
            status = CLIENT_CLOSED
        except RequestError as error:
            status = error.status
            await refusal(status, str(error))(scope, receive, send)
        except ModelError as error:
            await refusal(status, str(error))(scope, receive, send)
        finally:
            seconds = time.monotonic() - began
            metrics.ended.labels(code=str(int(status))).inc()
            metrics.duration.observe(seconds)
            if arrived:
                gate.leave(seconds, failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR)
            else:
                gate.abandon()

    async def _body(self, receive: Receive) -> bytes:
        settings = self.service.settings
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(settings.body_seconds):
                while True:
                    message = await _next(receive)
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > settings.max_body_bytes:
                        raise RequestError(_too_large(settings.max_body_bytes, f"more than {size}"), 413)
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            raise RequestError(
                f"{size} bytes of the body arrived in {settings.body_seconds:g} s; wanted: all of them", 408
            ) from None

    async def _answer(self, model: Model, json_length: str | None, body: bytes, receive: Receive) -> Response:
        """Queue for a worker, and give the place up when the caller goes away before one is free."""
        settings = self.service.settings
        work = self.service.workers.submit(
            _work, model, json_length, body, settings.model_name, settings.model_version
        )
        waiting = asyncio.wrap_future(work)
        hung_up = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((waiting, hung_up), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and work.cancel():
                raise Gone
            # Work that has begun cannot be stopped; until it ends it is in flight, whoever waits for it.
            encoded = await waiting
            if hung_up.done():
                raise Gone
        finally:
            hung_up.cancel()
        headers = {} if encoded.json_length is None else {HEADER_LENGTH: str(encoded.json_length)}
        kind = "application/json" if encoded.json_length is None else "application/octet-stream"
        return Response(encoded.body, media_type=kind, headers=headers)


def unknown_model(service: Service, path: dict[str, Any]) -> Response | None:
    """The answer to a request for a model or version that is not here; None when it is."""
    settings = service.settings
    name, version = path["model"], path.get("version", settings.model_version)
    if name != settings.model_name:
        return refusal(404, f"model {name!r} is unknown; this server has {settings.model_name!r}")
    if version != settings.model_version:
        return refusal(
            404,
            f"version {version!r} of model {name!r} is unknown; this server has {settings.model_version!r}",
        )
    return None


def _work(model: Model, json_length: str | None, body: bytes, name: str, version: str) -> Encoded:
    """All that costs processor time, in one visit to a worker."""
    request = decode(body, json_length, model.inputs, model.outputs)
    return encode(name, version, request, model.run(request.inputs, request.outputs), model.outputs)


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message


def _too_large(limit: int, found: str) -> str:
    return f"the body has {found} bytes; this server takes {limit} (EDGEWISE_MAX_BODY_BYTES)"
