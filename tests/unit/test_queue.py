"""The work queue keeps client-go's contract. Time is the loop's, and the loop's time jumps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from edgewise.engine.queue import Key, WorkQueue

A, B = Key("K", "a"), Key("K", "b")


class JumpingLoop(asyncio.SelectorEventLoop):
    """Instead of waiting for a timer, its clock jumps to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_key_waits_once_however_often_it_is_added() -> None:
    async def main() -> None:
        queue = WorkQueue()
        for key in (A, A, B, A):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == [A, B]
        assert len(queue) == 0

    run(main())


def test_a_key_added_in_its_pass_gets_exactly_one_more() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add(A)
        assert await queue.get() == A
        queue.add(A)
        queue.add(A)
        assert len(queue) == 0
        queue.done(A)
        assert len(queue) == 1
        assert await queue.get() == A
        queue.done(A)
        assert len(queue) == 0

    run(main())


def test_the_earliest_due_time_counts() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add_after(A, 30)
        queue.add_after(A, 5)
        queue.add_after(A, 60)
        assert await queue.get() == A
        assert now() == 5
        queue.done(A)
        queue.add_after(B, 100)
        assert await queue.get() == B
        assert now() == 105

    run(main())


def test_failures_back_off_and_success_forgets_them() -> None:
    async def main() -> None:
        queue = WorkQueue(jitter=random.Random(1))
        delays = []
        for _ in range(4):
            delays.append(queue.retry(A))
            await queue.get()
            queue.done(A)
        assert all(0.75 * 0.5 * 2**n <= delay <= 1.25 * 0.5 * 2**n for n, delay in enumerate(delays))
        queue.forget(A)
        assert queue.retry(A) <= 0.625

    run(main())


def test_a_closed_queue_hands_out_what_waits_and_ends() -> None:
    async def main() -> None:
        queue = WorkQueue()
        queue.add(A)
        queue.close()
        queue.add(B)
        assert [await queue.get(), await queue.get()] == [A, None]

    run(main())
