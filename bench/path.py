"""What the whole path costs, on real parts: ``python -m bench.path`` (as root; about three minutes).

Prints figures of one run: times from `kubectl apply`, the router's overhead as a difference and a ratio to
the same request sent straight to the pod, in turns, and what the processes hold in memory.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from lab import demo_model, product
from lab.cluster import Lab
from lab.demo import Demo
from lab.demo_world import EDGE
from lab.observe import ROOT
from lab.quickstart import MODEL, NAMESPACE, SERVICE
from lab.testing import spare_layout

ROUNDS = 200


def ask_in_turns(direct: str, routed: str, host: str) -> None:
    """Run inside a node's network: the same small request by both ways; seconds as JSON."""
    times: dict[str, list[float]] = {"direct": [], "routed": []}
    for _ in range(ROUNDS):
        for name, url in (("direct", direct), ("routed", routed)):
            request = urllib.request.Request(url, headers={"Host": host})  # noqa: S310
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                response.read()
            times[name].append(time.perf_counter() - began)
    json.dump({name: statistics.median(values) for name, values in times.items()}, sys.stdout)


def resident(module: str, lab: Lab) -> list[float]:
    """MB resident of processes that run a module in the nodes' containers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
            status = (entry.parent / "status").read_text()
            group = (entry.parent / "cgroup").read_text()
        except OSError:
            continue
        if module.encode() in words and lab.layout.prefix in group:
            found.append(int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6)
    return sorted(found)


def main() -> None:
    """Start a lab, measure, take it down."""
    lab = Lab(spare_layout(4))
    demo = Demo(lab)
    try:
        demo.start_cluster()
        demo.publish()
        demo.install()
        demo.serve()
        ready = time.monotonic() - demo.applied_at
        demo.ask()
        answered = time.monotonic() - demo.applied_at
        pod = demo.cluster.pods(NAMESPACE, EDGE)[0]["status"]["podIP"]
        router = demo.cluster.pods(product.NAMESPACE, "edgewise.dev/component=router")[0]["status"]["podIP"]
        path = f":8080/v2/models/{MODEL}"
        program = [sys.executable, str(ROOT / "bench/path.py"), "ask", f"http://{pod}{path}"]
        said = lab.node("edge-1").run([*program, f"http://{router}{path}", f"{SERVICE}.{NAMESPACE}"])
        medians = json.loads(said)
        extra = medians["routed"] - medians["direct"]
        print(f"kubectl apply to Ready            {ready:8.1f} s")
        print(f"kubectl apply to the first answer {answered:8.1f} s (images present)")
        print(f"router overhead, p50              {extra * 1000:8.2f} ms ({ROUNDS} requests each, in turns)")
        print(f"routed / direct, p50              {medians['routed'] / medians['direct']:8.2f}")
        for name in ("engine", "agent", "provenance", "serving"):
            sizes = ", ".join(f"{size:.1f}" for size in resident(f"edgewise.{name}", lab))
            print(f"resident, edgewise.{name:<15}{sizes:>8} MB")
        print(f"one picture: {len(demo_model.request()[0])} bytes")
    finally:
        lab.down()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        ask_in_turns(*sys.argv[2:])
    else:
        main()
