"""The OMS statement: which files a signer vouches for (OpenSSF Model Signing, predicate v1.0).

In-toto statement v1 with predicate `https://model_signing/signature/v1.0`, method `files`. Read only after
its signature held. What is refused, and why, was learned from breaking other verifiers: signer-chosen ignored
paths, an empty manifest, one name twice, names that leave the directory, legacy predicates, duplicate keys.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from edgewise.provenance import dsse, reasons
from edgewise.provenance.digests import HEX, Digest, tree_digest
from edgewise.provenance.errors import ProvenanceError, printable
from edgewise.provenance.names import problem_of, set_problem_of
from edgewise.provenance.strictjson import Fields, JsonError, parse_object

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
OMS_PREDICATE: Final = "https://model_signing/signature/v1.0"
#: Paths that the `model-signing` tool writes into every statement by default. Harmless to declare: a file of
#: the artifact under one of them is unsigned, and therefore refused, like any other unsigned file.
TOOL_IGNORES: Final = frozenset({".git", ".gitattributes", ".github", ".gitignore"})


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """What one OMS statement vouches for.

    Attributes:
        model: the name in the subject. The signer's directory name, so evidence at best, never identity.
        files: sha256 (hex) by path; never empty.
    """

    model: str
    files: dict[str, str]

    @property
    def tree(self) -> Digest:
        """The typed digest of these files."""
        return tree_digest(self.files.items())


def read_oms(
    envelope: dsse.Envelope, *, allowed_ignores: frozenset[str], max_files: int, max_bytes: int
) -> SignedFiles:
    """Read the statement inside a verified envelope.

    Args:
        envelope: its signature was checked by the caller.
        allowed_ignores: paths that the policy lets a signer leave out, beside TOOL_IGNORES.
        max_files: more resources than this are refused.
        max_bytes: limit for the payload.

    Raises:
        ProvenanceError: StatementInvalid with the first rule that is broken.
    """
    try:
        return _read(envelope, allowed_ignores, max_files, max_bytes)
    except JsonError as error:
        raise ProvenanceError(reasons.STATEMENT_INVALID, str(error)) from error


def _read(envelope: dsse.Envelope, allowed: frozenset[str], max_files: int, max_bytes: int) -> SignedFiles:
    if envelope.payload_type != dsse.IN_TOTO:
        raise JsonError(f"payload type {printable(envelope.payload_type)}: wanted {dsse.IN_TOTO}")
    statement = Fields(parse_object(envelope.payload, max_bytes=max_bytes), "statement")
    _wanted("statement._type", statement.text("_type"), STATEMENT_TYPE)
    _wanted("statement.predicateType", statement.text("predicateType"), OMS_PREDICATE)
    model, root = _subject(statement)
    predicate = statement.fields("predicate")
    statement.done()
    _serialization(predicate.fields("serialization"), allowed)
    resources = predicate.items("resources")
    predicate.done()
    if not resources:
        raise JsonError("the statement lists no files: a signature over nothing vouches for nothing")
    if len(resources) > max_files:
        raise JsonError(f"{len(resources)} files, the policy allows {max_files}")
    pairs = [_resource(resource, index) for index, resource in enumerate(resources)]
    if problem := set_problem_of([path for path, _ in pairs]):
        raise JsonError(f"the statement's file names collide: {problem}")
    computed = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in pairs)).hexdigest()
    _wanted("the subject's sha256", root, computed)
    return SignedFiles(model, dict(pairs))


def _subject(statement: Fields) -> tuple[str, str]:
    subjects = statement.items("subject")
    if len(subjects) != 1:
        raise JsonError(f"statement.subject: {len(subjects)} subjects, an OMS statement has one")
    subject = Fields(subjects[0], "statement.subject[0]")
    name = subject.text("name", "")
    digest = subject.fields("digest")
    root = digest.text("sha256")
    digest.done()
    subject.done()
    return name, root


def _serialization(fields: Fields, allowed: frozenset[str]) -> None:
    method = fields.text("method")
    if method != "files":
        raise JsonError(
            f"serialization.method {printable(method)}: only 'files' is checked; sign whole files"
        )
    _wanted("serialization.hash_type", fields.text("hash_type"), "sha256")
    if fields.take("allow_symlinks") is not False:
        raise JsonError("serialization.allow_symlinks: symbolic links are refused; sign the files themselves")
    for path in fields.texts("ignore_paths", required=False):
        if path not in allowed | TOOL_IGNORES:
            raise JsonError(f"the signer ignored {printable(path)}, which the policy does not allow")
    fields.done()


def _resource(value: object, index: int) -> tuple[str, str]:
    fields = Fields(value, f"resources[{index}]")
    path, digest = fields.text("name"), fields.text("digest")
    _wanted(f"resources[{index}].algorithm", fields.text("algorithm"), "sha256")
    fields.done()
    if problem := problem_of(path):
        raise JsonError(f"resources[{index}].name {printable(path)} {problem}")
    if not HEX.fullmatch(digest):
        raise JsonError(f"resources[{index}].digest: wanted 64 lower-case hex digits")
    return path, digest


def _wanted(what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise JsonError(f"{what} is {printable(found)}, wanted {wanted}")
