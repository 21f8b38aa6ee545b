"""What the verifier is asked, and what it answers: frozen values with a JSON form.

The request carries everything the decision needs, bytes included; the verifier fetches nothing and reads no
clock. The operator builds it, `edgewise verify` will build it too.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edgewise.provenance.digests import File
from edgewise.provenance.dsse import decode_base64
from edgewise.provenance.strictjson import Fields
from edgewise.provenance.times import format_time, parse_time


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """A TrustPolicy as stored: its name, `canonical_sha256(spec)`, and the `spec` itself."""

    name: str
    sha256: str
    spec: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class VariantInput:
    """One variant and what was fetched for it.

    Attributes:
        uri: `oci://host[:port]/repository@sha256:<hex>`.
        digest: typed digest, as in the EdgeModel.
        manifest: bytes of the OCI manifest (empty when it could not be fetched).
        bundles: every signature bundle found.
        problem: the fetcher's own words when something could not be fetched, else "".
    """

    name: str
    uri: str
    digest: str
    format: str
    manifest: bytes
    bundles: tuple[bytes, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """May this namespace use these variants?

    Attributes:
        cluster: UID of the namespace kube-system.
        labels: labels of the namespace, as the API server has them.
        now: aware time of judging.
    """

    cluster: str
    namespace: str
    labels: Mapping[str, str]
    model: str
    model_uid: str
    version: str
    variants: tuple[VariantInput, ...]
    policies: tuple[PolicySpec, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """One authority that a requirement relies on."""

    policy: str
    requirement: str
    authority: str
    key: str
    bundle: str


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy that matched: name, content hash, `Enforce` or `Audit`, and how it went ("" when it holds)."""

    name: str
    sha256: str
    mode: str
    objection: str = ""


