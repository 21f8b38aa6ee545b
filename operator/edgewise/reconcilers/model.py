"""EdgeModel: fetch what is signed, have it judged, sign the verdicts, and say so in the status."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from edgewise.api import conditions as c
from edgewise.api.edgemodel import EdgeModel, EdgeModelStatus, Variant, VariantStatus
from edgewise.api.edgemodel import Verdict as SignedVerdict
from edgewise.cluster.views import NamespaceView
from edgewise.provenance import reasons
from edgewise.provenance.digests import canonical_sha256
from edgewise.provenance.fetch import fetch_variant
from edgewise.provenance.keys import VerdictKeys
from edgewise.provenance.oci import Registry
from edgewise.provenance.process import VerifierProcess
from edgewise.provenance.request import PolicySpec, Request, VariantInput, VariantJudgement
from edgewise.provenance.verdict import build_verdict, sign_verdict, still_stands
from edgewise.reconcilers.context import Context, ModelJudgement, stamp
from edgewise.reconcilers.evidence import EvidenceCopies
from edgewise.rollout import revision as revisions

#: A model that is denied is looked at again after so many seconds: its signature may come later.
RETRY_SECONDS: Final = 30.0
#: A verdict in force is looked at again after so many seconds, to be renewed in time.
RENEW_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Signer:
    """The operator's verdict key, and the keys that nodes accept."""

    private_pem: bytes
    keys: VerdictKeys


class ModelReconciler:
    """Judges models: the current version, and the versions that kept revisions need."""

    def __init__(
        self, context: Context, verifier: VerifierProcess, registry: Registry, signer: Signer
    ) -> None:
        self._context = context
        self._verifier = verifier
        self._registry = registry
        self._signer = signer
        self._copies = EvidenceCopies(context)
        #: What was asked and answered last, by model.
        self._answers: dict[str, list[tuple[Request, VariantJudgement]]] = {}

    async def __call__(self, key: str) -> float | None:
        """One pass over a model."""
        context = self._context
        model = context.world.models.get(key)
        namespace = context.world.namespaces.get(key.split("/")[0])
        if model is None or namespace is None:
            self._answers.pop(key, None)
            if context.judgements.pop(key, None) is not None:
                self._tell_services(key)
            return None
        wanted = self._versions(key, model)
        policies = self._policies()
        inputs = self._inputs(model, wanted, policies, namespace)
        known = context.judgements.get(key)
        now, fresh = context.now(), False
        if known is None or known.inputs != inputs or not _holds(known, wanted, now):
            requests = await self._requests(model, wanted, policies, namespace, now)
            answers = [(request, await self._verifier.judge(request)) for request in requests]
            self._answers[key] = [
                (request, answer) for request, judged in answers for answer in judged.variants
            ]
            context.judgements[key] = _judgement(inputs, self._answers[key])
            fresh = True
        status = self._status(model, self._answers[key], now)
        if status != model.status:
            await context.recorder.report("EdgeModel", model.metadata, model.status, status)
        if _holds(context.judgements[key], wanted, now):
            await self._copies.keep(model, _inputs_of(self._answers[key]))
        if fresh:
            # After the verdict stands: a node that mounts at once has to find it.
            self._tell_services(key)
        judged = context.judgements[key]
        return RENEW_SECONDS if _holds(judged, wanted, now) else RETRY_SECONDS

    def _versions(self, key: str, model: EdgeModel) -> dict[str, list[Variant]]:
        """Variants to judge by version: the model's own, and those of revisions that are kept."""
        wanted = {model.spec.version: list(model.spec.variants)}
        digests = {variant.digest for variant in model.spec.variants}
        for obj in self._context.world.revisions.by("model", key):
            revision = revisions.parse(obj["data"])
            for variant in revision.variants:
                if variant.digest not in digests:
                    digests.add(variant.digest)
                    wanted.setdefault(revision.version, []).append(variant)
        return wanted

    def _policies(self) -> tuple[PolicySpec, ...]:
        return tuple(
            PolicySpec(obj["metadata"]["name"], canonical_sha256(obj["spec"]), obj["spec"])
            for obj in self._context.world.trust_policies
        )

    def _inputs(
        self,
        model: EdgeModel,
        wanted: dict[str, list[Variant]],
        policies: tuple[PolicySpec, ...],
        namespace: NamespaceView,
    ) -> tuple[object, ...]:
        """Everything that a judgement depends on; equal inputs need no new one."""
        return (
            model.metadata.uid,
            tuple(
                (version, variant.name, variant.uri, variant.digest, variant.format)
                for version, variants in sorted(wanted.items())
                for variant in variants
            ),
            tuple(sorted((policy.name, policy.sha256) for policy in policies)),
            tuple(sorted(namespace.labels.items())),
            self._signer.keys.keys[0].key.id,
        )

    async def _requests(
        self,
        model: EdgeModel,
        wanted: dict[str, list[Variant]],
        policies: tuple[PolicySpec, ...],
        namespace: NamespaceView,
        now: datetime,
    ) -> list[Request]:
        requests = []
        for version, variants in wanted.items():
            fetched = await asyncio.gather(*(self._gather(model, variant) for variant in variants))
            requests.append(
                Request(
                    cluster=self._context.cluster,
                    namespace=namespace.name,
                    labels=namespace.labels,
                    model=model.metadata.name,
                    model_uid=model.metadata.uid,
                    version=version,
                    variants=tuple(fetched),
                    policies=policies,
                    now=now,
                )
            )
        return requests

    async def _gather(self, model: EdgeModel, variant: Variant) -> VariantInput:
        """Manifest and bundles of a variant: kilobytes. What goes wrong becomes part of the judgement."""
        fetched = await asyncio.to_thread(
            fetch_variant, self._registry, variant.name, variant.uri, variant.digest, variant.format
        )
        return await self._copies.recall(model.metadata, fetched)

    def _status(
        self, model: EdgeModel, judged: list[tuple[Request, VariantJudgement]], now: datetime
    ) -> EdgeModelStatus:
        own = [answer for request, answer in judged if request.version == model.spec.version]
        old = {verdict.digest: verdict for verdict in model.status.verdicts}
        verdicts = [
            self._verdict(request, answer, old.get(answer.digest))
            for request, answer in judged
            if answer.verified
        ]
        conditions = _conditions(own, model.metadata.generation)
        return EdgeModelStatus(
            observed_generation=model.metadata.generation,
            conditions=c.merge(model.status.conditions, conditions, stamp(now)),
            variants=[_variant_status(answer) for answer in own],
            verdicts=verdicts,
            used_by=self._used_by(f"{model.metadata.namespace}/{model.metadata.name}"),
        )

    def _verdict(
        self, request: Request, answer: VariantJudgement, old: SignedVerdict | None
    ) -> SignedVerdict:
        """The verdict that stands, when it says the same and has time left; else a new one."""
        now = self._context.now()
        verdict = build_verdict(replace(request, now=now), answer)
        if old is not None and still_stands(old.envelope, verdict, self._signer.keys, now):
            return old
        return SignedVerdict(
            variant=answer.name,
            digest=answer.digest,
            envelope=sign_verdict(verdict, self._signer.private_pem),
        )

    def _used_by(self, key: str) -> int:
        return len(self._context.world.services.by("model", key))

    def _tell_services(self, key: str) -> None:
        for service in self._context.world.services.by("model", key):
            name = f"{service.metadata.namespace}/{service.metadata.name}"
            self._context.enqueue("InferenceService", name, 0)


