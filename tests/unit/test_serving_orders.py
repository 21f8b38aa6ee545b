"""What a router tells a server, and what the server makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.serving.gate import Gate
from edgewise.serving.orders import ALLOWED, CEILING, read_orders
from edgewise.serving.settings import Settings
from edgewise.traffic.admission import FLOOR
from tests.unit.serving_support import settings


def full(gate: Gate) -> None:
    """Offer more than the gate takes, and let some of it end in time."""
    for _ in range(40):
        if gate.enter():
            gate.leave(0.001, failed=False)
    gate.in_flight = int(gate.limit) + 1
    for _ in range(40):
        gate.enter()
    gate.in_flight = 0
    gate.tick(1.0)


@pytest.fixture
def edge(tmp_path: Path) -> Settings:
    return settings(tmp_path)


def test_a_lower_ceiling_holds_from_the_next_step_and_is_taken_back(edge: Settings) -> None:
    gate = Gate(edge, draw=lambda: 0.99)
    before = gate.limit
    gate.heed(1.0, None)
    full(gate)
    assert gate.limit == 1.0 < before
    gate.heed(None, None)
    for _ in range(400):
        full(gate)
    assert gate.limit > 1.0


def test_a_ceiling_above_the_one_that_was_set_changes_nothing(edge: Settings) -> None:
    gate = Gate(edge, draw=lambda: 0.99)
    gate.heed(1000.0, None)
    for _ in range(800):
        full(gate)
    assert gate.limit <= edge.target.ceiling


def test_a_cloud_server_keeps_its_limit(edge: Settings) -> None:
    gate = Gate(replace(edge, side="cloud"))
    gate.heed(1.0, 0.01)
    full(gate)
    assert gate.limit == edge.target.ceiling


@given(st.lists(st.tuples(st.sampled_from([CEILING, ALLOWED, b"other"]), st.binary(max_size=24)), max_size=6))
def test_whatever_a_header_holds_the_law_gets_numbers_that_it_can_use(
    headers: list[tuple[bytes, bytes]],
) -> None:
    ceiling, allowed = read_orders(headers)
    assert ceiling is None or ceiling > 0
    assert allowed is None or 0 < allowed < 1
    gate = Gate(settings(Path("unused")))
    gate.heed(ceiling, allowed)
    full(gate)
    assert FLOOR <= gate.limit <= settings(Path("unused")).target.ceiling


def test_numbers_are_read() -> None:
    assert read_orders([(CEILING, b"2.5"), (ALLOWED, b"0.035")]) == (2.5, 0.035)
    assert read_orders([(CEILING, b"nan"), (ALLOWED, b"1")]) == (None, None)
    assert read_orders([(CEILING, b"-1"), (ALLOWED, b"inf")]) == (None, None)
    assert read_orders([]) == (None, None)
