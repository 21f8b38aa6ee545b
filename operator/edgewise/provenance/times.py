"""Times as text: RFC 3339, in UTC, to the second."""

import re
from datetime import UTC, datetime
from typing import Final

from edgewise.provenance.strictjson import JsonError

_RFC3339: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def parse_time(text: str, where: str) -> datetime:
    """Read `2026-01-31T08:00:00Z`; JsonError for any other form."""
    if not _RFC3339.fullmatch(text):
        raise JsonError(f"{where}: wanted a time such as 2026-01-31T08:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise JsonError(f"{where}: {text} is not in the calendar") from None


def format_time(moment: datetime) -> str:
    """Write a time in UTC, cut to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
