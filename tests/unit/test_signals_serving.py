"""What a server tells, read from a real server's registry."""

from __future__ import annotations

from pathlib import Path

from edgewise.serving.gate import Gate
from edgewise.serving.metrics import Metrics
from edgewise.signals.serving import ReplicaCount, replica_count
from tests.unit.serving_support import settings


def test_a_servers_own_metrics_are_read() -> None:
    settled = settings(Path("unused"))
    gate = Gate(settled)
    metrics = Metrics(settled, gate)
    target = settled.target.latency
    for seconds, code in ((target / 4, "200"), (target, "200"), (target * 1.5, "200"), (target * 9, "500")):
        metrics.duration.observe(seconds)
        metrics.ended.labels(code=code).inc()
    gate.in_flight = 3
    found = replica_count(metrics.text().decode(), target)
    assert found == ReplicaCount(in_flight=3, ended=4, late=2, limit=gate.limit)


def test_metrics_of_another_server_say_nothing() -> None:
    assert replica_count("nv_inference_request_success 7\n", 0.08) is None
    assert replica_count("", 0.08) is None
