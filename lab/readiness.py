"""Whether a node is Ready, and whether it is so since its last start."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.api import Api, ApiError
from lab.errors import NotReadyError
from lab.process import tail


def sign_of_life(api: Api, name: str) -> str | None:
    """When the node's kubelet last said how it is; None when there is no such node.

    What it says after a reboot is newer: that tells a node that is Ready again from one that was Ready
    before.
    """
    node = api.find(f"/api/v1/nodes/{name}")
    return _heartbeat(node) if node is not None else None


def wait(api: Api, name: str, log: Path, since: str | None, within: float) -> None:
    """Wait until the node says that it is Ready.

    Args:
        api: requests as the administrator.
        name: the node.
        log: its kubelet's, for the error's text.
        since: an earlier `sign_of_life`; only a newer one counts. None takes any.
        within: seconds.

    Raises:
        NotReadyError: it is not Ready in time.
    """
    deadline, said = time.monotonic() + within, "the node never registered"
    while time.monotonic() < deadline:
        try:
            node = api.find(f"/api/v1/nodes/{name}") or {}
        except ApiError as error:
            node, said = {}, str(error)
        condition = _ready_condition(node)
        if condition is not None:
            said = condition["message"]
            if condition["status"] == "True" and (since is None or _heartbeat(node) != since):
                return
        time.sleep(0.1)
    raise NotReadyError(f"{name} is not Ready after {within:g} s: {said}\nthe end of {log}:\n{tail(log)}")


def _ready_condition(node: Mapping[str, Any]) -> dict[str, Any] | None:
    conditions = node.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == "Ready"), None)


def _heartbeat(node: Mapping[str, Any]) -> str:
    condition = _ready_condition(node)
    return str(condition["lastHeartbeatTime"]) if condition is not None else ""
