"""What can go wrong, in the words that the caller or the operator of the server reads."""

from __future__ import annotations


class ServingError(Exception):
    """Base of everything that this package raises on purpose; its text is made for people."""


class SettingsError(ServingError):
    """An environment variable is missing or has a value that cannot be meant."""


class ModelError(ServingError):
    """The model cannot be loaded, or fails on a request that looked right. Not the caller's fault."""


class RequestError(ServingError):
    """A request that cannot be answered as it stands.

    Attributes:
        status: HTTP status, 4xx.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        """Keep the text and the status that go to the caller."""
        super().__init__(message)
        self.status = status
