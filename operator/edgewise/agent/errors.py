"""Why a volume is not mounted, in the terms of gRPC, so that the kubelet's event carries our text."""

from enum import Enum
from typing import Final

#: gRPC trailers hold 8 KiB; an event 1 KiB. More text than this helps nobody.
MAX_TEXT: Final = 900


class Code(Enum):
    """The gRPC status codes in use, by name."""

    #: The pod asks wrongly; only another pod spec helps.
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    #: Not verified, or the bytes are not what the verdict says. Trying again helps only once that changes.
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    #: Under way, or the source is away. The kubelet's next call goes on.
    UNAVAILABLE = "UNAVAILABLE"
    #: No space on the disk, or the quota is used up.
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    #: A mistake of ours or of the node.
    INTERNAL = "INTERNAL"


class AgentError(Exception):
    """A call that cannot be answered well: a code, a reason word, and what to do.

    Attributes:
        code: gRPC status code.
        reason: a word for metrics.
        message: for the pod's event.
    """

    def __init__(self, code: Code, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}"[:MAX_TEXT])
        self.code = code
        self.reason = reason
        self.message = message
