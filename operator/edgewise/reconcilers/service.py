"""InferenceService: gather, decide, apply, report."""

from __future__ import annotations

from edgewise.api.meta import LABEL_MANAGED_BY, LABEL_REVISION, MANAGED_BY
from edgewise.cluster.apply import apply_changed, without_version
from edgewise.cluster.resources import SERVICE
from edgewise.reconcilers.context import Context
from edgewise.reconcilers.contract import TerminalError
from edgewise.reconcilers.service_decide import ServiceDecision, decide
from edgewise.reconcilers.service_status import report
from edgewise.reconcilers.service_view import ServiceView, gather
from edgewise.render import access
from edgewise.render.revision import controller_revision
from edgewise.render.server import deployment


class ServiceReconciler:
    """Keeps a service's Deployments, its entry and its status as decided."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, key: str) -> float | None:
        """One pass over a service. Its children have it as owner, so a deleted one needs no pass."""
        view = gather(self._context, key)
        if view is None:
            self._forget(key)
            return None
        decision = decide(view)
        await self._apply(view, decision)
        status = report(view, decision)
        if status != view.service.status:
            before = view.service.status
            await self._context.recorder.report("InferenceService", view.service.metadata, before, status)
            if status.rollout.stable != view.service.status.rollout.stable:
                self._tell_sites(view)
        return decision.rollout.look if decision.rollout else None

    async def _apply(self, view: ServiceView, decision: ServiceDecision) -> None:
        client, world, metadata = self._context.client, self._context.world, view.service.metadata
        if decision.servers and view.wanted is not None:
            kept = controller_revision(metadata.namespace, metadata.uid, view.wanted)
            if world.revisions.get(f"{metadata.namespace}/{kept['metadata']['name']}") is None:
                await client.apply(kept)
        for server in decision.servers:
            wanted = deployment(server)
            await apply_changed(client, wanted, world.deployments.get(f"{metadata.namespace}/{server.name}"))
        await self._apply_entry(view)
        for obj in decision.retired:
            # Status churn changes a Deployment all the time, so the UID alone is the precondition; that
            # its replacement is ready was just read from pods.
            await client.delete(without_version(obj))
        for obj in world.revisions.by("service", view.key):
            if obj["metadata"]["labels"][LABEL_REVISION] in decision.forgotten:
                await client.delete(obj)

    async def _apply_entry(self, view: ServiceView) -> None:
        client, world, metadata = self._context.client, self._context.world, view.service.metadata
        entry = access.service(metadata.namespace, metadata.name, metadata.uid)
        live = world.service_objects.get(view.key)
        if live is None:
            other = await client.get(SERVICE, metadata.namespace, metadata.name)
            if (
                other is not None
                and (other["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) != MANAGED_BY
            ):
                raise TerminalError(
                    f"a Service {view.key} exists that is not ours; rename it or the InferenceService"
                )
        await apply_changed(client, entry, live)
        slice_ = access.endpoint_slice(metadata.namespace, metadata.name, metadata.uid, view.routers)
        key = f"{metadata.namespace}/{slice_['metadata']['name']}"
        await apply_changed(client, slice_, world.endpoint_slices.get(key))

    def _tell_sites(self, view: ServiceView) -> None:
        for site in view.edges:
            self._context.enqueue("EdgeSite", site.name, 0)

    def _forget(self, key: str) -> None:
        self._context.traffic.pop(key, None)
