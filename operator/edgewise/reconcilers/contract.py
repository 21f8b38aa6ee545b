"""The contract between the engine and the reconcilers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

#: A pass over one key: everything is read from the store, `None` means done until something changes,
#: a number means look again in so many seconds.
Reconcile = Callable[[str], Awaitable[float | None]]


class TerminalError(Exception):
    """Trying again changes nothing: the object or the installation has to change first."""
