"""The environment of the server's container: defaults, and errors that say what to write."""

import math
from pathlib import Path

import pytest

from edgewise.serving.errors import SettingsError
from edgewise.serving.gate import Gate
from edgewise.serving.settings import from_environment

LEAST = {"EDGEWISE_MODEL_NAME": "detector", "EDGEWISE_LATENCY_TARGET": "0.08"}


def test_the_least_that_must_be_said() -> None:
    found = from_environment(LEAST)
    assert (found.model_name, found.model_version, found.model_path) == ("detector", "1", Path("/models"))
    assert (found.target.latency, found.target.allowed, found.target.ceiling) == (0.08, 0.05, 8)
    assert (found.port, found.concurrency, found.threads, found.side) == (8080, 1, 1, "edge")
    assert found.profile_seconds is None


def test_empty_means_default() -> None:
    names = ("EDGEWISE_PROFILE_LATENCY", "EDGEWISE_SIDE", "EDGEWISE_PORT", "EDGEWISE_MODEL_VERSION")
    assert from_environment({**LEAST, **dict.fromkeys(names, "")}) == from_environment(LEAST)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("EDGEWISE_MODEL_NAME", "", "is not set"),
        ("EDGEWISE_LATENCY_TARGET", "", "in seconds"),
        ("EDGEWISE_LATENCY_TARGET", "80ms", "'80ms'; wanted: a number"),
        ("EDGEWISE_LATENCY_TARGET", "0", "wanted: seconds above 0"),
        ("EDGEWISE_LATENCY_TARGET", "nan", "wanted: a number"),
        ("EDGEWISE_ALLOWED_OVER_TARGET", "5", "below 1"),
        ("EDGEWISE_MAX_IN_FLIGHT", "0.1", "at least 0.5"),
        ("EDGEWISE_CONCURRENCY", "1.5", "a whole number of at least 1"),
        ("EDGEWISE_SIDE", "fog", "edge or cloud"),
        ("EDGEWISE_REVISION", "a\r\nx-forged: 1", "printable"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        from_environment({**LEAST, name: value})
    assert name in str(caught.value)


def test_two_workers_do_twice_the_work() -> None:
    one = {**LEAST, "EDGEWISE_PROFILE_LATENCY": "0.04"}
    assert Gate(from_environment(one)).limit == pytest.approx(0.08 / 0.04 - 0.8)
    assert Gate(from_environment({**one, "EDGEWISE_CONCURRENCY": "2"})).limit == pytest.approx(
        0.08 / 0.02 - 0.8
    )


def test_the_gate_lets_the_law_see_its_counts() -> None:
    gate = Gate(from_environment({**LEAST, "EDGEWISE_PROFILE_LATENCY": "0.02"}), draw=lambda: 0.0)
    before = gate.limit
    for _ in range(20):
        assert gate.enter()
        gate.leave(1.0, failed=False)
    gate.tick(1.0)
    assert gate.limit == pytest.approx(before * math.exp(-0.06))


def test_a_body_that_never_came_says_nothing_about_the_replica() -> None:
    gate = Gate(from_environment({**LEAST, "EDGEWISE_PROFILE_LATENCY": "0.02"}), draw=lambda: 0.0)
    before = gate.limit
    for _ in range(50):
        assert gate.enter()
        gate.abandon()
    gate.tick(1.0)
    assert (gate.limit, gate.in_flight) == (before, 0)


def test_a_cloud_replica_keeps_its_limit() -> None:
    gate = Gate(from_environment({**LEAST, "EDGEWISE_SIDE": "cloud", "EDGEWISE_MAX_IN_FLIGHT": "32"}))
    for _ in range(20):
        assert gate.enter()
        gate.leave(1.0, failed=True)
    gate.tick(1.0)
    assert gate.limit == 32
