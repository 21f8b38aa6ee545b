"""What the server tells Prometheus. Names and meanings are part of its interface (docs/serving.md)."""

from __future__ import annotations

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from edgewise.serving.gate import Gate
from edgewise.serving.settings import Settings

BUCKETS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
"""Upper bounds in latency targets. The one at 1 makes the share over target exact, not interpolated."""


class Metrics:
    """Counters, gauges and the histogram of one server, in a registry of their own."""

    def __init__(self, settings: Settings, gate: Gate) -> None:
        """Register everything, so that it is there with 0 before the first request."""
        # A second sample with the time of creation for each counter would double what is scraped.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.started = Counter(
            "edgewise_requests_started", "Requests that were admitted.", registry=self.registry
        )
        self.ended = Counter(
            "edgewise_requests_ended",
            "Admitted requests that are over, by HTTP status; 499: the caller went away.",
            ["code"],
            registry=self.registry,
        )
        self.refused = Counter(
            "edgewise_requests_refused",
            "Requests that were answered 429 without being admitted.",
            registry=self.registry,
        )
        self.duration = Histogram(
            "edgewise_request_duration_seconds",
            "From admission to the answer, of admitted requests.",
            buckets=[float(f"{settings.target.latency * bound:.6g}") for bound in BUCKETS],
            registry=self.registry,
        )
        in_flight = Gauge(
            "edgewise_in_flight", "Requests admitted and not yet answered.", registry=self.registry
        )
        in_flight.set_function(lambda: gate.in_flight)
        limit = Gauge(
            "edgewise_admission_limit", "K: most requests that may be in flight.", registry=self.registry
        )
        limit.set_function(lambda: gate.limit)
        target = Gauge("edgewise_latency_target_seconds", "The latency target.", registry=self.registry)
        target.set(settings.target.latency)
        self.ended.labels(code="200")

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return prometheus_client.generate_latest(self.registry)
