"""Lines that tell what is being done, how long it took, and how long it took the last time."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lab.files import write_whole


def duration_text(seconds: float) -> str:
    """Seconds as a person says them: `0.4 s`, `12 s`, `4 min 05 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02d} s"


class Progress:
    """Prints one line when a step begins and one when it ends, and remembers how long each took.

    Steps of several threads may overlap: every line stands for itself.
    """

    def __init__(
        self,
        memory: Path | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create one.

        Args:
            memory: a JSON file of step -> seconds; nothing is remembered when None.
            stream: where the lines go; standard error, as it is at that time, when None.
            clock: seconds that only grow.
        """
        self._memory = memory
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print one line."""
        stream = self._stream or sys.stderr
        with self._lock:
            stream.write(f"{text}\n")
            stream.flush()

    @contextmanager
    def step(self, text: str, key: str | None = None) -> Iterator[None]:
        """Tell that `text` begins, and how it ended.

        Args:
            text: what is being done, as a phrase: `start the API server`.
            key: under what the duration is remembered; a step without one is not remembered.
        """
        last = self._recall(key)
        self.say(f"  .. {text}" + (f" (last time {duration_text(last)})" if last is not None else ""))
        begun = self._clock()
        try:
            yield
        except BaseException:
            self.say(f"  !! {text}: failed after {duration_text(self._clock() - begun)}")
            raise
        took = self._clock() - begun
        self._remember(key, took)
        self.say(f"  ok {text}: {duration_text(took)}")

    def _read(self) -> dict[str, float]:
        if self._memory is None:
            return {}
        try:
            found = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return {}
        return {k: float(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _recall(self, key: str | None) -> float | None:
        return self._read().get(key) if key is not None else None

    def _remember(self, key: str | None, seconds: float) -> None:
        if key is None or self._memory is None:
            return
        with self._lock:
            known = self._read()
            known[key] = round(seconds, 3)
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._memory, json.dumps(known, indent=1, sort_keys=True))


#: Says nothing; for callers that do not want lines.
class Silent(Progress):
    """A Progress that prints nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""
