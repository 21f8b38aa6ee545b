"""The decision: bytes in, judgement out. Pure; `now` is part of the request.

A variant is verified for a namespace when at least one Enforce policy matches (namespace, source), every
matching Enforce policy is satisfied in full, and all signatures are about exactly the digest to be mounted.
The checks run in the order of CHECKS; the first that objects decides. Anything unforeseen denies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

from edgewise.provenance import reasons
from edgewise.provenance.artifact import Artifact, read_artifact
from edgewise.provenance.digests import Digest, canonical_sha256, parse_digest
from edgewise.provenance.errors import ProvenanceError, printable
from edgewise.provenance.evidence import Signed, describe, gather_signed, mounted_files
from edgewise.provenance.policy import Requirement, TrustPolicy, read_match, read_policy
from edgewise.provenance.request import (
    Evidence,
    Judgement,
    PolicySpec,
    PolicyUse,
    Request,
    VariantInput,
    VariantJudgement,
)
from edgewise.provenance.sources import Source, parse_source
from edgewise.provenance.strictjson import JsonError

#: Bundles looked at for one variant. An attacker who may push referrers must not buy our time with thousands.
MAX_BUNDLES: Final = 32


@dataclass(slots=True)
class Case:
    """One variant under judgement. Each check reads what the earlier ones established, and adds its own."""

    request: Request
    variant: VariantInput
    source: Source | None = None
    digest: Digest | None = None
    policies: tuple[TrustPolicy, ...] = ()
    artifact: Artifact | None = None
    evidence: list[Evidence] = field(default_factory=list)
    uses: list[PolicyUse] = field(default_factory=list)


#: The verdict lists every file and has to fit, as base64, into a field of 256 KiB of the EdgeModel's status.
MAX_LISTED_BYTES: Final = 180_000
#: Bytes that a file takes in that list beside its path: names of fields, 64 digits of hash, the size.
_LISTED_OVERHEAD: Final = 112

Check = Callable[[Case], None]


def judge(request: Request) -> Judgement:
    """Judge every variant of the request on its own."""
    return Judgement(tuple(_judge_variant(request, variant) for variant in request.variants))


def _judge_variant(request: Request, variant: VariantInput) -> VariantJudgement:
    case = Case(request, variant)
    try:
        for check in CHECKS:
            check(case)
    except ProvenanceError as error:
        return VariantJudgement(
            variant.name, variant.digest, False, error.reason, error.message, policies=tuple(case.uses)
        )
    except Exception as error:  # a mistake of ours, found by somebody's input: it denies, for this variant
        message = f"the verifier failed on this input ({type(error).__name__}); please report it"
        return VariantJudgement(variant.name, variant.digest, False, reasons.VERIFIER_FAILED, message)
    return _passed(case)


def source_is_canonical(case: Case) -> None:
    """One place has one spelling, and names its content by digest."""
    case.source = parse_source(case.variant.uri)


def digest_can_be_mounted(case: Case) -> None:
    """Models are mounted as directories, so the digest is a tree's."""
    case.digest = parse_digest(case.variant.digest)
    if case.digest.kind != "tree":
        raise ProvenanceError(
            reasons.DIGEST_UNSUPPORTED,
            f"digest {case.digest}: a model is mounted as a directory; state its tree:sha256: digest",
        )


def policies_are_understood(case: Case) -> None:
    """Find the policies that match. One that cannot be read, where it might match, denies."""
    matching = []
    for stored in case.request.policies:
        try:
            policy = _matching_policy(stored, case)
        except (JsonError, ValueError) as error:
            raise ProvenanceError(
                reasons.POLICY_INVALID,
                f"TrustPolicy {printable(stored.name)}: {error}; correct it or delete it",
            ) from error
        if policy is not None:
            matching.append(policy)
    case.policies = tuple(matching)


