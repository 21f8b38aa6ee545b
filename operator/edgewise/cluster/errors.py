"""What can go wrong between edgewise and the API server."""

from __future__ import annotations


class ApiError(Exception):
    """The API server refused a request, or could not be reached (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"API server unreachable: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class ConflictError(ApiError):
    """The object changed since the decision read it; decide again."""


class NotFoundError(ApiError):
    """The object, or the namespace it would live in, is not there."""


class GoneError(ApiError):
    """The resourceVersion of a watch is too old; list again."""


class NotLeaderError(Exception):
    """The lease is not held, so nothing may be written."""

    def __init__(self) -> None:
        super().__init__("the lease is not held: this replica is a standby and writes nothing")


def from_status(status: int, body: object) -> ApiError:
    """The error for a response status and the Status object that came with it."""
    reason, message = "", ""
    if isinstance(body, dict):
        reason, message = str(body.get("reason", "")), str(body.get("message", ""))
    match status:
        case 404:
            return NotFoundError(status, reason, message)
        case 409:
            return ConflictError(status, reason, message)
        case 410:
            return GoneError(status, reason, message)
        case _:
            return ApiError(status, reason, message)
