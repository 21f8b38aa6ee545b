"""The one error of this package's boundary."""


class ProvenanceError(Exception):
    """Something is not as it has to be. It always denies.

    Attributes:
        reason: a constant of `reasons`.
        message: what was found, what was wanted, and what to do; safe to show (no bytes of the input beyond
            short, printable names).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


def printable(text: object, limit: int = 80) -> str:
    """Show `text` from outside in a message: escaped and cut to `limit` characters."""
    shown = ascii(text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
