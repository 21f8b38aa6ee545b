"""Looking at a cluster, and waiting for what should become true in it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lab.cluster import Lab
from lab.errors import LabError
from lab.load import Step
from lab.node import Node

_T = TypeVar("_T")
ROOT = Path(__file__).resolve().parent.parent


def wait_for(what: str, look: Callable[[], _T | None], within: float = 60.0) -> _T:
    """What `look` finds, as soon as it finds something.

    Raises:
        LabError: nothing within so many seconds.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise LabError(f"{what}: not within {within:g} s")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Questions to a lab's API server."""

    lab: Lab

    def items(self, kind: str, namespace: str = "", labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind."""
        where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        chosen = ["--selector", labels] if labels else []
        items: list[dict[str, Any]] = json.loads(
            self.lab.kubectl("get", kind, *where, *chosen, "-o", "json")
        )["items"]
        return items

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        """One object."""
        where = ["--namespace", namespace] if namespace else []
        found: dict[str, Any] = json.loads(self.lab.kubectl("get", kind, name, *where, "-o", "json"))
        return found

    def condition(self, kind: str, name: str, namespace: str, type_: str) -> dict[str, Any]:
        """A condition of an object; empty when it has none of this type."""
        conditions = self.get(kind, name, namespace).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), {})

    def pods(self, namespace: str, labels: str, ready: bool = False) -> list[dict[str, Any]]:
        """Pods that are not going away; only those that are Ready, when asked."""
        found = [
            pod for pod in self.items("pods", namespace, labels) if "deletionTimestamp" not in pod["metadata"]
        ]
        return [pod for pod in found if is_ready(pod)] if ready else found

    def kill_containers(self, pods: list[dict[str, Any]]) -> None:
        """SIGKILL to the containers of pods, on their nodes, as a crash does."""
        for pod in pods:
            node = self.lab.node(pod["spec"]["nodeName"])
            for status in pod["status"]["containerStatuses"]:
                identifier = status["containerID"].removeprefix("containerd://")
                node.ctr("tasks", "kill", "--signal", "SIGKILL", identifier)


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Ready."""
    return any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", [])
    )


class RunningLoad:
    """A load generator in a node's network, and what it says second by second."""

    def __init__(
        self,
        node: Node,
        url: str,
        host: str,
        body: Path,
        headers: dict[str, str],
        steps: list[Step],
        target: float,
    ) -> None:
        first, *rest = steps
        argv = [
            *(sys.executable, "-m", "lab.load", "--url", url, "--host-header", host),
            *(f"--header={name}: {value}" for name, value in headers.items()),
            *("--rate", str(first.rate), "--seconds", str(first.seconds)),
            *(f"--then={step.rate}x{step.seconds}" for step in rest),
            *("--target-ms", str(target * 1000), "--body", str(body), "--json"),
        ]
        self._process = node.popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.total: dict[str, Any] = {}

    def seconds(self) -> Iterator[dict[str, Any]]:
        """A summary a second, then `total` is set."""
        with self._process as process:
            for line in process.stdout or ():
                summary = json.loads(line)
                if summary["kind"] == "total":
                    self.total = summary
                else:
                    yield summary
        if not self.total:
            raise LabError(f"the load generator ended with {self._process.returncode} and no total")

    def finish(self) -> dict[str, Any]:
        """Wait for the end; the total."""
        for _ in self.seconds():
            pass
        return self.total
