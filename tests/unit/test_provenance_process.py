"""The verification process: real, started on demand, limited, and a denial whenever it fails."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from edgewise.provenance import reasons
from edgewise.provenance.process import VerifierProcess
from edgewise.provenance.times import format_time
from edgewise.provenance.worker import frame, serve
from tests.unit.provenance_world import NOW, PUBLISHER, World, pem_of, policy_spec

#: asyncio talks to itself and to the process through Unix sockets and pipes; nothing else is opened.
pytestmark = pytest.mark.allow_hosts([])

PRELUDE = "import sys; from edgewise.provenance import sandbox; sandbox.enter();"


@pytest.fixture
async def verifier() -> AsyncIterator[VerifierProcess]:
    process = VerifierProcess()
    yield process
    await process.close()


async def test_it_judges_like_the_function(verifier: VerifierProcess) -> None:
    request = World().request()
    answer = (await verifier.judge(request)).variants[0]
    assert answer == World().judged()
    assert answer.verified
    denied = (await verifier.judge(World(bundles=()).request())).variants[0]
    assert denied.reason == reasons.UNSIGNED
    assert verifier.counters.starts == 1


async def test_only_passes_are_remembered_and_only_for_the_same_question(verifier: VerifierProcess) -> None:
    good, bad = World(bundles=World().but().request().variants[0].bundles), World(bundles=())
    await verifier.judge(good.request())
    await verifier.judge(bad.request())
    await verifier.close()
    assert (await verifier.judge(good.request())).variants[0].verified
    assert verifier.counters.starts == 1
    assert not (await verifier.judge(bad.request())).variants[0].verified
    assert verifier.counters.starts == 2
    other = good.but(labels={"team": "sales"})
    assert (await verifier.judge(other.request())).variants[0].reason == reasons.NO_POLICY
    stricter = good.but(specs=(("vision", policy_spec(artifact={"maxFiles": 1})),))
    assert (await verifier.judge(stricter.request())).variants[0].reason == reasons.ARTIFACT_TOO_LARGE


async def test_a_remembered_pass_ends_with_its_evidence(verifier: VerifierProcess) -> None:
    authority = {
        "name": "ci",
        "key": {"pem": pem_of(PUBLISHER), "notAfter": format_time(NOW + timedelta(days=1))},
    }
    world = World(specs=(("vision", policy_spec(authorities=[authority])),), bundles=(World().good_bundle(),))
    assert (await verifier.judge(world.request())).variants[0].verified
    later = (await verifier.judge(world.but(now=NOW + timedelta(days=1)).request())).variants[0]
    assert later.reason == reasons.KEY_EXPIRED


async def test_a_crash_denies_and_the_next_request_is_answered(verifier: VerifierProcess) -> None:
    await verifier.judge(World(bundles=()).request())
    assert verifier.pid is not None
    os.kill(verifier.pid, signal.SIGSTOP)
    question = asyncio.ensure_future(verifier.judge(World().request()))
    await asyncio.sleep(0)
    os.kill(verifier.pid, signal.SIGKILL)
    first = (await question).variants[0]
    assert (first.verified, first.reason) == (False, reasons.VERIFIER_FAILED)
    assert (await verifier.judge(World().request())).variants[0].verified


async def test_a_late_answer_denies_and_the_process_is_gone() -> None:
    slow = VerifierProcess(timeout=0.2, command=(sys.executable, "-c", "import sys; sys.stdin.read()"))
    question = asyncio.ensure_future(slow.judge(World().request()))
    answer = (await question).variants[0]
    assert (answer.verified, answer.reason) == (False, reasons.VERIFIER_FAILED)
    assert "0.2 s" in answer.message
    assert slow.pid is None


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.write(1, b'\\xff\\xff\\xff\\xff')",
        "import os; os.write(1, b'\\0\\0\\0\\2[]')",
        "import os; os.write(1, b'\\0\\0\\0\\x0f{\"variants\":[]}')",
        "import os; os.write(1, b'\\0\\0')",
        "pass",
    ],
)
async def test_a_wrong_answer_is_a_denial(code: str) -> None:
    lying = VerifierProcess(
        command=(sys.executable, "-c", code + "; sys = __import__('sys'); sys.stdin.read()")
    )
    if code == "pass":
        lying.command = (sys.executable, "-c", code)
    lying.timeout = 1.0 if "\\0\\0'" in code else 10.0
    answer = (await lying.judge(World().request())).variants[0]
    assert (answer.verified, answer.reason) == (False, reasons.VERIFIER_FAILED)
    await lying.close()


async def test_a_cancelled_question_leaves_no_half_answer(verifier: VerifierProcess) -> None:
    await verifier.judge(World(bundles=()).request())
    question = asyncio.ensure_future(verifier.judge(World().request()))
    await asyncio.sleep(0)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert verifier.pid is None
    assert (await verifier.judge(World(bundles=()).request())).variants[0].reason == reasons.UNSIGNED


async def test_when_idle_it_ends_by_itself() -> None:
    brief = VerifierProcess(idle=0.01)
    await brief.judge(World(bundles=()).request())
    process = brief._process
    assert process is not None
    assert await process.wait() == 0
    assert (await brief.judge(World().request())).variants[0].verified
    await brief.close()


async def test_questions_at_once_are_answered_one_by_one(verifier: VerifierProcess) -> None:
    worlds = [World(), World(bundles=()), World(labels={}), World(format="tvm")]
    answers = await asyncio.gather(*(verifier.judge(world.request()) for world in worlds))
    assert [answer.variants[0].reason for answer in answers] == [
        reasons.POLICY_SATISFIED, reasons.UNSIGNED, reasons.NO_POLICY, reasons.FORMAT_NOT_ALLOWED,
    ]  # fmt: skip
    assert verifier.counters.starts == 1


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "import socket; socket.socketpair()",
        "import _socket; _socket.socket(2, 1, 0)",
        "import os; os.execv('/bin/true', ['true'])",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import ctypes; s = ctypes.CDLL(None).socket(2, 1, 0); assert s >= 0",
        "import ctypes; s = ctypes.CDLL(None).execv(b'/bin/true', None); assert s == 0",
        "x = bytearray(2 << 30)",
        "f = [open('/dev/null') for _ in range(100)]",
    ],
)
def test_the_sandbox_holds(attempt: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    allowed = subprocess.run(
        [sys.executable, "-c", PRELUDE], env=environment, capture_output=True, check=False
    )
    assert allowed.returncode == 0, allowed.stderr
    tried = subprocess.run(
        [sys.executable, "-c", PRELUDE + attempt], env=environment, capture_output=True, check=False
    )
    assert tried.returncode == 1, tried.stderr


def test_a_request_cut_short_is_answered_with_an_error() -> None:
    message = frame({"now": "x"})[:-3]
    out: list[bytes] = []
    chunks = iter([message[:2], message[2:4], message[4:]])
    serve(lambda size: next(chunks, b""), out.append)
    assert "cannot be read" in json.loads(out[0][4:])["error"]
    out.clear()
    chunks = iter([struct.pack(">I", 1 << 31)])
    serve(lambda size: next(chunks, b""), out.append)
    assert "at most" in json.loads(out[0][4:])["error"]


async def test_a_crowd_of_variants_is_remembered_by_variant(verifier: VerifierProcess) -> None:
    request = World().request()
    bad = replace(request.variants[0], name="gpu", bundles=())
    both = replace(request, variants=(request.variants[0], bad))
    await verifier.judge(both)
    answer = await verifier.judge(both)
    assert [variant.verified for variant in answer.variants] == [True, False]
    assert (verifier.counters.judged, verifier.counters.from_cache) == (4, 1)
