"""The rollout's state machine, and revisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgewise.rollout.advance import PROMOTED, ROLLED_BACK, RolloutState, RolloutView, advance


def view(wanted: str, ready: bool, now: float, stable_exists: bool = True) -> RolloutView:
    return RolloutView(wanted, ready, stable_exists, deadline=120.0, now=now)


def promoted(revision: str, at: float = 0.0) -> RolloutState:
    return RolloutState(revision, revision, "", PROMOTED, at)


def test_the_first_revision_serves_as_soon_as_it_can() -> None:
    first = advance(RolloutState(), view("a", False, 0.0, stable_exists=False))
    assert (first.run, first.serve, first.retire, first.overdue) == (("a",), "a", False, False)
    assert advance(first.state, view("a", False, 121.0, stable_exists=False)).overdue
    done = advance(first.state, view("a", True, 5.0, stable_exists=False))
    assert (done.state.stable, done.state.phase) == ("a", PROMOTED)


def test_a_new_revision_starts_beside_the_old_one_which_keeps_the_traffic() -> None:
    starting = advance(promoted("a"), view("b", False, 100.0))
    assert (starting.run, starting.serve, starting.retire) == (("b", "a"), "a", False)
    done = advance(starting.state, view("b", True, 110.0))
    assert (done.serve, done.run, done.retire) == ("b", ("b",), False)
    assert advance(done.state, view("b", True, 121.0)).retire


def test_a_revision_that_never_becomes_ready_is_taken_back_and_not_tried_again() -> None:
    starting = advance(promoted("a"), view("b", False, 100.0))
    back = advance(starting.state, view("b", False, 221.0))
    assert (back.serve, back.state.failed, back.state.phase) == ("a", "b", ROLLED_BACK)
    later = advance(back.state, view("b", True, 900.0))
    assert (later.serve, later.run, later.retire) == ("a", ("a",), True)
    other = advance(later.state, view("c", False, 901.0))
    assert (other.run, other.state.failed) == (("c", "a"), "")


def test_going_back_to_the_stable_revision_needs_no_wait() -> None:
    starting = advance(promoted("a"), view("b", False, 100.0))
    back = advance(starting.state, view("a", False, 101.0))
    assert (back.state.phase, back.serve) == (PROMOTED, "a")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0.1, 200)), max_size=30))
def test_only_a_revision_that_was_ready_once_serves_once_there_was_one(
    events: list[tuple[str, bool, float]],
) -> None:
    state, now, proven = promoted("a"), 0.0, {"a"}
    for wanted, ready, passed in events:
        now += passed
        decision = advance(state, view(wanted, ready, now))
        if ready:
            proven.add(wanted)
        assert decision.serve in proven
        assert decision.serve in decision.run
        again = advance(decision.state, view(wanted, ready, now))
        assert again.serve == decision.serve
        state = decision.state
