"""A cluster in memory: one service at two sites and in the cloud, as the informers would show it."""

from __future__ import annotations

from typing import Any, cast

from edgewise.api.inferenceservice import InferenceService
from edgewise.catalog import catalogue
from edgewise.cluster.client import Client
from edgewise.cluster.world import World
from edgewise.reconcilers.context import Context, Settings
from lab import quickstart

KEY = "vision/line-inspection"
LABELS = {"app.kubernetes.io/managed-by": "edgewise", "edgewise.dev/component": "server",
          "edgewise.dev/service": "line-inspection"}  # fmt: skip


def marks(side: str, site: str, revision: str) -> dict[str, str]:
    return {**LABELS, "edgewise.dev/side": side, "edgewise.dev/site": site, "edgewise.dev/revision": revision}


def deployment(side: str, site: str, revision: str, port: int = 8080) -> dict[str, Any]:
    container = {"name": "server", "ports": [{"containerPort": port}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{side}-{site}-{revision}",
            "namespace": "vision",
            "labels": marks(side, site, revision),
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
    }


def pod(name: str, address: str, side: str, site: str, revision: str, ready: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "vision",
            "uid": name,
            "labels": marks(side, site, revision),
        },
        "spec": {"nodeName": "edge-1"},
        "status": {
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def site(name: str, tier: str, region: str | None) -> dict[str, Any]:
    labels = {"edgewise.node-restriction.kubernetes.io/site": name}
    spec: dict[str, Any] = {"tier": tier, "nodeSelector": {"matchLabels": labels}, "allowedNamespaces": {}}
    found = {"apiVersion": "edgewise.dev/v1alpha1", "kind": "EdgeSite", "metadata": {"name": name}}
    return {**found, "spec": spec | ({"region": region} if region else {})}


def filled_world() -> World:
    """A service with two edge servers at plant-1, one at plant-2 and one in the cloud."""
    found = World(catalogue.builtin())
    service = next(doc for doc in quickstart.manifests() if doc["kind"] == "InferenceService")
    service["status"] = {"rollout": {"stable": "aa"}}
    service["spec"]["request"] = {"timeout": "10s", "maxBody": "1Mi"}
    found.services.upsert(service)
    for side, site in (("edge", "plant-1"), ("edge", "plant-2"), ("cloud", "cloud")):
        found.deployments.upsert(deployment(side, site, "aa"))
    found.pods.upsert(pod("one", "10.0.0.1", "edge", "plant-1", "aa"))
    found.pods.upsert(pod("two", "10.0.0.2", "edge", "plant-1", "aa"))
    found.pods.upsert(pod("far", "10.0.1.1", "edge", "plant-2", "aa"))
    found.pods.upsert(pod("sky", "10.0.2.1", "cloud", "cloud", "aa"))
    return found


def resident(world: World, *regions: str) -> InferenceService:
    """The service, with residency in these regions."""
    service = next(doc for doc in quickstart.manifests() if doc["kind"] == "InferenceService")
    service["status"] = {"rollout": {"stable": "aa"}}
    service["spec"]["residency"] = {"regions": list(regions)}
    service["metadata"]["resourceVersion"] = "-".join(regions)
    world.services.upsert(service)
    found = world.services.get(KEY)
    assert found is not None
    return found


def context_of(world: World) -> Context:
    """What a pass needs, with the model and the namespace of the service."""
    world.models.upsert(next(doc for doc in quickstart.manifests() if doc["kind"] == "EdgeModel"))
    world.namespaces.upsert(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vision", "labels": {}}}
    )
    settings = Settings("edgewise-system", {"server": "r.example/server@sha256:1"})
    return Context(cast(Client, None), world, catalogue.builtin(), settings, lambda *_: None, "cluster")


def with_upstream(world: World, **more: str) -> None:
    document = site("plant-1", "Edge", "eu-de")
    document["spec"]["upstream"] = {"url": "https://cloud.example", **more}
    document["metadata"]["labels"] = {"line": "yes"}
    world.sites.upsert(document)
