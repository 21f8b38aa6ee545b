"""Work that moves between edge and cloud, on real parts and under real load."""

from __future__ import annotations

import pytest

from lab.demo import Demo
from lab.demo_world import EDGE
from lab.load import Step
from lab.observe import wait_for
from tests.e2e.path_world import uids

pytestmark = pytest.mark.node


def test_a_cut_cloud_costs_only_what_the_edge_cannot_hold_and_never_an_error(demo: Demo) -> None:
    before = uids(demo)
    alone = demo.load([Step(4, 3)]).finish()["p50_ms"] / 1000
    load = demo.load([Step(round(1.5 / alone), 16)])
    cloud: dict[bool, float] = {False: 0.0, True: 0.0}
    cut = False
    try:
        for second in load.seconds():
            cloud[cut] = max(cloud[cut], second["cloud"])
            if second["second"] == 5.0:
                demo.lab.cut("cloud-1")
                cut = True
    finally:
        demo.lab.join("cloud-1")
    assert cloud[False] > 0.1, "the load was not above what the edge can hold"
    assert load.total["ended"] > load.total["failed"]
    assert set(load.total["failures"]) <= {"429"}
    demo.lab.node("cloud-1").wait_until_ready(demo.lab.api())
    wait_for("the service ready", lambda: demo.is_true("Ready"), within=120)
    assert uids(demo, EDGE) <= before
