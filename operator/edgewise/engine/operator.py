"""The operator process: connect, fill the world, hold the lease, reconcile until told to end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, cast

import kopf

from edgewise.catalog import catalogue
from edgewise.cluster.client import Client
from edgewise.cluster.connect import connect
from edgewise.cluster.errors import ApiError
from edgewise.cluster.informer import Informer
from edgewise.cluster.lease import Lease
from edgewise.cluster.resources import CONFIG_MAP, DEPLOYMENT, NAMESPACE
from edgewise.cluster.world import CHILDREN, World
from edgewise.engine import health, intake, sweep
from edgewise.engine.queue import Key, WorkQueue
from edgewise.engine.settings import ProcessSettings
from edgewise.engine.verdict_keys import ensure_signer
from edgewise.engine.wiring import Wiring
from edgewise.engine.workers import work
from edgewise.provenance.oci import Registry
from edgewise.provenance.process import VerifierProcess
from edgewise.provenance.transport import Transport
from edgewise.reconcilers.context import Context, Settings
from edgewise.reconcilers.contract import Reconcile
from edgewise.reconcilers.model import ModelReconciler, Signer
from edgewise.reconcilers.service import ServiceReconciler
from edgewise.reconcilers.site import DiscoveryReconciler, SiteReconciler
from edgewise.reconcilers.traffic import TrafficReconciler
from edgewise.signals.scrape import Scraper

_LOG = logging.getLogger(__name__)
LEASE_NAME: Final = "edgewise-operator"


class Operator:
    """One operator process. `run` ends when it is cancelled, or when a part of it fails for good."""

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._queue = WorkQueue()
        self._world = World(catalogue.builtin())
        self._verifier = VerifierProcess()
        self._scraper = Scraper()
        self._synced = False

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then drain and let go of the lease."""
        settings = self._settings
        client = await connect(settings.kubeconfig, settings.rate, settings.burst)
        lease = Lease(client, settings.namespace, LEASE_NAME, settings.identity)
        client.may_write = lease.held
        runners = await health.serve(settings.health_port, settings.metrics_port, lambda: self._synced)
        try:
            await _patiently(lambda: sweep.fill(client, self._world))
            async with asyncio.TaskGroup() as group:
                watches = [group.create_task(run) for run in self._watches(client, stop)]
                watches.append(group.create_task(lease.run()))
                await self._children_synced()
                self._synced = True
                workers = group.create_task(self._lead(client, lease, stop))
                await workers
                for watch in watches:
                    watch.cancel()
        finally:
            await self._verifier.close()
            await self._scraper.close()
            await lease.release()
            await client.close()
            for runner in runners:
                await runner.cleanup()

    def _watches(self, client: Client, stop: asyncio.Event) -> list[Any]:
        self._informers = [
            Informer(
                client, resource, table, CHILDREN, self._settings.namespace if resource is CONFIG_MAP else ""
            )
            for resource, table in self._world.children()
        ]
        return [
            *(informer.run() for informer in self._informers),
            sweep.sweep_for_ever(client, self._world),
            kopf.operator(
                registry=intake.registry(self._world),
                # Kopf would ask for the name of a user that a container need not have.
                identity=cast(Any, self._settings.identity),
                clusterwide=True,
                stop_flag=stop,
            ),
        ]

    async def _children_synced(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()

    async def _lead(self, client: Client, lease: Lease, stop: asyncio.Event) -> None:
        """Wait for the lease, then reconcile everything, and from then on whatever changes."""
        stopped = asyncio.create_task(stop.wait())
        acquired = asyncio.create_task(lease.acquired.wait())
        await asyncio.wait({stopped, acquired}, return_when=asyncio.FIRST_COMPLETED)
        acquired.cancel()
        if stop.is_set():
            return
        context, signer = await self._context(client)
        reconcilers = self._reconcilers(context, signer)
        Wiring(self._world, self._queue.add)
        for kind, table in self._world.own().items():
            for key in table.keys() if kind in reconcilers else ():
                self._queue.add(Key(kind, key))
        for name in self._world.sites.keys():  # noqa: SIM118
            self._queue.add(Key("Traffic", name))
        self._queue.add(Key("Discovery", "nodes"))
        _LOG.info("leading with %d keys", len(self._queue))
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._settings.workers):
                workers.create_task(work(self._queue, reconcilers))
            await stopped
            self._queue.close()

    async def _context(self, client: Client) -> tuple[Context, Signer]:
        settings = self._settings
        system = await _patiently(lambda: client.get(NAMESPACE, "", "kube-system"))
        cluster = system["metadata"]["uid"] if system else ""
        owner = await _patiently(lambda: self._owner(client))
        context = Context(
            client=client,
            world=self._world,
            catalogue=catalogue.builtin(),
            settings=Settings(
                namespace=settings.namespace,
                images=settings.images,
                plain_http=settings.plain_http,
                discovered_sites_allow_all=settings.discovered_sites_allow_all,
                owner=owner,
            ),
            enqueue=self._enqueue,
            cluster=cluster,
        )
        signer = await _patiently(
            lambda: ensure_signer(client, settings.namespace, cluster, owner, context.now())
        )
        return context, signer

    async def _owner(self, client: Client) -> tuple[dict[str, Any], ...]:
        name = self._settings.deployment
        live = await client.get(DEPLOYMENT, self._settings.namespace, name) if name else None
        if live is None:
            return ()
        uid = live["metadata"]["uid"]
        return ({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid},)

    def _reconcilers(self, context: Context, signer: Signer) -> dict[str, Reconcile]:
        registry = Registry(Transport(plain_http=self._settings.plain_http))
        return {
            "EdgeModel": ModelReconciler(context, self._verifier, registry, signer),
            "EdgeSite": SiteReconciler(context),
            "InferenceService": ServiceReconciler(context),
            "Traffic": TrafficReconciler(context, self._scraper),
            "Discovery": DiscoveryReconciler(context),
        }

    def _enqueue(self, kind: str, key: str, after: float) -> None:
        if after > 0:
            self._queue.add_after(Key(kind, key), after)
        else:
            self._queue.add(Key(kind, key))


async def _patiently(ask: Any) -> Any:
    """Ask the API server until it answers: at a start it may not be there yet."""
    wait = 0.5
    while True:
        try:
            return await ask()
        except ApiError as error:
            if error.status in {401, 403}:
                raise
            _LOG.warning("%s; again in %.1f s", error, wait)
            await asyncio.sleep(wait)
            wait = min(15.0, wait * 2)
