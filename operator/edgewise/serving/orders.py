"""What a site's router tells its servers with each request: headers that it sets itself, whoever sent them.

A router goes by files that the operator wrote, so this reaches every server without a connection between
the two, and stays in force while the operator is away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_NAMES = (b"x-edgewise-ceiling", b"x-edgewise-allowed", b"x-edgewise-cloud-limit")


@dataclass(frozen=True, slots=True)
class Orders:
    """What was told; None for what is absent or makes no sense.

    Attributes:
        ceiling: largest K of an edge server.
        allowed: share of answers that may be over the target at present.
        cloud_limit: requests that a cloud server admits at a time.
    """

    ceiling: float | None = None
    allowed: float | None = None
    cloud_limit: float | None = None


def read_orders(headers: Iterable[tuple[bytes, bytes]]) -> Orders:
    """Orders out of a request's head."""
    found = {name: value for name, value in headers if name in _NAMES}
    ceiling, allowed, cloud_limit = (_number(found.get(name)) for name in _NAMES)
    return Orders(ceiling, allowed if allowed is not None and allowed < 1 else None, cloud_limit)


def _number(value: bytes | None) -> float | None:
    """A plain decimal number above 0."""
    if value is None or len(value) > 16:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < 1e6 else None
