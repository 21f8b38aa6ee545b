"""What was decided about a service's requests at a site, as its router carries it out and tells the servers.

The servers' side of the headers is `edgewise.serving.orders`, which stands alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from edgewise.traffic.policy import Way

#: Headers for the servers, by the order that they carry.
_HEADERS: Final = {
    "ceiling": "x-edgewise-ceiling",
    "allowed": "x-edgewise-allowed",
    "cloud_limit": "x-edgewise-cloud-limit",
}


@dataclass(frozen=True, slots=True)
class Orders:
    """What was decided about a service's requests at a site.

    Attributes:
        way: what may go to the cloud.
        in_flight: requests that the site may have there at a time; None for any number.
        ceiling: largest K of an edge server; None for what it was started with.
        allowed: share over the target that its law may use at present; None likewise.
        cloud_limit: requests that a cloud server admits at a time; None likewise.
        without: names of edge pods that get none.
    """

    way: Way = Way.OPEN
    in_flight: int | None = None
    ceiling: float | None = None
    allowed: float | None = None
    cloud_limit: float | None = None
    without: frozenset[str] = frozenset()


#: Nothing was decided yet, so nothing is held back.
NO_ORDERS: Final = Orders()


def told(orders: Orders) -> dict[str, Any]:
    """Headers for the servers; what callers write into them is taken out."""
    told = {header: getattr(orders, name) for name, header in _HEADERS.items()}
    return {
        "request_headers_to_remove": [name for name, value in told.items() if value is None],
        "request_headers_to_add": [
            {
                "header": {"key": name, "value": f"{value:.6g}"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for name, value in told.items()
            if value is not None
        ],
    }


def standing_orders(routes: str) -> dict[str, Orders]:
    """What a written rds.json tells the servers, by service key (``namespace/name``).

    Raises:
        KeyError, IndexError, TypeError, ValueError: it is no rds.json of ours.
    """
    found = {}
    for host in json.loads(routes)["resources"][0]["virtual_hosts"]:
        service, _, namespace = host["name"].partition(".")
        told = {entry["header"]["key"]: entry["header"]["value"] for entry in host["request_headers_to_add"]}
        numbers = {name: float(told[header]) for name, header in _HEADERS.items() if header in told}
        found[f"{namespace}/{service}"] = Orders(
            ceiling=numbers.get("ceiling"),
            allowed=numbers.get("allowed"),
            cloud_limit=numbers.get("cloud_limit"),
        )
    return found
