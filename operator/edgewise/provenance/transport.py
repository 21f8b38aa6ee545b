"""HTTP to registries, by the standard library: bounded, and trusting nothing that it is told.

https everywhere, except for hosts that the installer lists as plain http. Redirects go to https only (or stay
on the same plain-http host), a few at most, and carry no header of ours that could be a credential. A body is
read to its stated length and not a byte further.
"""

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import IO, Final
from urllib.parse import urljoin, urlsplit

MAX_REDIRECTS: Final = 3
#: Environment variable of operator and agent: `host:port` of plain-http registries, separated by commas.
PLAIN_HTTP_VARIABLE: Final = "EDGEWISE_PLAIN_HTTP_REGISTRIES"
#: A registry's error text is shown this far.
_ERROR_TEXT: Final = 160
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class RegistryError(Exception):
    """The registry cannot be reached, refuses, or breaks the protocol. Worth another try later.

    Attributes:
        status: the HTTP status, 0 when there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class LyingRegistryError(RegistryError):
    """The registry served something else than the digest or length that was asked for."""


def plain_http_hosts(setting: str) -> frozenset[str]:
    """Read the value of PLAIN_HTTP_VARIABLE."""
    return frozenset(part.strip().lower() for part in setting.split(",") if part.strip())


@cache
def _system_roots() -> ssl.SSLContext:
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Transport:
    """How to talk to registries.

    Attributes:
        plain_http: `host:port` that are spoken to without TLS.
        timeout: seconds without a byte, for connecting and for each read.
        tls: gives the context for https; the system's roots, made once and only when https is used, because
            they take megabytes.
    """

    plain_http: frozenset[str] = frozenset()
    timeout: float = 15.0
    tls: Callable[[], ssl.SSLContext] = _system_roots

    def url(self, authority: str, path: str) -> str:
        """The URL of a path at a registry."""
        scheme = "http" if authority in self.plain_http else "https"
        return f"{scheme}://{authority}{path}"

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        *,
        follow: bool = True,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give the response, whatever its status; redirects are followed when asked.

        Raises:
            RegistryError: no connection, no HTTP, a redirect that is not allowed, or too many of them.
        """
        for _ in range(MAX_REDIRECTS + 1):
            connection = self._connect(url)
            try:
                response = _send(connection, method, url, headers, body)
                target = response.headers.get("Location", "") if response.status in _REDIRECTS else ""
                # Closing the connection does not close a response that lasts until the server hangs up.
                with closing(response):
                    if not (follow and target):
                        yield response
                        return
            finally:
                connection.close()
            url = self._redirect(url, target)
        raise RegistryError(f"{urlsplit(url).netloc}: more than {MAX_REDIRECTS} redirects")

    def _connect(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self.tls())
        if parts.scheme == "http" and parts.netloc in self.plain_http:
            return http.client.HTTPConnection(host, port, timeout=self.timeout)
        raise RegistryError(
            f"{parts.netloc}: {parts.scheme or 'no scheme'} is not allowed; list it as plain http"
        )

    def _redirect(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        before, after = urlsplit(url), urlsplit(target)
        if after.username or after.password:
            raise RegistryError(f"{before.netloc}: redirects to an address with credentials")
        stays = before.scheme == after.scheme == "http" and before.netloc == after.netloc
        if after.scheme != "https" and not stays:
            raise RegistryError(
                f"{before.netloc}: redirects to {after.scheme}://{after.netloc}, which is not https"
            )
        return target


def read_bounded(response: http.client.HTTPResponse, limit: int, what: str) -> bytes:
    """The whole body, which has to be complete and at most `limit` bytes.

    Raises:
        RegistryError: longer, or cut short of its Content-Length.
    """
    declared = response.headers.get("Content-Length")
    if declared is not None and (not declared.isdecimal() or int(declared) > limit):
        raise RegistryError(
            f"{what}: {declared[:20]} bytes announced, at most {limit} are read", response.status
        )
    try:
        data = response.read(limit + 1)
    except (OSError, http.client.HTTPException) as error:
        raise RegistryError(f"{what}: {str(error)[:_ERROR_TEXT] or type(error).__name__}") from error
    if len(data) > limit:
        raise RegistryError(f"{what}: more than {limit} bytes", response.status)
    if declared is not None and len(data) != int(declared):
        raise RegistryError(f"{what}: cut off after {len(data)} of {declared} bytes", response.status)
    return data


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    body: bytes | IO[bytes] | None,
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, path, body=body, headers={"User-Agent": "edgewise", **(headers or {})})
        return connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        why = str(error)[:_ERROR_TEXT] or type(error).__name__
        raise RegistryError(f"{parts.netloc}: {why}") from error
