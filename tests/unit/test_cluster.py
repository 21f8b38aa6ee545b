"""Writing only what differs; tables; the token bucket; and what keeps an uninstall back."""

from __future__ import annotations

from typing import Any

from edgewise.api import conditions as c
from edgewise.cli.uninstall import users
from edgewise.cluster.apply import differs, stamped
from edgewise.cluster.bucket import TokenBucket
from edgewise.cluster.store import Table

WANTED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}},
    "spec": {
        "replicas": 2,
        "template": {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "0.5"}}}]}},
    },
}


def live() -> dict[str, Any]:
    wanted = stamped(WANTED)
    container = {"name": "c", "image": "set by somebody", "resources": {"requests": {"cpu": "500m"}}}
    metadata = wanted["metadata"] | {"uid": "u", "resourceVersion": "7"}
    spec = {"replicas": 2, "template": {"spec": {"containers": [{"name": "sidecar"}, container]}}}
    return wanted | {"metadata": metadata, "spec": spec}


def test_what_stands_as_wanted_is_not_written_whatever_others_added() -> None:
    assert not differs(stamped(WANTED), live())


def test_drift_a_removed_field_and_absence_are_noticed() -> None:
    drifted = live()
    drifted["spec"]["replicas"] = 3
    assert differs(stamped(WANTED), drifted)
    fewer = WANTED | {"metadata": {"name": "a", "namespace": "n"}}
    assert differs(stamped(fewer), live())
    assert differs(stamped(WANTED), None)


def test_conditions_keep_their_time_until_the_status_moves() -> None:
    old = c.merge([], [c.condition("Ready", True, "A")], "t1")
    assert c.merge(old, [c.condition("Ready", True, "B")], "t2")[0].last_transition_time == "t1"
    assert c.merge(old, [c.condition("Ready", False, "B")], "t2")[0].last_transition_time == "t2"


def thing(name: str, version: str, colour: str = "red") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, "colour": colour}


def test_a_table_follows_its_indexes_and_tells_only_what_moved() -> None:
    table: Table[dict[str, Any]] = Table(lambda obj: obj, {"colour": lambda obj: [obj["colour"]]})
    heard: list[str] = []
    table.listeners.append(lambda key, old, new: heard.append(f"{key} {bool(old)} {bool(new)}"))
    table.upsert(thing("a", "1"))
    assert not table.upsert(thing("a", "1"))
    table.upsert(thing("a", "2", "blue"))
    assert table.by("colour", "red") == []
    assert len(table.by("colour", "blue")) == 1
    table.replace([thing("b", "3")])
    assert table.keys() == {"b"}
    assert heard == ["a False True", "a True True", "b False True", "a True False"]


def test_an_object_that_cannot_be_read_is_kept_out_and_said() -> None:
    def parse(obj: dict[str, Any]) -> str:
        if obj["colour"] == "odd":
            raise ValueError("no such colour")
        return str(obj["colour"])

    table: Table[str] = Table(parse)
    table.upsert(thing("a", "1"))
    table.upsert(thing("a", "2", "odd"))
    assert table.get("a") is None
    assert table.broken == {"a": "no such colour"}


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(10.0, 3, lambda: now[0])
    assert [bucket.delay() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert abs(bucket.delay() - 0.1) < 1e-9
    now[0] = 10.0
    assert bucket.delay() == 0.0


def test_pods_with_models_keep_an_uninstall_back_and_ended_ones_do_not() -> None:
    def pod(name: str, driver: str, phase: str = "Running") -> dict[str, Any]:
        volumes = [{"name": "v", "csi": {"driver": driver}}]
        metadata = {"name": name, "namespace": "n"}
        return {"metadata": metadata, "spec": {"volumes": volumes}, "status": {"phase": phase}}

    ours = "models.edgewise.dev"
    found = users(
        [pod("a", ours), pod("b", ours, "Succeeded"), pod("c", "other"), {"metadata": {"name": "d"}}]
    )
    assert found == ["n/a"]