def a_policy_grants_the_read(case: Case) -> None:
    """No policy, no model. An Audit policy alone grants nothing."""
    if any(policy.enforce for policy in case.policies):
        return
    request, source = case.request, _known(case.source)
    audit = [policy.name for policy in case.policies]
    hint = f" (only in Audit mode: {', '.join(audit)})" if audit else ""
    raise ProvenanceError(
        reasons.NO_POLICY,
        f"no TrustPolicy in Enforce mode lets namespace {request.namespace} use {source.place}{hint}; "
        f"{len(request.policies)} policies exist",
    )


def everything_was_fetched(case: Case) -> None:
    """What could not be read is not assumed."""
    if case.variant.problem:
        raise ProvenanceError(reasons.SOURCE_UNAVAILABLE, case.variant.problem)


def artifact_is_a_model(case: Case) -> None:
    """The manifest has the digest that the source names, and lists single files with sound names."""
    case.artifact = read_artifact(case.variant.manifest, _known(case.source).digest)


def format_is_allowed(case: Case) -> None:
    """A format that runs code of its publisher needs a policy that lists it."""
    for policy in _enforced(case):
        if case.variant.format not in policy.formats:
            raise ProvenanceError(
                reasons.FORMAT_NOT_ALLOWED,
                f"format {printable(case.variant.format)}: policy {policy.name} allows "
                f"{', '.join(sorted(policy.formats))}",
            )


def artifact_is_small_enough(case: Case) -> None:
    """Limits of every policy hold."""
    artifact = _known(case.artifact)
    listed = sum(len(file.path.encode()) + _LISTED_OVERHEAD for file in artifact.files)
    if listed > MAX_LISTED_BYTES:
        raise ProvenanceError(
            reasons.ARTIFACT_TOO_LARGE,
            f"{len(artifact.files)} files: their list of {listed} bytes does not fit into a verdict "
            f"({MAX_LISTED_BYTES}); publish the model in fewer files",
        )
    for policy in _enforced(case):
        limits = policy.artifact
        if len(artifact.files) > limits.max_files or artifact.size > limits.max_bytes:
            raise ProvenanceError(
                reasons.ARTIFACT_TOO_LARGE,
                f"{len(artifact.files)} files, {artifact.size} bytes: policy {policy.name} allows "
                f"{limits.max_files} files, {limits.max_bytes} bytes",
            )


def something_is_signed(case: Case) -> None:
    """Unsigned is its own reason, because its remedy is another one."""
    count = len(case.variant.bundles)
    if not count:
        raise ProvenanceError(
            reasons.UNSIGNED,
            f"{_known(case.source)} has no signature attached; sign the model and attach the bundle",
        )
    if count > MAX_BUNDLES:
        raise ProvenanceError(
            reasons.BUNDLE_INVALID, f"{count} bundles attached, at most {MAX_BUNDLES} are read"
        )


def policies_are_satisfied(case: Case) -> None:
    """Every Enforce policy holds in full. Audit policies are judged too, and only reported."""
    denial: ProvenanceError | None = None
    for policy in case.policies:
        mode = "Enforce" if policy.enforce else "Audit"
        use = PolicyUse(policy.name, policy.sha256, mode)
        try:
            evidence = _satisfied(policy, case)
        except ProvenanceError as error:
            use = replace(use, objection=f"{error.reason}: {error.message}")
            if policy.enforce:
                denial = denial or error
        else:
            if policy.enforce:
                case.evidence.extend(evidence)
        case.uses.append(use)
    if denial is not None:
        raise denial


#: In order: cheap and certain first, cryptography last.
CHECKS: Final[tuple[Check, ...]] = (
    source_is_canonical,
    digest_can_be_mounted,
    policies_are_understood,
    a_policy_grants_the_read,
    everything_was_fetched,
    artifact_is_a_model,
    format_is_allowed,
    artifact_is_small_enough,
    something_is_signed,
    policies_are_satisfied,
)


