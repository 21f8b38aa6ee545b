"""What can go wrong in the lab, told as found, wanted and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """The base of every error that the lab raises on purpose; its text is for the person at the screen."""


class CommandFailedError(LabError):
    """A program that the lab ran ended with another code than 0.

    Attributes:
        argv: what was run.
        code: how it ended; negative for a signal.
        output: what it said, standard error after standard output.
    """

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        self.argv = tuple(argv)
        self.code = code
        self.output = output
        tail = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(f"`{' '.join(argv)}` ended with {code}:\n{tail}")


class NotReadyError(LabError):
    """Something did not come up in its time; the text names the log to read."""


class LeftoverError(LabError):
    """Something of the lab could not be removed; the text names it."""
