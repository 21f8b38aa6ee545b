"""Which changes of a status are told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgewise.api.conditions import Condition, condition
from edgewise.cluster.events import transitions

conditions = st.lists(
    st.builds(
        condition,
        st.sampled_from(["Ready", "Placed", "Verified"]),
        st.sampled_from([True, False, None]),
        st.sampled_from(["Good", "Bad"]),
        st.text(max_size=5),
    ),
    unique_by=lambda found: found.type,
)


def test_a_number_that_moves_is_no_transition_and_a_new_reason_is_one() -> None:
    before = [condition("Shifting", True, "Spilling", "7 % in the cloud")]
    assert transitions(before, [condition("Shifting", True, "Spilling", "9 % in the cloud")]) == []
    after = condition("Shifting", False, "AtEdge", "")
    assert transitions(before, [after]) == [after]


@given(conditions, conditions)
def test_what_is_told_is_new_and_nothing_new_is_kept_quiet(
    before: list[Condition], after: list[Condition]
) -> None:
    said = {(found.type, found.status, found.reason) for found in before}
    told = transitions(before, after)
    assert [found for found in after if (found.type, found.status, found.reason) not in said] == told
    assert transitions(after, after) == []
