"""What a site's router tells its servers with each request: headers that it sets itself, whoever sent them.

A router goes by files that the operator wrote, so this reaches every server without a connection between
the two, and stays in force while the operator is away.
"""

from __future__ import annotations

from collections.abc import Iterable

CEILING = b"x-edgewise-ceiling"
ALLOWED = b"x-edgewise-allowed"
Headers = Iterable[tuple[bytes, bytes]]


def read_orders(headers: Headers) -> tuple[float | None, float | None]:
    """Ceiling and allowed share out of a request's head; None for what is absent or makes no sense."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (CEILING, ALLOWED):
            found[name] = value
    ceiling = _number(found.get(CEILING))
    allowed = _number(found.get(ALLOWED))
    return ceiling, allowed if allowed is not None and allowed < 1 else None


def _number(value: bytes | None) -> float | None:
    """A plain decimal number above 0."""
    if value is None or len(value) > 16:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < 1e6 else None