def _matching_policy(stored: PolicySpec, case: Case) -> TrustPolicy | None:
    if canonical_sha256(stored.spec) != stored.sha256:
        raise JsonError("its content is not what its hash says")
    if not read_match(stored.spec).covers(case.request.labels, _known(case.source)):
        return None
    return read_policy(stored.name, stored.sha256, stored.spec)


def _satisfied(policy: TrustPolicy, case: Case) -> list[Evidence]:
    return satisfy(policy, _known(case.artifact), _known(case.digest), case.variant.bundles, case.request.now)


def satisfy(
    policy: TrustPolicy, artifact: Artifact, digest: Digest, bundles: Sequence[bytes], now: datetime
) -> list[Evidence]:
    """The evidence that one policy is satisfied in full, by signatures over exactly these files.

    Whom the policy is about is not asked here.

    Raises:
        ProvenanceError: it is not, with the most telling reason.
    """
    signed = gather_signed(policy, artifact, digest, bundles, now)
    return [evidence for requirement in policy.require for evidence in _required(policy, requirement, signed)]


def _required(policy: TrustPolicy, requirement: Requirement, signed: Signed) -> list[Evidence]:
    """Count distinct keys, so that one key under two names is still one signer."""
    wanted = [authority for authority in policy.authorities if authority.name in requirement.any_of]
    relied = {authority.key.id: authority for authority in wanted if authority.name in signed.by}
    if len(relied) >= requirement.threshold:
        return [
            Evidence(policy.name, requirement.name, authority.name, key, signed.by[authority.name])
            for key, authority in sorted(relied.items())
        ]
    found = f"signed by {describe(list(relied.values()))}" if relied else "no signature of theirs counts"
    details = "; ".join(finding.message for finding in signed.findings[:4])
    # The most telling finding names the reason; with none, another authority of the policy had signed.
    reason = min((f.reason for f in signed.findings), key=_telling, default=reasons.SIGNATURE_MISSING)
    raise ProvenanceError(
        reason,
        f"policy {policy.name}, requirement {requirement.name}: wanted {requirement.threshold} of "
        f"[{describe(wanted)}], {found}" + (f": {details}" if details else ""),
    )


def _telling(reason: str) -> int:
    """A trusted signer's mistake says more than a stranger's signature, and that more than a broken file."""
    order = (
        reasons.CONTENT_MISMATCH,
        reasons.STATEMENT_INVALID,
        reasons.KEY_EXPIRED,
        reasons.SIGNATURE_MISSING,
    )
    return order.index(reason) if reason in order else len(order)


def _passed(case: Case) -> VariantJudgement:
    """All checks held. The evidence that ends first ends the judgement."""
    relied = {(evidence.policy, evidence.authority) for evidence in case.evidence}
    ends = [
        authority.not_after
        for policy in _enforced(case)
        for authority in policy.authorities
        if (policy.name, authority.name) in relied and authority.not_after is not None
    ]
    names = sorted({f"{e.authority} (key {e.key[:12]})" for e in case.evidence})
    policies = [policy.name for policy in _enforced(case)]
    return VariantJudgement(
        name=case.variant.name,
        digest=str(case.digest),
        verified=True,
        reason=reasons.POLICY_SATISFIED,
        message=f"signed by {', '.join(names)} as {', '.join(policies)} asks",
        evidence=tuple(case.evidence),
        policies=tuple(case.uses),
        files=mounted_files(_known(case.artifact), _enforced(case)[0].artifact),
        sources=(str(case.source),),
        expires=min(ends, default=None),
    )


def _enforced(case: Case) -> tuple[TrustPolicy, ...]:
    return tuple(policy for policy in case.policies if policy.enforce)


_T = TypeVar("_T")


def _known(value: _T | None) -> _T:
    """A fact that an earlier check established; without it nothing can be said, so nothing is allowed."""
    if value is None:
        raise ProvenanceError(reasons.VERIFIER_FAILED, "a check ran before the one that it builds on")
    return value
