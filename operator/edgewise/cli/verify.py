"""``edgewise verify``: who signed a model, offline, by the code that decides in the operator."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgewise.provenance.digests import Digest, File
    from edgewise.provenance.policy import TrustPolicy
    from edgewise.provenance.request import Evidence

VERIFIED, DENIED, UNTRIED = 0, 1, 2
_WORDS: Final = {VERIFIED: "verified", DENIED: "denied", UNTRIED: "error"}
_DIGEST: Final = "sha256:"
ABOUT: Final = (
    "Check a model's signature without a cluster or a network. Exit 0: verified, 1: denied, 2: could not be "
    "judged. The sources and namespaces that a policy matches are not asked about: they belong to a cluster."
)


class UntriedError(Exception):
    """Nothing was judged: usage, or a file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out: the exit code, a reason for programs, a message for people, and what it rests on."""

    code: int
    reason: str
    message: str
    evidence: tuple[Evidence, ...] = ()


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser("verify", help="check who signed a model, offline", description=ABOUT)
    command.add_argument(
        "--artifact", required=True, metavar="PATH|sha256:...", help="a folder, a file, or a file's digest"
    )
    command.add_argument("--bundle", type=Path, action="append", required=True, metavar="FILE")
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--policy", type=Path, metavar="FILE", help="TrustPolicies in YAML; all have to hold")
    who.add_argument("--key", type=Path, metavar="PEM", help="the one public key that counts")
    command.add_argument("--digest", help="what the artifact must be: sha256:..., tree:sha256:...")
    command.add_argument("--now", help="judge as of this time (RFC 3339), instead of the clock's")
    command.add_argument(
        "--ignore-path", action="append", default=[], metavar="PATH", help="not a part of the model"
    )
    command.add_argument("--output", choices=["text", "json"], default="text")


def run(arguments: argparse.Namespace) -> int:
    """Judge and print."""
    from edgewise.provenance.errors import ProvenanceError
    from edgewise.provenance.publickeys import UnusableKeyError
    from edgewise.provenance.signer import UnsignableError
    from edgewise.provenance.strictjson import JsonError

    try:
        outcome = _judge(arguments)
    except ProvenanceError as error:
        outcome = Outcome(DENIED, error.reason, error.message)
    except UnsignableError as error:
        outcome = Outcome(DENIED, "ArtifactInvalid", str(error))
    except (UntriedError, UnusableKeyError, JsonError, OSError) as error:
        outcome = Outcome(UNTRIED, "NotJudged", str(error))
    _print(outcome, arguments.output)
    return outcome.code


def _print(outcome: Outcome, form: str) -> None:
    word = _WORDS[outcome.code]
    if form == "json":
        from edgewise.provenance.request import evidence_to_json

        found = {
            "verdict": word,
            "reason": outcome.reason,
            "message": outcome.message,
            "evidence": [evidence_to_json(evidence) for evidence in outcome.evidence],
        }
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        stream = sys.stdout if outcome.code == VERIFIED else sys.stderr
        stream.write(f"{word}: {outcome.reason}: {outcome.message}\n")


def _judge(arguments: argparse.Namespace) -> Outcome:
    from edgewise.provenance import reasons
    from edgewise.provenance.artifact import Artifact
    from edgewise.provenance.judge import satisfy

    now = _now(arguments.now)
    ignored = _ignored(arguments)
    bundles = [path.read_bytes() for path in arguments.bundle]
    policies = [
        replace(
            policy,
            artifact=replace(policy.artifact, allowed_ignores=policy.artifact.allowed_ignores | ignored),
        )
        for policy in (_policies(arguments.policy) if arguments.policy else [_policy_of_key(arguments.key)])
    ]
    files, digest = _artifact(arguments.artifact, ignored, bundles)
    _demand(arguments.digest, files, digest)
    evidence: list[Evidence] = []
    for policy in policies:
        evidence += satisfy(policy, Artifact("", files), digest, bundles, now)
    if not any(policy.enforce for policy in policies):
        return Outcome(DENIED, reasons.NO_POLICY, "every policy is in Audit mode, which grants nothing")
    who = ", ".join(sorted({f"{found.authority} (key {found.key[:12]})" for found in evidence}))
    message = f"{digest}, {len(files)} files, signed by {who}"
    return Outcome(VERIFIED, reasons.POLICY_SATISFIED, message, tuple(evidence))


def _now(text: str | None) -> datetime:
    from edgewise.provenance.times import parse_time

    return parse_time(text, "--now") if text else datetime.now(UTC)


def _ignored(arguments: argparse.Namespace) -> frozenset[str]:
    """Paths that are no part of the model: those that were named, and bundles that lie inside."""
    from edgewise.provenance.signer import SIGNATURE_NAMES

    folder = Path(arguments.artifact)
    inside = {
        path.resolve().relative_to(folder.resolve()).as_posix()
        for path in arguments.bundle
        if folder.is_dir() and path.resolve().is_relative_to(folder.resolve())
    }
    return SIGNATURE_NAMES | inside | frozenset(arguments.ignore_path)


def _artifact(
    text: str, ignored: frozenset[str], bundles: Sequence[bytes]
) -> tuple[tuple[File, ...], Digest]:
    """The files that were named, and what they are together."""
    from edgewise.provenance.digests import tree_digest
    from edgewise.provenance.signer import hash_file, list_files

    files: tuple[File, ...]
    if text.startswith(_DIGEST):
        files = (_named_by_bundle(text, bundles),)
    elif Path(text).is_dir():
        files = list_files(Path(text), ignored)
    else:
        files = (hash_file(Path(text), Path(text).name),)
    return files, tree_digest((file.path, file.sha256) for file in files)


def _named_by_bundle(text: str, bundles: Sequence[bytes]) -> File:
    """A digest has no name: it is taken from what was signed, and has to be signed for to count."""
    from edgewise.provenance.bundle import read_bundle
    from edgewise.provenance.digests import HEX, File
    from edgewise.provenance.errors import ProvenanceError
    from edgewise.provenance.signer import SIGNATURE_NAMES
    from edgewise.provenance.statement import read_oms

    digest = text.removeprefix(_DIGEST)
    if not HEX.fullmatch(digest):
        raise UntriedError(f"--artifact {text[:80]}: wanted sha256: and 64 lower-case hex digits")
    for data in bundles:
        try:
            bundle = read_bundle(data, max_bytes=16 << 20)
            signed = read_oms(
                bundle.envelope, allowed_ignores=SIGNATURE_NAMES, max_files=100_000, max_bytes=16 << 20
            )
        except ProvenanceError:
            continue
        if len(signed.files) == 1:
            return File(next(iter(signed.files)), digest, 0)
    raise ProvenanceError(
        "ContentMismatch", "a digest alone can be checked against a bundle over one file, and none is that"
    )


def _demand(wanted: str | None, files: Sequence[File], digest: Digest) -> None:
    from edgewise.provenance import reasons
    from edgewise.provenance.errors import ProvenanceError

    if wanted is None:
        return
    known = {str(digest), f"{_DIGEST}{digest.hex}"}
    if len(files) == 1:
        known |= {f"{_DIGEST}{files[0].sha256}", f"file:{_DIGEST}{files[0].sha256}"}
    if wanted not in known:
        raise ProvenanceError(reasons.CONTENT_MISMATCH, f"the artifact is {digest}, wanted {wanted[:80]}")


def _policies(path: Path) -> list[TrustPolicy]:
    """Every TrustPolicy of a file."""
    import yaml

    from edgewise.provenance.digests import canonical_sha256
    from edgewise.provenance.policy import read_policy

    try:
        documents = [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UntriedError(f"{path}: {error}") from error
    found = []
    for document in documents:
        if not isinstance(document, dict) or document.get("kind") != "TrustPolicy":
            continue
        metadata, spec = document.get("metadata"), document.get("spec")
        name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
        try:
            found.append(read_policy(name, canonical_sha256(spec), spec))
        except ValueError as error:
            raise UntriedError(f"{path}, TrustPolicy {name}: {error}") from error
    if not found:
        raise UntriedError(f"{path} holds no TrustPolicy")
    return found


def _policy_of_key(path: Path) -> TrustPolicy:
    """The policy that one key says: whatever it signed."""
    from edgewise.provenance.policy import ArtifactLimits, Authority, Match, Requirement, TrustPolicy
    from edgewise.provenance.publickeys import load_public_key
    from edgewise.provenance.selector import Selector

    try:
        pem = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UntriedError(f"{path} is no PEM: {error}") from error
    return TrustPolicy(
        name=str(path),
        sha256="",
        match=Match((), Selector({})),
        enforce=True,
        authorities=(Authority("key", load_public_key(pem), None),),
        require=(Requirement("signature", ("key",), 1),),
        formats=frozenset(),
        artifact=ArtifactLimits(),
    )
