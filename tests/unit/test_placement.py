"""Sites, and first fit at a site."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.api.edgemodel import Variant
from edgewise.api.edgesite import EdgeSite
from edgewise.catalog.catalogue import CatalogueError, builtin, parse, shipped
from edgewise.fleet.nodes import Node, parse_node
from edgewise.fleet.sites import SITE_LABEL, TIER_LABEL, discover, site_of
from edgewise.placement.plan import Demand, Placed, Refused, plan

VNNI = "feature.node.kubernetes.io/cpu-cpuid.AVX512VNNI"


def node(name: str, cpu: str = "4", memory: str = "4Gi", **labels: str) -> Node:
    marks = {SITE_LABEL: "plant"} | {key.replace("_", "."): value for key, value in labels.items()}
    return parse_node(
        {
            "metadata": {"name": name, "labels": marks},
            "status": {
                "allocatable": {"cpu": cpu, "memory": memory},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
        builtin(),
    )


def fast(name: str) -> Node:
    plain = node(name)
    labels = dict(plain.labels) | {VNNI: "true"}
    return parse_node(
        {
            "metadata": {"name": name, "labels": labels},
            "status": {"allocatable": {"cpu": "4", "memory": "4Gi"}},
        },
        builtin(),
    )


def edge_site(name: str = "plant", **spec: object) -> EdgeSite:
    selector = {"nodeSelector": {"matchLabels": {SITE_LABEL: name}}}
    return EdgeSite.model_validate({"metadata": {"name": name}, "spec": selector | spec})


def variant(name: str, accelerator: str, cpu: str = "1", memory: str = "1Gi") -> Variant:
    return Variant.model_validate(
        {
            "name": name,
            "format": "onnx",
            "uri": f"oci://r.example/m@sha256:{'0' * 64}",
            "digest": f"tree:sha256:{'0' * 64}",
            "accelerators": [accelerator],
            "resources": {"requests": {"cpu": cpu, "memory": memory}},
        }
    )


INT8, PLAIN = variant("int8", "cpu-vnni"), variant("original", "cpu")


def test_the_first_variant_that_a_node_can_run_is_taken() -> None:
    site = site_of(edge_site(), [node("a"), fast("b")])
    assert plan(site, [Demand("s", "Normal", (INT8, PLAIN))], builtin())["s"] == Placed(INT8, "cpu-vnni")
    site = site_of(edge_site(), [node("a")])
    assert plan(site, [Demand("s", "Normal", (INT8, PLAIN))], builtin())["s"] == Placed(PLAIN, "cpu")


def test_a_refusal_counts_nodes_by_reason() -> None:
    site = site_of(edge_site(), [node("a"), node("b", memory="100Mi", **{})])
    refused = plan(site, [Demand("s", "Normal", (INT8,))], builtin())["s"]
    assert refused == Refused("plant: int8: 0/2 nodes fit (2 has no cpu-vnni)")
    large = plan(site, [Demand("s", "Normal", (variant("v", "cpu", memory="5Gi"),))], builtin())["s"]
    assert isinstance(large, Refused)
    assert "1 lacks 1024Mi memory" in large.message
    assert "1 lacks 5020Mi memory" in large.message


def test_an_unknown_class_names_those_that_are_spelled_like_it() -> None:
    refused = plan(
        site_of(edge_site(), [node("a")]), [Demand("s", "Normal", (variant("v", "cpu-vnn"),))], builtin()
    )["s"]
    assert isinstance(refused, Refused)
    assert "cpu-vnni" in refused.message


def test_the_more_critical_service_is_placed_first() -> None:
    site = site_of(edge_site(), [node("a", cpu="1")])
    demands = [Demand("a", "BestEffort", (PLAIN,)), Demand("z", "Critical", (PLAIN,))]
    result = plan(site, demands, builtin())
    assert isinstance(result["z"], Placed)
    assert isinstance(result["a"], Refused)


@given(
    cpus=st.lists(st.integers(1, 6), max_size=5),
    asked=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    seed=st.randoms(),
)
def test_a_plan_never_exceeds_what_nodes_have_and_does_not_depend_on_order(
    cpus: list[int], asked: list[int], seed: object
) -> None:
    nodes = [node(f"n{index}", cpu=str(cpu)) for index, cpu in enumerate(cpus)]
    demands = [Demand(f"s{i}", "Normal", (variant("v", "cpu", cpu=str(c)),)) for i, c in enumerate(asked)]
    site = site_of(edge_site(), nodes)
    first = plan(site, demands, builtin())
    shuffled = list(demands)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(site, shuffled, builtin()) == first
    taken = sum(asked[i] for i in range(len(asked)) if isinstance(first[f"s{i}"], Placed))
    assert taken <= sum(cpus)


def test_sites_are_found_by_trusted_labels_alone() -> None:
    stray = parse_node({"metadata": {"name": "x", "labels": {"edgewise.dev/site": "liar"}}}, builtin())
    cloud = parse_node(
        {"metadata": {"name": "c", "labels": {SITE_LABEL: "far", TIER_LABEL: "Cloud"}}}, builtin()
    )
    found = discover([stray, cloud, node("a")], [])
    assert [(site.name, site.tier) for site in found] == [("far", "Cloud"), ("plant", "Edge")]
    assert discover([node("a")], [edge_site()]) == ()


def test_who_may_use_a_site_is_nobody_unless_it_says_so() -> None:
    assert not site_of(edge_site(), []).allows({"team": "a"}, "Normal")
    assert site_of(edge_site(allowedNamespaces={}), []).allows({}, "Normal")
    picky = site_of(edge_site(allowedNamespaces={}, allowedCriticalities=["High"]), [])
    assert not picky.allows({}, "Normal")


def test_nonsense_amounts_count_as_nothing() -> None:
    odd = parse_node(
        {"metadata": {"name": "x"}, "status": {"allocatable": {"cpu": "lots", "memory": None}}}, builtin()
    )
    assert (odd.cpu, odd.memory) == (Decimal(0), Decimal(0))


def test_the_shipped_catalogue_follows_its_schema_and_a_wrong_one_is_refused_with_the_place() -> None:
    assert parse(shipped()) == builtin()
    wrong = shipped()
    wrong["runtimes"][0]["port"] = "http"
    with pytest.raises(CatalogueError, match=r"runtimes\[0\]\.port"):
        parse(wrong)
