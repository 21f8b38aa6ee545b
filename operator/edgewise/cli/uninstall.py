"""``python -m edgewise.cli.uninstall``: may edgewise be uninstalled? Run by the chart before it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

from edgewise.api.meta import CSI_DRIVER
from edgewise.cluster.connect import connect
from edgewise.cluster.resources import POD, Object, key_of


def users(pods: Iterable[Object]) -> list[str]:
    """Keys of pods that have a model mounted, or are about to."""
    found = []
    for pod in pods:
        if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            continue
        volumes = pod.get("spec", {}).get("volumes") or []
        if any((volume.get("csi") or {}).get("driver") == CSI_DRIVER for volume in volumes):
            found.append(key_of(pod))
    return sorted(found)


async def check() -> int:
    """0 when no pod uses a model volume, else 1, with the pods' names on the screen."""
    client = await connect()
    try:
        pods, _ = await client.list(POD)
    finally:
        await client.close()
    names = users(pods)
    if not names:
        return 0
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    sys.stdout.write(
        f"edgewise cannot be uninstalled: {len(names)} pods use models that only its agent can unmount: "
        f"{shown}. Delete their InferenceServices (kubectl delete einf -A --all) or the pods, and run helm "
        "uninstall again. Nothing was removed.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(check()))