@dataclass(frozen=True, slots=True)
class VariantJudgement:
    """The answer for one variant.

    Attributes:
        verified: whether the namespace may mount `digest`.
        reason: a constant of `reasons`.
        message: for people: what was found, what is wanted, what to do.
        files: what will be mounted; empty unless verified.
        sources: where the bytes may be fetched from; empty unless verified.
        expires: the earliest end of any evidence relied on; None when none ends.
    """

    name: str
    digest: str
    verified: bool
    reason: str
    message: str
    evidence: tuple[Evidence, ...] = ()
    policies: tuple[PolicyUse, ...] = ()
    files: tuple[File, ...] = ()
    sources: tuple[str, ...] = ()
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer for every variant, in the order of the request."""

    variants: tuple[VariantJudgement, ...]


def request_to_json(request: Request) -> dict[str, object]:
    """The JSON form that the verification process reads."""
    return {
        "cluster": request.cluster,
        "namespace": request.namespace,
        "labels": dict(request.labels),
        "model": request.model,
        "modelUid": request.model_uid,
        "version": request.version,
        "now": format_time(request.now),
        "policies": [{"name": p.name, "sha256": p.sha256, "spec": p.spec} for p in request.policies],
        "variants": [
            {
                "name": v.name,
                "uri": v.uri,
                "digest": v.digest,
                "format": v.format,
                "manifest": base64.b64encode(v.manifest).decode(),
                "bundles": [base64.b64encode(bundle).decode() for bundle in v.bundles],
                "problem": v.problem,
            }
            for v in request.variants
        ],
    }


def request_from_json(value: object) -> Request:
    """Read a request; JsonError when anything is missing or unknown."""
    fields = Fields(value, "request")
    policies = []
    for index, item in enumerate(fields.items("policies")):
        entry = Fields(item, f"request.policies[{index}]")
        spec = entry.take("spec")
        policies.append(
            PolicySpec(entry.text("name"), entry.text("sha256"), spec if isinstance(spec, dict) else {})
        )
        entry.done()
    variants = []
    for index, item in enumerate(fields.items("variants")):
        entry = Fields(item, f"request.variants[{index}]")
        bundles = tuple(decode_base64(text, f"{entry.where}.bundles") for text in entry.texts("bundles"))
        manifest = decode_base64(entry.text("manifest"), f"{entry.where}.manifest")
        variants.append(
            VariantInput(
                entry.text("name"),
                entry.text("uri"),
                entry.text("digest"),
                entry.text("format"),
                manifest,
                bundles,
                entry.text("problem"),
            )
        )
        entry.done()
    request = Request(
        cluster=fields.text("cluster"),
        namespace=fields.text("namespace"),
        labels=fields.text_map("labels"),
        model=fields.text("model"),
        model_uid=fields.text("modelUid"),
        version=fields.text("version"),
        variants=tuple(variants),
        policies=tuple(policies),
        now=parse_time(fields.text("now"), "request.now"),
    )
    fields.done()
    return request


def judgement_to_json(judgement: Judgement) -> dict[str, object]:
    """The JSON form of an answer."""
    return {"variants": [_variant_to_json(variant) for variant in judgement.variants]}


def judgement_from_json(value: object) -> Judgement:
    """Read an answer; JsonError when anything is missing or unknown."""
    fields = Fields(value, "judgement")
    variants = tuple(_variant_from_json(item, index) for index, item in enumerate(fields.items("variants")))
    fields.done()
    return Judgement(variants)


def _variant_to_json(v: VariantJudgement) -> dict[str, object]:
    return {
        "name": v.name,
        "digest": v.digest,
        "verified": v.verified,
        "reason": v.reason,
        "message": v.message,
        "evidence": [evidence_to_json(e) for e in v.evidence],
        "policies": [
            {"name": p.name, "sha256": p.sha256, "mode": p.mode, "objection": p.objection} for p in v.policies
        ],
        "files": [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in v.files],
        "sources": list(v.sources),
        "expires": "" if v.expires is None else format_time(v.expires),
    }  # fmt: skip


def _variant_from_json(value: object, index: int) -> VariantJudgement:
    fields = Fields(value, f"judgement.variants[{index}]")
    policies = [Fields(item, f"{fields.where}.policies") for item in fields.items("policies")]
    expires = fields.text("expires")
    answer = VariantJudgement(
        name=fields.text("name"),
        digest=fields.text("digest"),
        verified=fields.take("verified") is True,
        reason=fields.text("reason"),
        message=fields.text("message"),
        evidence=tuple(
            evidence_from_json(item, f"{fields.where}.evidence") for item in fields.items("evidence")
        ),
        policies=tuple(
            PolicyUse(p.text("name"), p.text("sha256"), p.text("mode"), p.text("objection")) for p in policies
        ),
        files=files_from_json(fields.items("files"), f"{fields.where}.files"),
        sources=tuple(fields.texts("sources")),
        expires=parse_time(expires, f"{fields.where}.expires") if expires else None,
    )
    fields.done()
    return answer


def evidence_to_json(evidence: Evidence) -> dict[str, str]:
    """The JSON form of one piece of evidence."""
    return {
        "policy": evidence.policy,
        "requirement": evidence.requirement,
        "authority": evidence.authority,
        "key": evidence.key,
        "bundle": evidence.bundle,
    }


def evidence_from_json(item: object, where: str) -> Evidence:
    """Read one piece of evidence; JsonError for anything else."""
    fields = Fields(item, where)
    names = ("policy", "requirement", "authority", "key", "bundle")
    evidence = Evidence(*(fields.text(name) for name in names))
    fields.done()
    return evidence


def files_from_json(items: list[object], where: str) -> tuple[File, ...]:
    """Read [{path, sha256, size}]; JsonError for anything else. Names are checked by those who use them."""
    files = []
    for item in items:
        fields = Fields(item, where)
        files.append(File(fields.text("path"), fields.text("sha256"), fields.number("size")))
        fields.done()
    return tuple(files)
