"""Capacity, the counters of routers, and the sizes of both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.signals.envoy import counts
from edgewise.traffic.capacity import erlang_c, legal_rate, replicas_for, share_late
from edgewise.traffic.signals import ServiceCount, SideCount
from edgewise.traffic.sizing import Bounds, TrafficState, observe, size

BOUNDS = Bounds(
    edge_min=1, edge_max=4, cloud_min=0, cloud_max=10, target=0.08, allowed=0.05,
    edge_service=0.03, cloud_service=0.03, may_spill=True,
)  # fmt: skip


@pytest.mark.parametrize(("servers", "utilisation"), [(1, 0.37), (2, 0.62), (3, 0.73), (8, 0.89)])
def test_legal_capacity_as_in_the_docstring(servers: int, utilisation: float) -> None:
    assert legal_rate(servers, 0.03, 0.08, 0.05) * 0.03 / servers == pytest.approx(utilisation, abs=0.015)


@given(servers=st.integers(1, 20), rate=st.floats(0.1, 500), service=st.floats(0.001, 0.5))
def test_shares_are_shares_and_grow_with_the_rate(servers: int, rate: float, service: float) -> None:
    low, high = (share_late(servers, r, service, 2 * service) for r in (rate, 1.5 * rate))
    assert 0 <= low <= 1
    assert high >= low - 1e-12
    assert 0 <= erlang_c(servers, rate * service) <= 1


@given(rate=st.floats(0, 1000), most=st.integers(1, 16))
def test_replicas_stay_within_their_bound(rate: float, most: int) -> None:
    assert 1 <= replicas_for(rate, 0.03, 0.08, 0.05, most) <= most


def traffic(offered: float, spilled: float, seconds: float = 2.0, late: float = 0.0) -> ServiceCount:
    cloud = SideCount(started=spilled * seconds, ended=spilled * seconds, late=late * spilled * seconds)
    return ServiceCount(SideCount(started=offered * seconds), cloud, retried=spilled * seconds)


def run(state: TrafficState, count: ServiceCount, looks: int, start: float) -> tuple[TrafficState, list[int]]:
    sizes = []
    for look in range(looks):
        now = start + 2.0 * look
        state = observe(state, count, 2.0, cloud_ready=state.cloud, now=now)
        state, wanted = size(state, BOUNDS, now)
        sizes.append(wanted.cloud)
    return state, sizes


def test_the_cloud_is_sized_for_what_the_edge_refuses_and_kept_for_five_minutes() -> None:
    state, sizes = run(TrafficState(), traffic(100, 30), 20, 0.0)
    # ceil(1.3 * 30 * 0.03 / 0.6)
    assert sizes[-1] == 2
    state, sizes = run(state, traffic(10, 0), 100, 40.0)
    assert sizes[-1] == 2
    _, sizes = run(state, traffic(10, 0), 100, 240.0)
    assert sizes[-1] == 0


def test_a_cloud_that_is_all_there_and_late_grows_beyond_its_profile() -> None:
    _, calm = run(TrafficState(), traffic(100, 30), 20, 0.0)
    _, late = run(TrafficState(), traffic(100, 30, late=0.8), 20, 0.0)
    assert late[-1] > calm[-1]


def test_nothing_leaves_a_site_that_may_not_spill() -> None:
    state = observe(TrafficState(), traffic(100, 30), 2.0, 0, 0.0)
    assert size(state, replace(BOUNDS, may_spill=False), 0.0)[1].cloud == 0


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.integers(0, 20))
def test_sizes_stay_within_what_the_service_allows(offered: float, spilled: float, looks: int) -> None:
    state = TrafficState()
    for look in range(looks):
        state = observe(state, traffic(offered, min(offered, spilled)), 2.0, 1, 2.0 * look)
        state, wanted = size(state, BOUNDS, 2.0 * look)
        assert 1 <= wanted.edge <= 4
        assert 0 <= wanted.cloud <= 10


def test_a_counter_that_was_reset_counts_from_zero() -> None:
    assert SideCount(started=5).since(SideCount(started=100)).started == 5
    assert SideCount(started=120).since(SideCount(started=100)).started == 20


STATS = """
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="vision_line_edge_aa"} 100
envoy_cluster_upstream_rq_total{envoy_cluster_name="vision_line_cloud_aa"} 12
envoy_cluster_upstream_rq_total{envoy_cluster_name="admin"} 7
envoy_cluster_upstream_rq_retry{envoy_cluster_name="vision_line_cloud_aa"} 10
envoy_cluster_upstream_rq_completed{envoy_cluster_name="vision_line_cloud_aa"} 12
envoy_cluster_retry_upstream_rq{envoy_response_code="429",envoy_cluster_name="vision_line_edge_aa"} 10
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="vision_line_cloud_aa"} 1
envoy_cluster_external_upstream_rq_time_bucket{envoy_cluster_name="vision_line_cloud_aa",le="80"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="vision_line_cloud_aa",le="80"} 8
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="vision_line_cloud_aa",le="100"} 10
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="vision_line_cloud_aa",le="+Inf"} 12
"""


def test_a_routers_statistics_become_counts() -> None:
    found = counts(STATS, {"vision/line": 0.09})
    assert set(found) == {"vision/line"}
    line = found["vision/line"]
    assert (line.edge.started, line.edge.refused, line.retried) == (100, 10, 10)
    assert (line.cloud.started, line.cloud.ended, line.cloud.failed, line.cloud.late) == (12, 12, 1, 3)
    assert line.offered == 102
    # Evenly within a bucket: 45 of 80 ms are 8 * 45/80 answers.
    assert line.cloud.early == pytest.approx(8 * 45 / 80)
    assert line.cloud.very_late == 0
