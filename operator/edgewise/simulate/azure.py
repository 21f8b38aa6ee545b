"""Invocations per minute from the public Azure Functions trace of 2019.

The files ``invocations_per_function_md.anon.dNN.csv`` have one line a function and day: HashOwner, HashApp,
HashFunction, Trigger, and the columns 1 to 1440 with the invocations of each minute. (Shahrad and others,
Serverless in the Wild, USENIX ATC 2020; github.com/Azure/AzurePublicDataset.) The data set says nothing
below a minute: how a minute's requests lie in it is this simulator's assumption (arrivals.py).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.simulate.scenario import ScenarioError

MINUTES: Final = 1440
_NAMES: Final = ("HashOwner", "HashApp", "HashFunction", "Trigger")


def minute_counts(path: Path, function: str, first: int, minutes: int) -> NDArray[np.float64]:
    """Invocations of one function in `minutes` minutes from minute `first` (1 to 1440) on.

    Args:
        path: a file of the data set.
        function: how its HashFunction begins; empty means the busiest of the file.
        first: minute of the day to begin at.
        minutes: how many; after the last minute of the day the first follows.

    Raises:
        ScenarioError: no such file, another format, no such function, or one that is never invoked.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            day = _find(csv.reader(lines), path, function)
    except OSError as error:
        raise ScenarioError(
            f"{path}: {error.strerror}; wanted a file of the Azure Functions trace"
        ) from error
    picked = np.resize(np.roll(day, -(first - 1)), minutes)
    if picked.sum() <= 0:
        raise ScenarioError(
            f"{path}: nothing was invoked in these {minutes} minutes; choose another firstMinute"
        )
    return picked


def _find(rows: Iterator[list[str]], path: Path, function: str) -> NDArray[np.float64]:
    """The line of the function wanted, or of the busiest one."""
    header = next(rows, [])
    if tuple(header[:4]) != _NAMES or len(header) != 4 + MINUTES:
        raise ScenarioError(
            f"{path} begins with {','.join(header[:5])!r} and has {len(header)} columns; wanted"
            f" {','.join(_NAMES)} and the minutes 1 to {MINUTES}"
        )
    best: NDArray[np.float64] | None = None
    for row in rows:
        if function and not row[2].startswith(function):
            continue
        try:
            day = np.array(row[4:], dtype=np.float64)
        except ValueError as error:
            raise ScenarioError(f"{path}: line of {row[2][:12]} has {error}; wanted counts") from error
        if len(day) != MINUTES:
            raise ScenarioError(f"{path}: line of {row[2][:12]} has {len(day)} minutes; wanted {MINUTES}")
        if function:
            return day
        if best is None or day.sum() > best.sum():
            best = day
    if best is None:
        raise ScenarioError(f"{path} has no function that begins with {function!r}")
    return best
