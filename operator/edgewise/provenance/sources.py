"""Where models come from: one canonical spelling of a source, and patterns over it.

A policy matches sources by text, so every source has exactly one text. Another spelling of the same place
(upper case, a default port, an encoding) is refused instead of repaired: repaired here, it might be matched
unrepaired elsewhere.
"""

import re
from dataclasses import dataclass
from typing import Final

from edgewise.provenance import reasons
from edgewise.provenance.errors import ProvenanceError, printable

#: Host names, IPv4, and IPv6 in brackets; lower case.
_HOST: Final = r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])"
_PORT: Final = r"(?::(?P<port>[1-9][0-9]{0,4}))?"
#: OCI distribution specification 1.1, the grammar of <name>.
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_SOURCE: Final = re.compile(
    rf"oci://(?P<host>{_HOST}){_PORT}/(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)@sha256:(?P<digest>[0-9a-f]{{64}})"
)
_PATTERN: Final = re.compile(rf"oci://(?P<host>{_HOST}){_PORT}/(?P<path>[a-z0-9._*/-]+)")
MAX_SOURCE_LENGTH: Final = 512
_DEFAULT_PORT: Final = "443"
_WANTED: Final = "oci://host[:port]/repository@sha256:<hex>, lower case, without tag, user or default port"


@dataclass(frozen=True, slots=True)
class Source:
    """One artifact in one registry.

    Attributes:
        authority: host, and the port unless it is the default.
        repository: path of the repository.
        digest: sha256 (hex) of the manifest.
    """

    authority: str
    repository: str
    digest: str

    def __str__(self) -> str:
        return f"{self.place}@sha256:{self.digest}"

    @property
    def place(self) -> str:
        """The source without its digest: what patterns are matched against."""
        return f"oci://{self.authority}/{self.repository}"


def parse_source(text: str) -> Source:
    """Read a canonical source.

    Raises:
        ProvenanceError: SourceInvalid, for every other spelling.
    """
    match = _SOURCE.fullmatch(text) if len(text) <= MAX_SOURCE_LENGTH else None
    if match is None or not _port_is_canonical(match["port"]):
        raise ProvenanceError(reasons.SOURCE_INVALID, f"source {printable(text, 120)}: wanted {_WANTED}")
    return Source(_authority(match), match["repository"], match["digest"])


def pattern_problem(pattern: str) -> str:
    """Why `pattern` cannot be matched against sources, or "" when it can.

    The host is literal; `*` stands for one path component, or a part of one; `**` as a component stands for
    one or more of them.
    """
    match = _PATTERN.fullmatch(pattern) if len(pattern) <= MAX_SOURCE_LENGTH else None
    if match is None or not _port_is_canonical(match["port"]):
        return "wanted oci://host[:port]/path, with * inside a component and ** for any number of them"
    for part in match["path"].split("/"):
        if not part or part in {".", ".."} or ("**" in part and part != "**"):
            return f"the component {part!r} cannot be matched"
    return ""


def pattern_matches(pattern: str, source: Source) -> bool:
    """Whether a pattern without problems covers the source."""
    match = _PATTERN.fullmatch(pattern)
    if match is None or _authority(match) != source.authority:
        return False
    expression = "/".join(_component_expression(part) for part in match["path"].split("/"))
    return re.fullmatch(expression, source.repository) is not None


def _component_expression(part: str) -> str:
    if part == "**":
        return r"[^/]+(?:/[^/]+)*"
    return "[^/]*".join(re.escape(piece) for piece in part.split("*"))


def _port_is_canonical(port: str | None) -> bool:
    return port is None or (int(port) < 65536 and port != _DEFAULT_PORT)


def _authority(match: re.Match[str]) -> str:
    return match["host"] if match["port"] is None else f"{match['host']}:{match['port']}"
