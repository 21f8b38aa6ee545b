"""The verdict: the operator's signed word that a namespace may mount a digest. Checked again on every node.

A DSSE envelope around an in-toto statement (predicate `https://edgewise.dev/verdict/v1`). It is no bearer
token: cluster, namespace, model and digest have to be those of the pod that asks.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from edgewise.provenance import dsse, reasons
from edgewise.provenance.digests import HEX, Digest, File, canonical_json, parse_digest, tree_digest
from edgewise.provenance.errors import ProvenanceError, printable
from edgewise.provenance.keys import VerdictKeys
from edgewise.provenance.names import problem_of, set_problem_of
from edgewise.provenance.publickeys import load_private_key
from edgewise.provenance.request import (
    Evidence,
    Request,
    VariantJudgement,
    evidence_from_json,
    evidence_to_json,
    files_from_json,
)
from edgewise.provenance.sources import parse_source
from edgewise.provenance.statement import STATEMENT_TYPE
from edgewise.provenance.strictjson import Fields, JsonError, parse_object
from edgewise.provenance.times import format_time, parse_time

PREDICATE: Final = "https://edgewise.dev/verdict/v1"
#: The longest envelope that the EdgeModel's status takes; others have to fit beside it (1.5 MiB an object).
MAX_VERDICT_BYTES: Final = 256 * 1024
#: How long a verdict counts when no evidence ends earlier: so long may a site be cut off and still place.
LIFETIME: Final = timedelta(days=30)
#: Clocks of nodes and operator may differ by this much.
CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class PolicyHash:
    """A policy that was satisfied: its name and the hash of its content."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that the operator vouches for. Field by field: provenance, "The verdict"."""

    cluster: str
    namespace: str
    model: str
    model_uid: str
    version: str
    variant: str
    digest: Digest
    format: str
    sources: tuple[str, ...]
    files: tuple[File, ...]
    policies: tuple[PolicyHash, ...]
    authorities: tuple[Evidence, ...]
    issued: datetime
    expires: datetime

    def content(self) -> "Verdict":
        """The same verdict without its times, to tell whether a new one would say anything new."""
        epoch = datetime.fromtimestamp(0, self.issued.tzinfo)
        return replace(self, issued=epoch, expires=epoch)

    def wants_renewal(self, now: datetime) -> bool:
        """Whether half of its life is over. Renewing it restarts no pod."""
        return now >= self.issued + (self.expires - self.issued) / 2


@dataclass(frozen=True, slots=True)
class Expectation:
    """Who asks: the kubelet's word on the pod, and the pod's on what it wants."""

    namespace: str
    model: str
    digest: str


def build_verdict(request: Request, judgement: VariantJudgement, lifetime: timedelta = LIFETIME) -> Verdict:
    """Turn a passed judgement into a verdict issued at `request.now`.

    Raises:
        ProvenanceError: the judgement did not pass; nothing else may ever be signed.
    """
    if not judgement.verified:
        raise ProvenanceError(judgement.reason, judgement.message)
    variant = next(v for v in request.variants if v.name == judgement.name)
    end = request.now + lifetime
    return Verdict(
        cluster=request.cluster,
        namespace=request.namespace,
        model=request.model,
        model_uid=request.model_uid,
        version=request.version,
        variant=variant.name,
        digest=parse_digest(judgement.digest),
        format=variant.format,
        sources=judgement.sources,
        files=judgement.files,
        policies=tuple(PolicyHash(p.name, p.sha256) for p in judgement.policies if p.mode == "Enforce"),
        authorities=judgement.evidence,
        issued=request.now,
        expires=end if judgement.expires is None else min(end, judgement.expires),
    )


