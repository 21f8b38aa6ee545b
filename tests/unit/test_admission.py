"""Law S: the worked examples of its docstring, and what must hold for every history."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.traffic.admission import FLOOR, Admission, Period, Target, admits, start, step

TARGET = Target(latency=0.08, allowed=0.05, ceiling=8)


@st.composite
def periods(draw: st.DrawFn, max_seconds: float = 15.0) -> Period:
    """One period as a replica could count it; more may end than was admitted in it (work from before)."""
    offered = draw(st.integers(0, 2000))
    ended = draw(st.integers(0, 2000))
    cloud_ended = draw(st.integers(0, 2000))
    return Period(
        seconds=draw(st.floats(0.5, max_seconds)),
        offered=offered,
        refused=draw(st.integers(0, offered)),
        ended=ended,
        bad=draw(st.integers(0, ended)),
        cloud_ended=cloud_ended,
        cloud_bad=draw(st.integers(0, cloud_ended)),
    )


targets = st.builds(
    Target,
    latency=st.floats(0.001, 60),
    allowed=st.floats(0.001, 0.5),
    ceiling=st.floats(FLOOR, 64),
)
histories = st.lists(periods(), max_size=30)


def run(target: Target, history: list[Period], profile: float | None = None) -> Admission:
    state = start(target, profile)
    for period in history:
        state = step(state, period, target)
    return state


@pytest.mark.parametrize(
    ("latency", "profile", "limit"),
    [(0.08, 0.03, 1.8667), (0.08, 0.2, 0.5), (1.0, 0.01, 8.0), (0.08, None, 1.2)],
)
def test_the_first_limit_follows_the_profile(latency: float, profile: float | None, limit: float) -> None:
    assert start(Target(latency, 0.05, 8), profile).limit == pytest.approx(limit, abs=1e-4)


@pytest.mark.parametrize(
    ("in_flight", "draw", "admitted"),
    [(1, 0.99, True), (2, 0.24, True), (2, 0.25, False), (3, 0.0, False)],
)
def test_the_fraction_of_the_limit_is_a_probability(in_flight: int, draw: float, admitted: bool) -> None:
    assert admits(2.25, in_flight, draw) is admitted


@pytest.mark.parametrize(
    ("period", "limit"),
    [
        (Period(1, offered=40, refused=20, ended=20), 2.0201),
        (Period(1, offered=20, ended=20), 2.0),
        (Period(1, offered=20, ended=20, bad=20), 1.8835),
        (Period(1, offered=19, ended=19, bad=19), 2.0),
        (Period(1), 2.0),
    ],
)
def test_worked_examples(period: Period, limit: float) -> None:
    assert step(Admission(limit=2.0), period, TARGET).limit == pytest.approx(limit, abs=1e-4)


@given(targets, histories, st.none() | st.floats(1e-4, 100))
def test_the_limit_stays_between_floor_and_ceiling(
    target: Target, history: list[Period], profile: float | None
) -> None:
    assert FLOOR <= run(target, history, profile).limit <= target.ceiling


@given(targets, histories, st.floats(FLOOR, 64))
def test_a_lower_ceiling_is_in_force_with_the_next_period(
    target: Target, history: list[Period], ceiling: float
) -> None:
    state = run(target, history)
    assert step(state, Period(1), replace(target, ceiling=ceiling)).limit <= ceiling


@given(st.floats(FLOOR, 64), st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_never_more_in_flight_than_the_limit_rounded_up(limit: float, in_flight: int, draw: float) -> None:
    if admits(limit, in_flight, draw):
        assert in_flight + 1 <= math.ceil(limit)


@given(st.floats(FLOOR, 64), st.floats(0, 1, exclude_max=True))
def test_whole_places_are_given_whatever_the_draw(limit: float, draw: float) -> None:
    assert all(admits(limit, in_flight, draw) for in_flight in range(math.floor(limit)))


def test_the_fraction_is_met_on_average() -> None:
    draws = random.Random(4)
    admitted = sum(admits(0.5, 0, draws.random()) for _ in range(10_000))
    assert admitted == pytest.approx(5000, abs=200)


@given(targets, histories, st.lists(st.floats(0.5, 15), max_size=50))
def test_silence_holds_the_limit(target: Target, history: list[Period], silence: list[float]) -> None:
    state = run(target, history)
    for seconds in silence:
        after = step(state, Period(seconds), target)
        assert after.limit == state.limit
        state = after


@given(targets, histories, periods())
def test_no_learning_upward_while_the_limit_does_not_bind(
    target: Target, history: list[Period], period: Period
) -> None:
    state = replace(run(target, history), refused=0, offered=0)
    free = replace(period, refused=0, offered=max(1, period.offered))
    assert step(state, free, target).limit <= state.limit


@given(st.floats(1.5, 6), periods(), periods())
def test_one_step_falls_farther_than_any_rises(limit: float, some: Period, other: Period) -> None:
    worst = step(Admission(limit=limit), Period(1, offered=100, refused=50, ended=50, bad=50), TARGET)
    for period in (some, other):
        rise = step(Admission(limit=limit), period, TARGET).limit / limit
        assert rise <= limit / worst.limit


@given(targets, histories)
def test_the_same_history_gives_the_same_limit(target: Target, history: list[Period]) -> None:
    assert run(target, history) == run(target, history)


@given(periods())
def test_nobody_tells_about_the_cloud(period: Period) -> None:
    """Without counts of the cloud its share of late answers is taken as 0, not as the prior."""
    quiet = replace(period, cloud_ended=0, cloud_bad=0)
    silent = step(Admission(limit=2.0), quiet, TARGET)
    perfect = step(Admission(limit=2.0, cloud_good=1e9, cloud_bad=0.0, cloud_heard=True), quiet, TARGET)
    assert silent.limit == pytest.approx(perfect.limit)


def test_a_cloud_in_trouble_lets_the_edge_keep_more() -> None:
    # 8 % late here: too much while the cloud is well, within bounds while most of its answers are late.
    here = Period(1, offered=120, refused=20, ended=100, bad=8)
    well = step(Admission(limit=2.0), replace(here, cloud_ended=20), TARGET)
    troubled = step(Admission(limit=2.0), replace(here, cloud_ended=20, cloud_bad=20), TARGET)
    assert well.limit < 2.0 < troubled.limit


@pytest.mark.parametrize(
    ("field", "value"),
    [("latency", 0.0), ("latency", math.nan), ("allowed", 0.0), ("allowed", 1.0), ("ceiling", 0.4)],
)
def test_a_target_without_meaning_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="wanted"):
        replace(TARGET, **{field: value})
