"""``edgewise simulate``: a scenario in virtual time, with edgewise and with other laws beside it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.simulate.report import Results, Style
    from edgewise.simulate.scenario import Scenario

DEFAULT_AGAINST = "all-edge,all-cloud,threshold,hpa"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    text = "run scenarios in virtual time, and compare edgewise with other laws"
    command = commands.add_parser("simulate", help=text, description=text)
    command.add_argument("scenario", type=Path, nargs="+", help="a scenario in YAML (examples/simulate)")
    command.add_argument(
        "--against",
        default=DEFAULT_AGAINST,
        metavar="LAW,...",
        help=f"laws to compare with, or 'every' (default: {DEFAULT_AGAINST})",
    )
    command.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each, with seeds 1 to N")
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="a picture (png, svg, pdf) of one scenario"
    )
    command.add_argument("--markdown", action="store_true", help="tables in Markdown")
    command.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="runs side by side"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run and print: 0 when done, 2 when a scenario cannot be run."""
    try:
        from edgewise.simulate.scenario import ScenarioError, load_scenario
    except ImportError as error:
        sys.stderr.write(f"edgewise: {error}; the simulator needs: pip install 'edgewise[simulate]'\n")
        return 2
    try:
        if arguments.seeds < 1:
            raise ScenarioError(f"--seeds is {arguments.seeds}; wanted: at least 1")
        if arguments.plot and len(arguments.scenario) > 1:
            raise ScenarioError("--plot is for one scenario at a time")
        scenarios = [load_scenario(path) for path in arguments.scenario]
        results = _results(scenarios, _laws(arguments.against), arguments.seeds, arguments.processes)
        _print(scenarios, results, markdown=arguments.markdown)
        if arguments.plot:
            from edgewise.simulate.plot import plot

            plot(arguments.plot, scenarios[0], results[scenarios[0].name])
            sys.stdout.write(f"plot: {arguments.plot}\n")
    except ScenarioError as error:
        sys.stderr.write(f"edgewise: {error}\n")
        return 2
    return 0


def _laws(text: str) -> list[str]:
    """Names of laws, ours first."""
    from edgewise.simulate.laws.registry import LAWS
    from edgewise.simulate.scenario import ScenarioError

    names = list(LAWS) if text == "every" else [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in LAWS]
    if unknown:
        raise ScenarioError(f"--against names {', '.join(unknown)}; there are {', '.join(LAWS)}")
    return ["edgewise", *(name for name in names if name != "edgewise")]


def _results(scenarios: Sequence[Scenario], laws: Sequence[str], seeds: int, processes: int) -> Results:
    from edgewise.simulate.study import Job, do_all

    jobs = [Job(each, law, seed) for each in scenarios for law in laws for seed in range(1, seeds + 1)]
    outcomes = do_all(jobs, processes)
    return {each.name: {law: [next(outcomes) for _ in range(seeds)] for law in laws} for each in scenarios}


def _print(scenarios: Sequence[Scenario], results: Results, *, markdown: bool) -> None:
    from edgewise.simulate.report import NOTES, duel_table, overview_table, scenario_table, site_table
    from edgewise.simulate.study import OBJECTIVE

    style: Style = "markdown" if markdown else "text"
    for each in scenarios:
        requests = next(iter(results[each.name].values()))[0].requests
        title = f"## {each.name}" if markdown else each.name
        sys.stdout.write(f"{title}\n{each.about.strip()} ({requests} requests with the first seed)\n\n")
        sys.stdout.write(scenario_table(each.name, results[each.name], style) + "\n")
        by_site = site_table(results[each.name], style)
        sys.stdout.write(f"{by_site}\n" if by_site else "")
    if sum(name in results for name in OBJECTIVE) > 1:
        sys.stdout.write(("## Overview\n" if markdown else "overview\n") + "\n")
        sys.stdout.write(overview_table(results, OBJECTIVE, style) + "\n")
        if all("clairvoyant" in by_law for by_law in results.values()):
            sys.stdout.write(duel_table(results, "edgewise", "clairvoyant", style) + "\n")
    sys.stdout.write(NOTES)
