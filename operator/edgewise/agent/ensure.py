"""`ensure`: one job a digest, however many pods ask, and it outlives the calls that ask.

A job checks what is sealed (once a boot), or fetches. A call waits for it a while and then reports progress;
the kubelet's next call finds the same job further on. A failed job is remembered for a while, longer each
time, so that a broken source is not asked by every pod again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from edgewise.agent.download import Download, Progress
from edgewise.agent.errors import AgentError, Code
from edgewise.agent.metrics import Metrics
from edgewise.agent.store import Store, StoreError
from edgewise.provenance.oci import Registry
from edgewise.provenance.verdict import Verdict

#: Seconds until a failed job may start again: doubled each time, up to the second value.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 120.0
#: Trees fetched at the same time; each writes to the one disk.
PARALLEL: Final = 2


@dataclass(slots=True)
class Job:
    """A check or download under way, or failed and waiting for its pause to end."""

    progress: Progress
    done: threading.Event = field(default_factory=threading.Event)
    error: AgentError | None = None
    failures: int = 0
    retry_at: float = 0.0


@dataclass(slots=True)
class Ensurer:
    """Runs the jobs.

    Attributes:
        in_use: gives the trees that pods have.
        clock: monotonic seconds.
    """

    store: Store
    registry: Registry
    metrics: Metrics
    in_use: Callable[[], frozenset[str]]
    clock: Callable[[], float] = time.monotonic
    stop: threading.Event = field(default_factory=threading.Event)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(PARALLEL))

    def ensure(self, verdict: Verdict, wait: float) -> None:
        """Return once the verdict's tree is sealed and was hashed in this boot.

        Args:
            verdict: a checked verdict; files and sources come from it alone.
            wait: seconds to wait for a job.

        Raises:
            AgentError: UNAVAILABLE with progress while the job runs; else the job's own failure.
        """
        tree = verdict.digest.hex
        if self.store.is_trusted(tree):
            return
        job = self._job(verdict)
        if not job.done.wait(wait):
            raise AgentError(Code.UNAVAILABLE, "Downloading", f"{verdict.digest} {job.progress}")
        if job.error is not None:
            raise job.error

    def active(self) -> int:
        """Jobs under way."""
        with self._lock:
            return sum(not job.done.is_set() for job in self._jobs.values())

    def _job(self, verdict: Verdict) -> Job:
        tree = verdict.digest.hex
        with self._lock:
            job = self._jobs.get(tree)
            if job is not None and not self._may_start_anew(job):
                return job
            failures = 0 if job is None else job.failures
            size = sum({file.sha256: file.size for file in verdict.files}.values())
            fresh = Job(Progress(size), failures=failures)
            self._jobs[tree] = fresh
            name = f"ensure-{tree[:8]}"
            threading.Thread(target=self._run, args=(fresh, verdict), name=name, daemon=True).start()
            return fresh

    def _may_start_anew(self, job: Job) -> bool:
        return job.done.is_set() and (job.error is None or self.clock() >= job.retry_at)

    def _run(self, job: Job, verdict: Verdict) -> None:
        try:
            with self._slots, self.store.pinned(verdict.digest.hex):
                self._make_trusted(job, verdict)
            job.failures = 0
        except AgentError as error:
            job.error = error
        except Exception as error:  # ours; the pod's event has to say so instead of waiting for ever
            job.error = AgentError(Code.INTERNAL, "StoreFailed", f"{type(error).__name__}: {error}")
        if job.error is not None:
            job.retry_at = self.clock() + min(FIRST_PAUSE * 2**job.failures, LONGEST_PAUSE)
            job.failures = min(job.failures + 1, 30)
        self.metrics.job_ended("" if job.error is None else job.error.reason)
        job.done.set()

    def _make_trusted(self, job: Job, verdict: Verdict) -> None:
        tree = verdict.digest.hex
        if self.store.is_sealed(tree):
            job.progress.doing = "hashing what is stored"
            try:
                self.store.check(tree, verdict.files)
            except (StoreError, OSError) as error:
                self.metrics.corrupt()
                self.store.set_aside(tree)
                job.progress.doing = f"stored copy refused ({error}), fetching again"
            else:
                self.store.trust(tree, job.progress.wanted)
                return
        self._download(job, verdict)

    def _download(self, job: Job, verdict: Verdict) -> None:
        Download(
            self.store,
            self.registry,
            verdict.digest.hex,
            verdict.files,
            verdict.sources,
            job.progress,
            self.in_use,
            self.stop,
        ).run()
        self.metrics.received(job.progress.wanted)
