"""A few requests to the API server, with the standard library only: to start a cluster and look at it."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, cast

from lab.errors import LabError
from lab.keys import Pair


class ApiError(LabError):
    """The API server answered with an error, or not at all (`status` 0)."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"the API server answered {status}: {text[:500]}" if status else text)


class Api:
    """Requests as one user, one connection each."""

    def __init__(self, host: str, port: int, authority: Pair, user: Pair) -> None:
        """Create one.

        Args:
            host: name or address in the server's certificate.
            port: TCP port.
            authority: who must have signed the server's certificate.
            user: who asks.
        """
        self._host = host
        self._port = port
        self._authority = authority
        self._user = user
        self._context: ssl.SSLContext | None = None

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            context = ssl.create_default_context(cafile=str(self._authority.certificate))
            context.load_cert_chain(str(self._user.certificate), str(self._user.key))
            self._context = context
        return self._context

    def request(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> str:
        """Send one request and return the body of its answer.

        Args:
            method: HTTP method.
            path: path and query.
            body: what is sent as JSON; nothing when None.
            content: media type of the body.

        Raises:
            ApiError: any answer from 400 up, or none within 10 s.
        """
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=10, context=self._tls())
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, path, payload, {"Content-Type": content} if payload else {})
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as failed:
            raise ApiError(
                0, f"no answer from the API server at {self._host}:{self._port}: {failed}"
            ) from failed
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiError(answer.status, text)
        return text

    def get(self, path: str) -> dict[str, Any]:
        """Read one object or list."""
        return cast(dict[str, Any], json.loads(self.request("GET", path)))

    def find(self, path: str) -> dict[str, Any] | None:
        """Read one object; None when there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Server-side apply as field manager `edgewise-lab`."""
        media = "application/apply-patch+yaml"
        where = f"{path}?fieldManager=edgewise-lab&force=true"
        return cast(dict[str, Any], json.loads(self.request("PATCH", where, body, content=media)))

    def delete(self, path: str) -> None:
        """Delete one object; nothing happens when there is none."""
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    def is_ready(self) -> bool:
        """Whether the API server says so of itself."""
        try:
            return self.request("GET", "/readyz") == "ok"
        except ApiError:
            return False
