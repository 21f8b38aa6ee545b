from __future__ import annotations

import itertools
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from lab.settings import MAX_INSTANCE, MAX_NODES, Addresses, Layout

EVERY_OCTET = range(2, 2 + MAX_NODES)
EVERY_INSTANCE = range(MAX_INSTANCE + 1)


def networks(instance: int) -> list[str]:
    plan = Addresses(instance)
    return [f"{plan.host}/24", plan.services, *(plan.pods(octet) for octet in EVERY_OCTET)]


def test_no_two_networks_of_any_labs_overlap() -> None:
    every = [ip_network(text, strict=False) for i in EVERY_INSTANCE for text in networks(i)]
    assert not [pair for pair in itertools.combinations(every, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("instance", EVERY_INSTANCE)
def test_everything_stays_within_the_range_for_benchmarks(instance: int) -> None:
    for text in networks(instance):
        assert ip_network(text, strict=False).subnet_of(ip_network("198.18.0.0/15"))


@pytest.mark.parametrize("instance", EVERY_INSTANCE)
def test_a_plan_is_consistent(instance: int) -> None:
    plan = Addresses(instance)
    services = ip_network(plan.services)
    assert ip_address(plan.kubernetes_service) == services[1]
    assert ip_address(plan.dns_service) in services
    for octet in EVERY_OCTET:
        assert ip_address(plan.node(octet)) in ip_network(f"{plan.host}/24", strict=False)
        assert ip_network(plan.pods(octet)).subnet_of(ip_network(plan.every_pod))
    assert not services.overlaps(ip_network(plan.every_pod))


def test_an_instance_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 7"):
        Addresses(8)


def test_the_environment_decides_on_folders() -> None:
    plain = Layout.from_environment({"XDG_CACHE_HOME": "/c"})
    assert (plain.home, plain.cache) == (Path("/var/lib/edgewise-lab"), Path("/c/edgewise"))
    second = Layout.from_environment({"EDGEWISE_CACHE": "/k", "EDGEWISE_LAB_INSTANCE": "3"})
    assert (second.home, second.cache) == (Path("/var/lib/edgewise-lab-3"), Path("/k"))
    assert Layout.from_environment({"EDGEWISE_LAB_HOME": "/h"}).home == Path("/h")


def test_names_fit_the_kernel() -> None:
    for instance in EVERY_INSTANCE:
        assert len(Layout(Path("/h"), Path("/c"), instance).interface) <= 15
