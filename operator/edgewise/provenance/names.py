"""Names of files inside a model. A name is accepted or refused, never cleaned."""

import unicodedata
from typing import Final

#: Linux allows 4,096 bytes a path and 255 a component; the mount point needs some of the former.
MAX_PATH_BYTES: Final = 1024
MAX_COMPONENT_BYTES: Final = 255


def problem_of(path: str) -> str:
    """Why `path` may not be a file of a model, or "" when it may.

    Wanted: relative, `/` between components, NFC, no `.` or `..` or empty component, no backslash, no control
    or invisible formatting character, no `.git` directory (nothing in it is part of a model, and tools skip
    it, so it is where unsigned files hide).
    """
    if not path:
        return "is empty"
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if len(encoded) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if path.startswith("/"):
        return "is absolute"
    if "\\" in path:
        return "has a backslash"
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in path):
        return "has a control or invisible character"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode form NFC"
    return next(filter(None, map(_component_problem, path.split("/"))), "")


def set_problem_of(paths: list[str]) -> str:
    """Why these paths cannot be one directory: a path twice (but for case), or a file that is a folder."""
    seen: dict[str, str] = {}
    for path in paths:
        folded = path.casefold()
        if folded in seen:
            return (
                f"{path!r} and {seen[folded]!r} are one name" if seen[folded] != path else f"{path!r} twice"
            )
        seen[folded] = path
    for path in paths:
        parts = path.casefold().split("/")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in seen:
                return f"{'/'.join(parts[:end])!r} is a file and a directory"
    return ""


def _component_problem(part: str) -> str:
    if part == "":
        return "has an empty component"
    if part in {".", ".."}:
        return f"has the component {part!r}"
    if part.casefold() == ".git":
        return "is inside a .git directory"
    if len(part.encode("utf-8")) > MAX_COMPONENT_BYTES:
        return f"has a component longer than {MAX_COMPONENT_BYTES} bytes"
    return ""
