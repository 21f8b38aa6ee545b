"""What the signatures of one variant prove, under one policy's limits. Signatures first, content second."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edgewise.provenance import dsse, reasons
from edgewise.provenance.artifact import Artifact
from edgewise.provenance.bundle import read_bundle
from edgewise.provenance.digests import Digest, File, sha256_hex
from edgewise.provenance.errors import ProvenanceError, printable
from edgewise.provenance.policy import ArtifactLimits, Authority, TrustPolicy
from edgewise.provenance.statement import SignedFiles, read_oms


@dataclass(frozen=True, slots=True)
class Finding:
    """One bundle that does not count, and why."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Signed:
    """The authorities whose signatures over exactly these files hold, and the bundles that did not help."""

    by: dict[str, str]  # authority name -> sha256 of the bundle that it signed
    files: tuple[File, ...]
    findings: tuple[Finding, ...]


def gather_signed(
    policy: TrustPolicy, artifact: Artifact, digest: Digest, bundles: Sequence[bytes], now: datetime
) -> Signed:
    """Try every bundle against every authority of the policy."""
    by: dict[str, str] = {}
    findings: list[Finding] = []
    mounted = mounted_files(artifact, policy.artifact)
    for data in bundles:
        name = f"bundle sha256:{sha256_hex(data)[:12]}"
        try:
            for authority in _who_signed(policy, mounted, digest, data, now):
                by.setdefault(authority.name, sha256_hex(data))
        except ProvenanceError as error:
            findings.append(Finding(error.reason, f"{name}: {error.message}"))
    return Signed(by, mounted, tuple(findings))


def mounted_files(artifact: Artifact, limits: ArtifactLimits) -> tuple[File, ...]:
    """The artifact's files without those that the policy lets a signature ignore; those are never mounted."""
    return tuple(file for file in artifact.files if file.path not in limits.allowed_ignores)


def _who_signed(
    policy: TrustPolicy, mounted: tuple[File, ...], digest: Digest, data: bytes, now: datetime
) -> list[Authority]:
    limits = policy.artifact
    bundle = read_bundle(data, max_bytes=limits.max_bundle_bytes)
    # The hint is not signed. It only narrows the keys: a bundle means one key, not "any that fits".
    keys = [a.key for a in policy.authorities if not bundle.hint or bundle.hint in a.key.hints]
    signers = dsse.signers(bundle.envelope, keys)
    who = [authority for authority in policy.authorities if authority.key.id in signers]
    if not who:
        raise ProvenanceError(reasons.SIGNATURE_MISSING, _stranger(bundle.hint, bool(keys), policy))
    valid = [a for a in who if a.not_after is None or now < a.not_after]
    if not valid:
        raise ProvenanceError(
            reasons.KEY_EXPIRED, f"signed by {describe(who)}, whose key is past its notAfter; sign again"
        )
    signed = read_oms(
        bundle.envelope,
        allowed_ignores=limits.allowed_ignores,
        max_files=limits.max_files,
        max_bytes=limits.max_bundle_bytes,
    )
    _same_files(signed, mounted, digest, describe(valid))
    return valid


def describe(authorities: Sequence[Authority]) -> str:
    """Names and key ids for a message."""
    return ", ".join(f"{authority.name} (key {authority.key.id[:12]})" for authority in authorities)


def _stranger(hint: str, known: bool, policy: TrustPolicy) -> str:
    wanted = describe(policy.authorities)
    if known:
        return f"the signature does not hold under {wanted}: altered, or made by another key"
    return f"signed by key {printable(hint[:16])}, which no authority has; the policy knows {wanted}"


def _same_files(signed: SignedFiles, mounted: tuple[File, ...], digest: Digest, who: str) -> None:
    """One to one: every file is signed, every signed file is there, and together they are the digest."""
    present = {file.path: file.sha256 for file in mounted}
    extra = sorted(set(present) - set(signed.files))
    missing = sorted(set(signed.files) - set(present))
    changed = sorted(p for p in set(present) & set(signed.files) if present[p] != signed.files[p])
    for paths, what in (
        (extra, "the artifact has files that are not signed"),
        (missing, "the artifact lacks signed files"),
        (changed, "files differ from the signed ones"),
    ):
        if paths:
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            shown = ", ".join(printable(path) for path in paths[:3])
            raise ProvenanceError(reasons.CONTENT_MISMATCH, f"{who} signed, but {what}: {shown}{more}")
    if signed.tree != digest:
        raise ProvenanceError(
            reasons.CONTENT_MISMATCH,
            f"{who} signed {signed.tree}, the variant says {digest}; correct the digest",
        )
