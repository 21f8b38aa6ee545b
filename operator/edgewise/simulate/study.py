"""Many runs: scenarios by laws by seeds, in a pool of processes; and tuning with an equal budget for all.

What is fixed before anything is tuned: the scenarios of examples/simulate, the seeds here, the laws and
their spaces in laws/registry.py. Tuning never sees a reporting seed.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any, Final

import numpy as np

from edgewise.simulate.arrivals import draw
from edgewise.simulate.fleet import run
from edgewise.simulate.laws.registry import LAWS, Settings, law, scenario_for
from edgewise.simulate.measure import Outcome
from edgewise.simulate.scenario import Scenario

#: Seeds that tuning sees, and those that are reported. No seed is in both.
TUNING_SEEDS: Final = (101, 102)
REPORTING_SEEDS: Final = tuple(range(1, 21))

#: The thirteen scenarios that the objective is the mean of; the others stand beside it.
OBJECTIVE: Final = (
    "step", "diurnal", "bursts", "flash-crowd", "drift", "hang-one", "hang-all", "link-flap", "slow-cloud",
    "trickle", "batches", "sticky", "capped-pool",
)  # fmt: skip

#: Settings tried of each law on the first tuning seed, and how many of them are tried on the second too.
BUDGET: Final = (20, 4)


@dataclass(frozen=True, slots=True)
class Job:
    """One run to do. Without `settings` the law runs as tuned."""

    scenario: Scenario
    law: str
    seed: int
    settings: Settings | None = None


def do(job: Job) -> Outcome:
    """Carry one job out."""
    scenario = scenario_for(job.law, job.scenario)
    made = law(job.law, scenario.name) if job.settings is None else LAWS[job.law].make(job.settings)
    return run(scenario, draw(scenario, job.seed), made, job.seed)


def do_all(jobs: Sequence[Job], processes: int) -> Iterator[Outcome]:
    """Carry jobs out, in order; one process means this one."""
    if processes <= 1 or len(jobs) == 1:
        yield from map(do, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, len(jobs))) as pool:
        yield from pool.imap(do, jobs)


def settings_to_try(name: str, count: int) -> list[dict[str, Any]]:
    """Different random points of a law's space, the same ones every time; all of a space that is smaller."""
    entry = LAWS[name]
    size = 1
    for values in entry.space.values():
        size *= len(values)
    chosen = np.random.default_rng(5).permutation(size)[: min(count, size)]
    return [_point(entry.space.items(), int(number)) | dict(entry.fixed) for number in chosen]


def _point(space: Iterable[tuple[str, Sequence[Any]]], number: int) -> dict[str, Any]:
    point = {}
    for key, values in space:
        number, rest = divmod(number, len(values))
        point[key] = values[rest]
    return point


def tune(name: str, scenarios: Sequence[Scenario], processes: int) -> dict[str, Any]:
    """The best of a law's settings, by the mean objective over scenarios on the tuning seeds."""
    score = partial(_scores, name, scenarios, processes)
    tried = settings_to_try(name, BUDGET[0])
    first = score(tried, TUNING_SEEDS[:1])
    best = sorted(range(len(tried)), key=lambda number: first[number])[: BUDGET[1]]
    second = score([tried[number] for number in best], TUNING_SEEDS[1:])
    both = {number: first[number] + other for number, other in zip(best, second, strict=True)}
    return tried[min(both, key=lambda number: both[number])]


def tune_by_scenario(name: str, scenarios: Sequence[Scenario], processes: int) -> dict[str, Any]:
    """The best value of a law's only setting for each scenario on its own."""
    (key,) = LAWS[name].space
    tried = settings_to_try(name, 1000)
    found = {}
    for scenario in scenarios:
        scores = _scores(name, [scenario], processes, tried, TUNING_SEEDS)
        found[scenario.name] = tried[int(np.argmin(scores))][key]
    return found


def _scores(
    name: str,
    scenarios: Sequence[Scenario],
    processes: int,
    tried: Sequence[Settings],
    seeds: Sequence[int],
) -> list[float]:
    """Mean objective of each of the settings."""
    jobs = [Job(scenario, name, seed, one) for one in tried for scenario in scenarios for seed in seeds]
    each = len(scenarios) * len(seeds)
    values = [outcome.objective for outcome in do_all(jobs, processes)]
    return [mean(values[number * each : (number + 1) * each]) for number in range(len(tried))]