def sign_verdict(verdict: Verdict, private_pem: bytes) -> str:
    """The envelope as compact JSON text, ready for `status.verdicts[].envelope`.

    Raises:
        ProvenanceError: ArtifactTooLarge, when the list of files does not fit into an object's status.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": str(verdict.digest), "digest": {"sha256": verdict.digest.hex}}],
        "predicateType": PREDICATE,
        "predicate": {
            "cluster": verdict.cluster,
            "namespace": verdict.namespace,
            "model": verdict.model,
            "modelUid": verdict.model_uid,
            "version": verdict.version,
            "variant": verdict.variant,
            "digest": str(verdict.digest),
            "format": verdict.format,
            "sources": list(verdict.sources),
            "files": [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in verdict.files],
            "policies": [{"name": p.name, "sha256": p.sha256} for p in verdict.policies],
            "authorities": [evidence_to_json(evidence) for evidence in verdict.authorities],
            "issued": format_time(verdict.issued),
            "expires": format_time(verdict.expires),
        },
    }  # fmt: skip
    envelope = dsse.sign_envelope(canonical_json(statement), load_private_key(private_pem))
    text = json.dumps(envelope, separators=(",", ":"), sort_keys=True)
    if len(text) > MAX_VERDICT_BYTES:
        raise ProvenanceError(
            reasons.ARTIFACT_TOO_LARGE,
            f"{len(verdict.files)} files make a verdict of {len(text)} bytes, {MAX_VERDICT_BYTES} fit "
            "into status; publish the model in fewer files",
        )
    return text


def still_stands(envelope: str, verdict: Verdict, keys: VerdictKeys, now: datetime) -> bool:
    """Whether a published envelope may stay instead of a new one for `verdict`.

    It may when it says the same, has more than half of its life left, and is signed by the newest key.
    Writing nothing then is what keeps a pass over an unchanged model free of requests.
    """
    newest = VerdictKeys(keys.cluster, (max(keys.keys, key=lambda entry: entry.not_before),))
    try:
        standing = read_verdict(envelope, newest, now)
    except ProvenanceError:
        return False
    return standing.content() == verdict.content() and not standing.wants_renewal(now)


def read_verdict(envelope: str, keys: VerdictKeys, now: datetime, *, running: bool = False) -> Verdict:
    """Check the signature and the times, and read the verdict.

    Args:
        envelope: text of `status.verdicts[].envelope`, from wherever.
        keys: the keys that this node trusts.
        now: aware time.
        running: the pod with this very verdict runs already, so its end (and its key's) no longer matters.

    Raises:
        ProvenanceError: VerdictInvalid, VerdictUntrusted, VerdictExpired, or VerdictMismatch (the cluster).
    """
    try:
        parsed = dsse.read_envelope(parse_object(envelope.encode(), max_bytes=MAX_VERDICT_BYTES), "verdict")
    except (JsonError, UnicodeEncodeError) as error:
        raise ProvenanceError(reasons.VERDICT_INVALID, str(error)) from error
    signers = dsse.signers(parsed, [entry.key for entry in keys.keys])
    if not signers:
        claimed = parsed.signatures[0].keyid
        raise ProvenanceError(
            reasons.VERDICT_UNTRUSTED,
            f"the verdict is not signed by this cluster's operator: key {printable(claimed[:16])}, "
            f"known {', '.join(entry.key.id[:12] for entry in keys.keys)}",
        )
    try:
        verdict = _read(parsed)
    except (JsonError, ProvenanceError) as error:
        raise ProvenanceError(reasons.VERDICT_INVALID, str(error)) from error
    if verdict.cluster != keys.cluster:
        raise ProvenanceError(
            reasons.VERDICT_MISMATCH, f"the verdict is for cluster {verdict.cluster}, this is {keys.cluster}"
        )
    if not running:
        _in_time(verdict, keys, signers, now)
    return verdict


def demand(verdict: Verdict, wanted: Expectation) -> None:
    """The verdict is about the pod that asks, or it is worth nothing.

    Raises:
        ProvenanceError: VerdictMismatch, naming the first difference.
    """
    for what, found, asked in (
        ("namespace", verdict.namespace, wanted.namespace),
        ("model", verdict.model, wanted.model),
        ("digest", str(verdict.digest), wanted.digest),
    ):
        if found != asked:
            raise ProvenanceError(
                reasons.VERDICT_MISMATCH,
                f"the verdict is for {what} {found}, the pod asks for {printable(asked)}",
            )


def _in_time(verdict: Verdict, keys: VerdictKeys, signers: frozenset[str], now: datetime) -> None:
    if verdict.issued > now + CLOCK_SKEW:
        raise ProvenanceError(
            reasons.VERDICT_EXPIRED,
            f"issued {format_time(verdict.issued)}, and this node's clock says {format_time(now)}; set it",
        )
    if now >= verdict.expires:
        raise ProvenanceError(
            reasons.VERDICT_EXPIRED,
            f"the verdict ended {format_time(verdict.expires)}, now {format_time(now)}",
        )
    for entry in keys.keys:
        if (
            entry.key.id in signers
            and entry.not_before - CLOCK_SKEW <= verdict.issued
            and (entry.not_after is None or now < entry.not_after)
        ):
            return
    raise ProvenanceError(
        reasons.VERDICT_EXPIRED,
        "the key that signed the verdict has been replaced, or is younger than the verdict",
    )


def _read(envelope: dsse.Envelope) -> Verdict:
    if envelope.payload_type != dsse.IN_TOTO:
        raise JsonError(f"payload type {printable(envelope.payload_type)}: wanted {dsse.IN_TOTO}")
    statement = Fields(parse_object(envelope.payload, max_bytes=MAX_VERDICT_BYTES), "verdict")
    if (statement.text("_type"), statement.text("predicateType")) != (STATEMENT_TYPE, PREDICATE):
        raise JsonError(f"not a verdict: wanted predicate type {PREDICATE}")
    subjects = statement.items("subject")
    p = statement.fields("predicate")
    statement.done()
    verdict = Verdict(
        cluster=p.text("cluster"),
        namespace=p.text("namespace"),
        model=p.text("model"),
        model_uid=p.text("modelUid"),
        version=p.text("version"),
        variant=p.text("variant"),
        digest=parse_digest(p.text("digest")),
        format=p.text("format"),
        sources=tuple(p.texts("sources")),
        files=files_from_json(p.items("files"), "verdict.files"),
        policies=tuple(_policy(item) for item in p.items("policies")),
        authorities=tuple(evidence_from_json(item, "verdict.authorities") for item in p.items("authorities")),
        issued=parse_time(p.text("issued"), "verdict.issued"),
        expires=parse_time(p.text("expires"), "verdict.expires"),
    )
    p.done()
    if subjects != [{"name": str(verdict.digest), "digest": {"sha256": verdict.digest.hex}}]:
        raise JsonError("the subject is not the verdict's digest")
    _sound(verdict)
    return verdict


def _sound(verdict: Verdict) -> None:
    """The signer is ourselves, but the node writes these names to its disk: check them here, too."""
    for file in verdict.files:
        if (problem := problem_of(file.path)) or not HEX.fullmatch(file.sha256):
            raise JsonError(f"file {printable(file.path)} {problem or 'has no sha256'}")
    if problem := set_problem_of([file.path for file in verdict.files]):
        raise JsonError(f"file names collide: {problem}")
    if tree_digest((file.path, file.sha256) for file in verdict.files) != verdict.digest:
        raise JsonError("the files do not add up to the digest")
    if not verdict.sources:
        raise JsonError("no source")
    for source in verdict.sources:
        parse_source(source)


def _policy(item: object) -> PolicyHash:
    fields = Fields(item, "verdict.policies")
    policy = PolicyHash(fields.text("name"), fields.text("sha256"))
    fields.done()
    return policy
