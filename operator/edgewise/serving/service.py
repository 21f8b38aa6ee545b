"""The life of one server: the model it loads, the workers, the gate, and whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from edgewise.serving.errors import ModelError
from edgewise.serving.gate import Gate
from edgewise.serving.metrics import Metrics
from edgewise.serving.model import Model, load, warm_up
from edgewise.serving.settings import Settings

log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
"""How often law S looks at the counts; it is made for 1 to 15 s."""


@dataclass(slots=True)
class Service:
    """State of one server; everything in it belongs to the event loop's thread.

    Attributes:
        settings: what it was told.
        gate: who may enter.
        metrics: what it tells.
        workers: the threads that infer.
        model: None until it is loaded and warm.
        failure: why it never will be; None while there is hope.
        draining: it answers, but wants no new callers.
    """

    settings: Settings
    gate: Gate = field(init=False)
    metrics: Metrics = field(init=False)
    workers: ThreadPoolExecutor = field(init=False)
    model: Model | None = None
    failure: ModelError | None = None
    draining: bool = False

    def __post_init__(self) -> None:
        """Set up all but the model."""
        self.gate = Gate(self.settings)
        self.metrics = Metrics(self.settings, self.gate)
        self.workers = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="infer")

    @property
    def ready(self) -> bool:
        """Whether routers should send requests here."""
        return self.model is not None and not self.draining

    @contextlib.asynccontextmanager
    async def running(self, on_failure: Callable[[], None]) -> AsyncIterator[None]:
        """Load the model in the background (health can be asked meanwhile) and keep law S going.

        Args:
            on_failure: called when the model cannot be loaded; `failure` says why.
        """
        tasks = [asyncio.create_task(self._load(on_failure)), asyncio.create_task(self._learn())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.workers.shutdown(wait=True, cancel_futures=True)

    async def _load(self, on_failure: Callable[[], None]) -> None:
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            model = await loop.run_in_executor(self.workers, self._loaded)
        except ModelError as error:
            self.failure = error
            log.error("%s", error)
            on_failure()
            return
        self.model = model
        log.info("ready: %s loaded and warm after %.2f s", model.file, time.monotonic() - began)

    def _loaded(self) -> Model:
        model = load(self.settings.model_path, self.settings.threads)
        warm_up(model)
        return model

    async def _learn(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            now = time.monotonic()
            self.gate.tick(now - last)
            last = now
