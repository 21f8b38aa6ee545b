"""A picture of a scenario: what was asked, what went wrong, what went to the cloud, and who is best at what.

matplotlib is loaded here and only when a plot is wanted; it comes with the extra ``simulate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.simulate.measure import Outcome
from edgewise.simulate.scenario import Scenario, ScenarioError

#: Seconds over which curves are smoothed.
SMOOTH = 10


def plot(path: Path, scenario: Scenario, results: Mapping[str, Sequence[Outcome]]) -> None:
    """Write a picture of the first seed's run and of all seeds' means; the suffix decides the format.

    Raises:
        ScenarioError: matplotlib is not installed, or the picture cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ScenarioError("a plot needs matplotlib: pip install 'edgewise[simulate]'") from error
    figure: Any = Figure(figsize=(11, 9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, width_ratios=(3, 2))
    _curves([figure.add_subplot(grid[row, 0]) for row in range(3)], scenario, results)
    _front(figure.add_subplot(grid[:2, 1]), results)
    _limits(figure.add_subplot(grid[2, 1]), results)
    figure.suptitle(f"{scenario.name}: {scenario.about}" if scenario.about else scenario.name, wrap=True)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise ScenarioError(f"the plot cannot be written to {path}: {error}") from error


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.convolve(values, np.ones(SMOOTH) / SMOOTH, mode="same")


def _curves(axes: Sequence[Any], scenario: Scenario, results: Mapping[str, Sequence[Outcome]]) -> None:
    """Demand; what callers did not get in time; what went to the cloud."""
    first = next(iter(results.values()))[0]
    axes[0].plot(_smooth(first.series.offered), color="black", linewidth=1)
    axes[0].set_ylabel("requests/s")
    for law, outcomes in results.items():
        series, width = outcomes[0].series, 1.8 if law.startswith("edgewise") else 0.9
        asked = np.maximum(_smooth(series.offered), 1e-9)
        axes[1].plot(100 * _smooth(series.violations) / asked, label=law, linewidth=width)
        axes[2].plot(100 * _smooth(series.cloud) / asked, label=law, linewidth=width)
    axes[1].axhline(100 * scenario.promise.allowed, color="grey", linewidth=0.8, linestyle=":")
    axes[1].set_ylabel("over target, %")
    axes[2].set_ylabel("to the cloud, %")
    axes[2].set_xlabel("seconds")
    axes[1].legend(fontsize=7, ncols=2)
    for axis in axes[1:]:
        axis.set_ylim(0, 102)


def _front(axis: Any, results: Mapping[str, Sequence[Outcome]]) -> None:
    """Violations against cloud use: down and left is better."""
    for law, outcomes in results.items():
        cloud, bad = mean(one.cloud for one in outcomes), mean(one.violations for one in outcomes)
        axis.scatter([cloud], [bad], s=60 if law.startswith("edgewise") else 25)
        axis.annotate(law, (cloud, bad), fontsize=7, xytext=(4, 4), textcoords="offset points")
    axis.axhline(next(iter(results.values()))[0].allowed, color="grey", linewidth=0.8, linestyle=":")
    axis.set_yscale("symlog", linthresh=5)
    axis.set_xlabel("to the cloud, %")
    axis.set_ylabel("over target, %")


def _limits(axis: Any, results: Mapping[str, Sequence[Outcome]]) -> None:
    """K over time, where a law learns it."""
    for law, outcomes in results.items():
        if law.startswith("edgewise") and "gateway" not in law:
            axis.plot(outcomes[0].series.limit, label=law, linewidth=1.2)
    axis.set_ylabel("K, requests in flight")
    axis.set_xlabel("seconds")
