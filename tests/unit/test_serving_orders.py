"""What a router tells a server, and what the server makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.serving.gate import Gate
from edgewise.serving.orders import Orders, read_orders
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
    gate.heed(Orders(ceiling=1.0))
    full(gate)
    assert gate.limit == 1.0 < before
    gate.heed(Orders())
    for _ in range(400):
        full(gate)
    assert gate.limit > 1.0


def test_a_ceiling_above_the_one_that_was_set_changes_nothing(edge: Settings) -> None:
    gate = Gate(edge, draw=lambda: 0.99)
    gate.heed(Orders(ceiling=1000.0))
    for _ in range(800):
        full(gate)
    assert gate.limit <= edge.target.ceiling


def test_a_cloud_server_goes_by_its_own_limit_and_learns_none(edge: Settings) -> None:
    gate = Gate(replace(edge, side="cloud"))
    gate.heed(Orders(ceiling=1.0, allowed=0.01))
    full(gate)
    assert gate.limit == edge.target.ceiling
    gate.heed(Orders(cloud_limit=2.0))
    full(gate)
    assert gate.limit == 2.0
    gate.heed(Orders())
    assert gate.limit == edge.target.ceiling


NAMES = [b"x-edgewise-ceiling", b"x-edgewise-allowed", b"x-edgewise-cloud-limit", b"other"]


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=24)), max_size=6),
    st.sampled_from(["edge", "cloud"]),
)
def test_whatever_a_header_holds_the_law_gets_numbers_that_it_can_use(
    headers: list[tuple[bytes, bytes]], side: Literal["edge", "cloud"]
) -> None:
    orders = read_orders(headers)
    assert orders.ceiling is None or orders.ceiling > 0
    assert orders.allowed is None or 0 < orders.allowed < 1
    gate = Gate(replace(settings(Path("unused")), side=side))
    gate.heed(orders)
    full(gate)
    assert FLOOR <= gate.limit <= gate.settings.target.ceiling


def test_numbers_are_read() -> None:
    ceiling, allowed, cloud, _ = NAMES
    assert read_orders([(ceiling, b"2.5"), (allowed, b"0.035")]) == Orders(2.5, 0.035)
    assert read_orders([(cloud, b"2")]) == Orders(cloud_limit=2.0)
    assert read_orders([(ceiling, b"nan"), (allowed, b"1"), (cloud, b"-1")]) == Orders()
    assert read_orders([]) == Orders()
