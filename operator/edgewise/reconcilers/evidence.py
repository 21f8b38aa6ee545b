"""Copies of what was fetched for a model: kept when it passed, taken when the registry is away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgewise.api.edgemodel import EdgeModel
from edgewise.api.meta import Metadata
from edgewise.cluster.resources import CONTROLLER_REVISION, Object
from edgewise.provenance.request import VariantInput
from edgewise.reconcilers.context import Context
from edgewise.render.evidence import evidence_copy, read_copy, source_mark


class EvidenceCopies:
    """The copies in the models' own namespaces. An offline site judges from them, at a restart, say."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def recall(self, metadata: Metadata, fetched: VariantInput) -> VariantInput:
        """`fetched`, or where that has a problem the copy that is kept, when there is one."""
        if not fetched.problem:
            return fetched
        mark = source_mark(fetched.uri)
        for copy in self._of(metadata):
            if copy["metadata"]["labels"].get("edgewise.dev/source") != mark:
                continue
            whole = await self._context.client.get(
                CONTROLLER_REVISION, metadata.namespace, copy["metadata"]["name"]
            )
            known = read_copy(whole.get("data"), fetched.uri) if whole is not None else None
            if known is not None:
                return replace(fetched, manifest=known[0], bundles=known[1], problem="")
        return fetched

    async def keep(self, model: EdgeModel, passed: Iterable[VariantInput]) -> None:
        """Keep copies of just these variants. No request when they are there."""
        metadata, client = model.metadata, self._context.client
        wanted: dict[str, Object] = {}
        for variant in passed:
            copy = evidence_copy(
                metadata.namespace,
                metadata.name,
                metadata.uid,
                variant.uri,
                variant.manifest,
                variant.bundles,
            )
            if copy is not None:
                wanted[copy["metadata"]["name"]] = copy
        live = {copy["metadata"]["name"]: copy for copy in self._of(metadata)}
        for name in wanted.keys() - live.keys():
            await client.apply(wanted[name])
        for name in live.keys() - wanted.keys():
            await client.delete(live[name])

    def _of(self, metadata: Metadata) -> list[Object]:
        return self._context.world.revisions.by("evidence", f"{metadata.namespace}/{metadata.name}")
