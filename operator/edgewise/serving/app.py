"""The server's routes: Open Inference Protocol v2 (REST) and /metrics."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgewise import __version__
from edgewise.serving.infer import Infer, refusal, unknown_model
from edgewise.serving.service import Service
from edgewise.serving.tensors import Tensor

EXTENSIONS = ["binary_tensor_data"]
PLATFORM = "onnx_onnxv1"
"""The protocol's name for a model in ONNX format."""

Handler = Callable[[Request], Awaitable[Response]]


def build(service: Service, on_failure: Callable[[], None]) -> ASGIApp:
    """The whole application around `service`; `on_failure` is called when the model cannot be loaded."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service.running(on_failure):
            yield

    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    infer = Infer(service)
    routes = [
        Route("/v2", _server),
        Route("/v2/", _server),
        Route("/v2/health/live", _live),
        Route("/v2/health/ready", _ready(service)),
        Route("/metrics", _metrics(service)),
    ]
    for path in (model, version):
        routes += [
            Route(path, _model(service)),
            Route(f"{path}/ready", _model_ready(service)),
            Route(f"{path}/infer", infer, methods=["POST"]),
        ]
    app = Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error, Exception: _bug}
    )
    # The protocol's paths are exact; a redirect would make callers send a large body twice.
    app.router.redirect_slashes = False
    return _Labelled(app, service)


class _Labelled:
    """Every answer says which side, site and revision gave it."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        settings = service.settings
        self._app = app
        self._headers = [
            (b"x-edgewise-side", settings.side.encode()),
            (b"x-edgewise-site", settings.site.encode()),
            (b"x-edgewise-revision", settings.revision.encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, labelled if scope["type"] == "http" else send)


async def _server(_: Request) -> Response:
    return JSONResponse({"name": "edgewise", "version": __version__, "extensions": EXTENSIONS})


async def _live(_: Request) -> Response:
    return JSONResponse({"live": True})


def _ready(service: Service) -> Handler:
    async def ready(_: Request) -> Response:
        return JSONResponse({"ready": service.ready}, status_code=200 if service.ready else 503)

    return ready


def _metrics(service: Service) -> Handler:
    async def metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return metrics


def _model_ready(service: Service) -> Handler:
    async def model_ready(request: Request) -> Response:
        missing = unknown_model(service, request.path_params)
        body = {"name": service.settings.model_name, "ready": service.ready}
        return missing or JSONResponse(body, status_code=200 if service.ready else 503)

    return model_ready


def _model(service: Service) -> Handler:
    async def model(request: Request) -> Response:
        missing = unknown_model(service, request.path_params)
        if missing is not None:
            return missing
        if service.model is None:
            return refusal(503, "the model is still being loaded")
        return JSONResponse(
            {
                "name": service.settings.model_name,
                "versions": [service.settings.model_version],
                "platform": PLATFORM,
                "inputs": [_described(tensor) for tensor in service.model.inputs.values()],
                "outputs": [_described(tensor) for tensor in service.model.outputs.values()],
            }
        )

    return model


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


async def _http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the protocol's form."""
    if not isinstance(error, HTTPException):
        return await _bug(request, error)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return refusal(error.status_code, message, dict(error.headers or {}))


async def _bug(request: Request, error: Exception) -> Response:
    """Anything unforeseen: the caller learns that it was not his fault, the log has the rest."""
    return refusal(500, f"{request.method} {request.url.path}: unexpected {type(error).__name__}")
