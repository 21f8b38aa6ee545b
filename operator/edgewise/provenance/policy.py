"""TrustPolicy as frozen values, read strictly from the `spec` of the object.

The CRD's schema has refused most nonsense already; this reader does not rely on it, because a policy may
come from a file, an older schema or a forged cache. A field that it does not know is an error: ignoring a
condition that the security officer wrote would loosen the policy silently.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from edgewise.provenance.publickeys import PublicKey, UnusableKeyError, load_public_key
from edgewise.provenance.selector import Selector, read_selector
from edgewise.provenance.sources import Source, pattern_matches, pattern_problem
from edgewise.provenance.strictjson import Fields, JsonError
from edgewise.provenance.times import parse_time

#: Formats that are data: reading one runs no code of the publisher. Others only when a policy lists them.
DATA_FORMATS: Final = frozenset(
    {"onnx", "tflite", "openvino", "hef", "edgetpu-tflite", "coreml", "xmodel", "dlc"}
)
_QUANTITY: Final = re.compile(r"([0-9]{1,15})(|k|M|G|T|Ki|Mi|Gi|Ti)")
_UNITS: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """Which pairs of namespace and source a policy is about."""

    sources: tuple[str, ...]
    namespaces: Selector

    def covers(self, labels: Mapping[str, str], source: Source) -> bool:
        """Whether the namespace is selected and a pattern covers the source."""
        return self.namespaces.covers(labels) and any(
            pattern_matches(pattern, source) for pattern in self.sources
        )


@dataclass(frozen=True, slots=True)
class Authority:
    """Who may sign: a name and a key. `not_after` is checked against the time of judging."""

    name: str
    key: PublicKey
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class Requirement:
    """`threshold` distinct keys out of the named authorities have to sign the same files."""

    name: str
    any_of: tuple[str, ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class ArtifactLimits:
    """How large a model may be, and what a signer may leave out."""

    allowed_ignores: frozenset[str] = frozenset({"model.sig"})
    max_files: int = 100_000
    max_bytes: int = 200 << 30
    max_bundle_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """One policy. `enforce` is False for Audit, which reports and never authorises."""

    name: str
    sha256: str
    match: Match
    enforce: bool
    authorities: tuple[Authority, ...]
    require: tuple[Requirement, ...]
    formats: frozenset[str]
    artifact: ArtifactLimits


def read_match(spec: object) -> Match:
    """Read `spec.match` alone, so that a broken policy for other namespaces is none of our concern.

    Raises:
        JsonError: it cannot be told whom the policy is about.
    """
    match = Fields(spec, "spec").fields("match")
    if (kind := match.text("kind", "Model")) != "Model":
        raise JsonError(f"spec.match.kind {kind[:40]!r}: only Model is checked")
    patterns = match.texts("sources")
    if not patterns:
        raise JsonError("spec.match.sources is empty")
    for pattern in patterns:
        if problem := pattern_problem(pattern):
            raise JsonError(f"spec.match.sources {ascii(pattern)[:120]}: {problem}")
    namespaces = read_selector(match.fields("namespaces"))
    match.done()
    return Match(tuple(patterns), namespaces)


def read_policy(name: str, sha256: str, spec: object) -> TrustPolicy:
    """Read a whole policy.

    Raises:
        JsonError: the first thing that is wrong, with its path.
    """
    fields = Fields(spec, "spec")
    match = read_match(spec)
    fields.ignore("match")  # read_match has read it strictly
    mode = fields.text("mode", "Enforce")
    if mode not in {"Enforce", "Audit"}:
        raise JsonError(f"spec.mode {mode[:40]!r}: wanted Enforce or Audit")
    authorities = tuple(_authority(item, index) for index, item in enumerate(fields.items("authorities")))
    by_name = {authority.name: authority for authority in authorities}
    if len(by_name) != len(authorities):
        raise JsonError("spec.authorities: a name appears twice")
    require = tuple(_requirement(item, i, by_name) for i, item in enumerate(fields.items("require")))
    if not require:
        raise JsonError("spec.require is empty: a policy that asks for nothing would trust everything")
    formats = DATA_FORMATS
    if "formats" in fields:
        section = fields.fields("formats")
        formats = frozenset(section.texts("allow"))
        section.done()
    limits = _limits(fields.fields("artifact")) if "artifact" in fields else ArtifactLimits()
    fields.done()
    return TrustPolicy(name, sha256, match, mode == "Enforce", authorities, require, formats, limits)


def _authority(value: object, index: int) -> Authority:
    fields = Fields(value, f"spec.authorities[{index}]")
    name = fields.text("name")
    key = fields.fields("key")
    try:
        public = load_public_key(key.text("pem"))
    except UnusableKeyError as error:
        raise JsonError(f"{key.where}.pem: {error}") from error
    not_after = parse_time(key.text("notAfter"), f"{key.where}.notAfter") if "notAfter" in key else None
    key.done()
    fields.done()
    return Authority(name, public, not_after)


def _requirement(value: object, index: int, authorities: Mapping[str, Authority]) -> Requirement:
    fields = Fields(value, f"spec.require[{index}]")
    name, any_of, threshold = fields.text("name"), fields.texts("anyOf"), fields.number("threshold", 1)
    fields.done()
    for wanted in any_of:
        if wanted not in authorities:
            raise JsonError(f"{fields.where}.anyOf: no authority is named {ascii(wanted)[:60]}")
    keys = {authorities[wanted].key.id for wanted in any_of}
    if not 1 <= threshold <= len(keys):
        raise JsonError(f"{fields.where}.threshold: {threshold} of {len(keys)} distinct keys can never hold")
    return Requirement(name, tuple(dict.fromkeys(any_of)), threshold)


def _limits(fields: Fields) -> ArtifactLimits:
    default = ArtifactLimits()
    ignores = default.allowed_ignores
    if "allowedIgnorePaths" in fields:
        ignores = frozenset(fields.texts("allowedIgnorePaths"))
    limits = ArtifactLimits(
        ignores,
        fields.number("maxFiles", default.max_files),
        _quantity(fields, "maxBytes", default.max_bytes),
        _quantity(fields, "maxBundleBytes", default.max_bundle_bytes),
    )
    fields.done()
    return limits


def _quantity(fields: Fields, name: str, default: int) -> int:
    """A Kubernetes quantity of bytes, as the API server stores it: text, or a whole number."""
    if name not in fields:
        return default
    value = fields.take(name)
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None or isinstance(value, bool):
        raise JsonError(f"{fields.where}.{name}: wanted a quantity such as 200Gi")
    return int(match[1]) * _UNITS[match[2]]
