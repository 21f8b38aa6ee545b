"""The operator's side of the verification process: started on demand, killed when it is late, gone when idle.

Whatever goes wrong with the process is a denial (`VerifierFailed`), never an exception and never a pass.
Passes are remembered until the evidence behind them ends; denials are judged again each time, because what
they lacked may be there now. Nothing is ever read back from status or annotations.
"""

import asyncio
import contextlib
import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edgewise.provenance import reasons
from edgewise.provenance.digests import sha256_hex
from edgewise.provenance.request import (
    Judgement,
    Request,
    VariantInput,
    VariantJudgement,
    judgement_from_json,
    request_to_json,
)
from edgewise.provenance.strictjson import Fields, JsonError, parse
from edgewise.provenance.worker import body_length, frame

#: An answer lists every file of every variant.
MAX_ANSWER_BYTES: Final = 64 << 20
COMMAND: Final = (sys.executable, "-m", "edgewise.provenance")

CacheKey = tuple[object, ...]


@dataclass(slots=True)
class Counters:
    """What metrics want to know; they only grow."""

    judged: int = 0
    from_cache: int = 0
    failures: int = 0
    starts: int = 0


class _ProcessError(Exception):
    """The process is of no more use; the text goes into the denial."""


@dataclass(slots=True)
class VerifierProcess:
    """Asks one verification process at a time. Belongs to one event loop.

    Attributes:
        timeout: seconds for one request, start included; then the process is killed.
        idle: seconds after the last answer at which the process ends and its memory is free.
        cache_size: passes remembered, oldest use first out.
        command: what to start.
    """

    timeout: float = 10.0
    idle: float = 60.0
    cache_size: int = 10_000
    command: Sequence[str] = COMMAND
    counters: Counters = field(default_factory=Counters)
    _cache: OrderedDict[CacheKey, VariantJudgement] = field(default_factory=OrderedDict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _process: asyncio.subprocess.Process | None = None
    _idle_timer: asyncio.TimerHandle | None = None

    async def judge(self, request: Request) -> Judgement:
        """Judge a request; what passed before, and still holds at `request.now`, costs no process."""
        keys = {variant.name: cache_key(request, variant) for variant in request.variants}
        known = {name: self._remembered(key, request) for name, key in keys.items()}
        fresh = tuple(variant for variant in request.variants if known[variant.name] is None)
        self.counters.judged += len(request.variants)
        self.counters.from_cache += len(request.variants) - len(fresh)
        answers = {name: answer for name, answer in known.items() if answer is not None}
        if fresh:
            for answer in (await self._ask(replace(request, variants=fresh))).variants:
                answers[answer.name] = answer
                self._remember(keys[answer.name], answer)
        return Judgement(tuple(answers[variant.name] for variant in request.variants))

    async def close(self) -> None:
        """End the process. A later request starts another one."""
        async with self._lock:
            await self._stop()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.pid

    def _remembered(self, key: CacheKey, request: Request) -> VariantJudgement | None:
        answer = self._cache.get(key)
        if answer is None or (answer.expires is not None and request.now >= answer.expires):
            return None
        self._cache.move_to_end(key)
        return answer

    def _remember(self, key: CacheKey, answer: VariantJudgement) -> None:
        if answer.verified:
            self._cache[key] = answer
            while len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)

    async def _ask(self, request: Request) -> Judgement:
        async with self._lock:
            self._cancel_idle()
            try:
                async with asyncio.timeout(self.timeout):
                    judgement = await self._exchange(request)
            except TimeoutError:
                return await self._failed(request, f"no answer within {self.timeout:g} s")
            except (_ProcessError, OSError, JsonError, EOFError) as error:
                return await self._failed(request, str(error) or type(error).__name__)
            except asyncio.CancelledError:
                await self._stop()  # half an answer may be on its way; the next request must not read it
                raise
            self._idle_timer = asyncio.get_running_loop().call_later(self.idle, self._idle_is_over)
            return judgement

    async def _exchange(self, request: Request) -> Judgement:
        process = await self._running()
        if process.stdin is None or process.stdout is None:
            raise _ProcessError("the process has no streams")
        process.stdin.write(frame(request_to_json(request)))
        await process.stdin.drain()
        length = body_length(await process.stdout.readexactly(4))
        if length > MAX_ANSWER_BYTES:
            raise _ProcessError(f"an answer of {length} bytes")
        value = parse(await process.stdout.readexactly(length), max_bytes=MAX_ANSWER_BYTES)
        if isinstance(value, dict) and "error" in value:
            raise _ProcessError(Fields(value, "answer").text("error"))
        judgement = judgement_from_json(value)
        asked = [(variant.name, variant.digest) for variant in request.variants]
        if [(answer.name, answer.digest) for answer in judgement.variants] != asked:
            raise _ProcessError("an answer to another question")
        return judgement

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is not None:
            self._process = None
        if self._process is None:
            self.counters.starts += 1
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=_environment(),
            )
        return self._process

    async def _failed(self, request: Request, why: str) -> Judgement:
        self.counters.failures += 1
        await self._stop()
        message = f"the verification process failed: {why}; it is started anew for the next request"
        return Judgement(tuple(_denied(variant, message) for variant in request.variants))

    async def _stop(self) -> None:
        self._cancel_idle()
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # communicate() rather than wait(): it also closes our ends of the pipes.
        with contextlib.suppress(OSError):
            await process.communicate()

    def _cancel_idle(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _idle_is_over(self) -> None:
        """The end of stdin ends the process; the next request notices and starts another."""
        self._idle_timer = None
        if self._process is not None and self._process.stdin is not None and not self._lock.locked():
            self._process.stdin.close()


def cache_key(request: Request, variant: VariantInput) -> CacheKey:
    """Everything that the answer depends on but the time, which `expires` covers."""
    return (
        request.cluster,
        request.namespace,
        tuple(sorted(request.labels.items())),
        (request.model, request.model_uid, request.version),
        (variant.name, variant.uri, variant.digest, variant.format, variant.problem),
        sha256_hex(variant.manifest),
        tuple(sha256_hex(bundle) for bundle in variant.bundles),
        tuple(sorted((policy.name, policy.sha256) for policy in request.policies)),
    )


def _denied(variant: VariantInput, message: str) -> VariantJudgement:
    return VariantJudgement(variant.name, variant.digest, False, reasons.VERIFIER_FAILED, message)


def _environment() -> dict[str, str]:
    """Nothing of ours but where our package is: no credentials, no proxies."""
    package_root = str(Path(__file__).resolve().parents[2])
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PYTHONPATH": package_root, "PYTHONDONTWRITEBYTECODE": "1"}