def _holds(judgement: ModelJudgement, wanted: dict[str, list[Variant]], now: datetime) -> bool:
    """Whether every variant passed and the passes are still good, so that nothing needs to be asked."""
    digests = {variant.digest for variants in wanted.values() for variant in variants}
    return digests <= judgement.verified and (judgement.expires is None or now < judgement.expires)


def _inputs_of(answers: Iterable[tuple[Request, VariantJudgement]]) -> Iterator[VariantInput]:
    for request, answer in answers:
        yield next(variant for variant in request.variants if variant.name == answer.name)


def _judgement(
    inputs: tuple[object, ...], judged: Iterable[tuple[Request, VariantJudgement]]
) -> ModelJudgement:
    answers = [answer for _, answer in judged]
    ends = [answer.expires for answer in answers if answer.expires is not None]
    return ModelJudgement(
        inputs=inputs,
        verified=frozenset(answer.digest for answer in answers if answer.verified),
        message="; ".join(f"{answer.name}: {answer.message}" for answer in answers if not answer.verified),
        expires=min(ends) if ends else None,
    )


def _conditions(answers: list[VariantJudgement], generation: int) -> list[c.Condition]:
    denied = [answer for answer in answers if not answer.verified]
    if denied:
        reason = denied[0].reason
        message = "; ".join(f"{answer.name}: {answer.message}" for answer in denied)
        return [
            c.condition(c.VERIFIED, False, reason, message, generation),
            c.condition(c.READY, False, reason, "not verified, so it is not placed", generation),
        ]
    signers: dict[str, set[str]] = defaultdict(set)
    for answer in answers:
        for evidence in answer.evidence:
            signers[evidence.authority].add(evidence.key[:12])
    by = ", ".join(f"{name} (key {', '.join(sorted(keys))})" for name, keys in sorted(signers.items()))
    message = f"signed by {by}; {len(answers)} of {len(answers)} variants"
    return [
        c.condition(c.VERIFIED, True, reasons.POLICY_SATISFIED, message, generation),
        c.condition(c.READY, True, reasons.POLICY_SATISFIED, message, generation),
    ]


def _variant_status(answer: VariantJudgement) -> VariantStatus:
    return VariantStatus(
        name=answer.name,
        digest=answer.digest,
        verified=answer.verified,
        reason=answer.reason,
        message=answer.message[:2048],
        signers=sorted({evidence.authority for evidence in answer.evidence}),
    )
