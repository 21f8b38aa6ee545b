"""What the agent counts, and the page that shows it together with its health."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

#: Publishing what is there takes milliseconds, a download up to the time a call may wait.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 20, 60)


@dataclass(slots=True)
class Metrics:
    """The agent's metrics in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    publishes: Counter = field(init=False)
    publish_seconds: Histogram = field(init=False)
    jobs: Counter = field(init=False)
    bytes_received: Counter = field(init=False)
    corrupt_trees: Counter = field(init=False)
    registered: Gauge = field(init=False)

    def __post_init__(self) -> None:
        r = self.registry
        self.publishes = Counter(
            "edgewise_agent_publishes", "Volumes asked for, by outcome.", ["outcome"], registry=r
        )
        self.publish_seconds = Histogram(
            "edgewise_agent_publish_duration_seconds",
            "Duration of a publish call.",
            buckets=_SECONDS,
            registry=r,
        )
        self.jobs = Counter(
            "edgewise_agent_jobs", "Downloads and checks ended, by outcome.", ["outcome"], registry=r
        )
        self.bytes_received = Counter(
            "edgewise_agent_received_bytes", "Bytes of models received.", registry=r
        )
        self.corrupt_trees = Counter(
            "edgewise_agent_corrupt_trees", "Stored models that failed a check.", registry=r
        )
        self.registered = Gauge(
            "edgewise_agent_registered", "1 once the kubelet knows the driver.", registry=r
        )

    def job_ended(self, reason: str) -> None:
        """Count a job; `reason` is empty when it went well."""
        self.jobs.labels(reason or "ok").inc()

    def received(self, size: int) -> None:
        """Count bytes of a sealed tree."""
        self.bytes_received.inc(size)

    def corrupt(self) -> None:
        """Count a tree that failed its check."""
        self.corrupt_trees.inc()

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when somebody looks."""
        Gauge(name, text, registry=self.registry).set_function(value)


def serve(metrics: Metrics, healthy: Callable[[], bool], port: int) -> ThreadingHTTPServer:
    """Serve /metrics and /healthz in a thread; `shutdown()` and `server_close()` end it."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._reply(200, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz":
                good = healthy()
                self._reply(200 if good else 503, b"ok\n" if good else b"not serving\n", "text/plain")
            else:
                self._reply(404, b"", "text/plain")

        def log_message(self, format: str, *args: Any) -> None:
            return

        def _reply(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
