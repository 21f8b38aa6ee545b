"""Law W: the split where only weights exist."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.traffic.capacity import legal_rate, shares_over
from edgewise.traffic.policy import Policy, Signals
from edgewise.traffic.signals import ServiceCount, SideCount
from edgewise.traffic.weights import PROBE, WeightState, weigh

POLICY = Policy(target=0.08, allowed=0.05, edge_service=0.03, cloud_service=0.03, cloud_max=8, gateway=True)


def seen(
    rate: float, share: float, *, late: float = 0.0, ready: int = 8, ended: float | None = None
) -> Signals:
    """One second in which the edge answered what it got, `late` of it late."""
    edge = rate * share
    done = edge if ended is None else ended
    counts = SideCount(edge, done, late=late * done, early=0.5 * done, very_late=0.3 * late * done)
    away = rate - edge
    return Signals(1.0, ServiceCount(counts, SideCount(away, away)), 2, ready)


def run(rate: float, looks: int, late: float = 0.0, state: WeightState | None = None) -> WeightState:
    state = state or WeightState()
    for second in range(looks):
        state = weigh(state, seen(rate, state.share, late=late), POLICY, 0.05, 0.003, 1000.0 + second)
    return state


def test_what_fits_stays() -> None:
    assert run(0.5 * legal_rate(2, 0.03, 0.08, 0.05), 120).share == 1.0


def test_what_does_not_fit_leaves_at_once_and_returns_slowly() -> None:
    calm = run(30.0, 60)
    high = weigh(calm, seen(150, calm.share), POLICY, 0.05, 0.003, 2000.0)
    assert high.share < 0.6
    settled = run(150.0, 60, state=high)
    shares = [settled.share]
    state = settled
    for second in range(30):
        state = weigh(state, seen(30, state.share), POLICY, 0.05, 0.003, 3000.0 + second)
        shares.append(state.share)
    assert all(after - before <= 0.1 + 1e-9 for before, after in pairwise(shares))
    assert shares[-1] > shares[0]


def test_late_answers_lower_the_share() -> None:
    assert run(45.0, 120, late=0.5).share < run(45.0, 120, late=0.01).share


def test_a_stall_leaves_a_probe() -> None:
    state = run(45.0, 30)
    for second in range(8):
        state = weigh(state, seen(45, state.share, ended=0.0), POLICY, 0.05, 0.003, 5000.0 + second)
    assert state.share == PROBE


def test_without_a_cloud_everything_stays_at_once() -> None:
    state = run(150.0, 30)
    assert state.share < 1.0
    nothing = replace(seen(150, state.share), cloud_ready=0)
    assert weigh(state, nothing, POLICY, 0.05, 0.003, 6000.0).share == 1.0


def test_without_an_edge_everything_leaves() -> None:
    state = run(30.0, 30)
    assert weigh(state, replace(seen(30, 1.0), edge_ready=0), POLICY, 0.05, 0.003, 7000.0).share == 0.0


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0, 500), st.floats(0, 1), st.integers(0, 4), st.integers(0, 8), st.floats(0, 1)),
        max_size=15,
    )
)
def test_the_share_is_a_share(looks: list[tuple[float, float, int, int, float]]) -> None:
    state = WeightState()
    for second, (rate, late, edge, cloud, cloud_late) in enumerate(looks):
        signals = replace(seen(rate, state.share, late=late, ready=cloud), edge_ready=edge)
        before = state.share
        state = weigh(state, signals, POLICY, 0.05, cloud_late, float(second))
        assert 0 <= state.share <= 1
        if edge and cloud:
            assert state.share <= before + 0.1 + 1e-9


@given(st.integers(1, 8), st.floats(0, 400), st.floats(0.005, 0.2))
def test_shares_over_growing_bounds_fall(servers: int, rate: float, service: float) -> None:
    over = shares_over(servers, rate, service, (0.04, 0.08, 0.16))
    assert all(0 <= share <= 1 for share in over)
    assert over[0] >= over[1] >= over[2]
