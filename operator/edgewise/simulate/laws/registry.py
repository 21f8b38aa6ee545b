"""Every law by its name on the command line, with the settings that may be tuned and their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from edgewise.simulate.control import Law
from edgewise.simulate.laws.autoscalers import Latency, Utilisation
from edgewise.simulate.laws.base import ByWeights, Facts, SiteLaw
from edgewise.simulate.laws.limits import FixedLimit
from edgewise.simulate.laws.oracle import Clairvoyant
from edgewise.simulate.laws.ours import Edgewise
from edgewise.simulate.laws.published import Infaas, LaImr
from edgewise.simulate.laws.weights import Aimd, InFlight, Integral, Static, Threshold
from edgewise.simulate.scenario import Bounds, Scenario, ScenarioError

Settings = Mapping[str, Any]

#: What one cloud replica admits is everybody's to choose; None leaves what the scenario has.
CLOUD_LIMITS: Final = (None, 4, 2)


@dataclass(frozen=True, slots=True)
class Entry:
    """One law.

    Attributes:
        make: a fresh law with these settings.
        space: values that tuning may choose from, by setting; empty when there is nothing to tune.
        fixed: settings nobody tunes.
        by_scenario: tuned for each scenario on its own, which no real installation could do.
        cloud: whether the pool stands as the scenario says, always, or never before it is wanted.
    """

    make: Callable[[Settings], Law]
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    fixed: Settings = field(default_factory=dict)
    by_scenario: bool = False
    cloud: Literal["as it is", "warm", "cold"] = "as it is"


def _weights(kind: Callable[..., SiteLaw]) -> Callable[[Settings], Law]:
    def make(settings: Settings) -> Law:
        own = {key: value for key, value in settings.items() if key != "cloud_limit"}

        def site(facts: Facts) -> SiteLaw:
            return kind(facts, **own)

        return ByWeights(site, settings.get("cloud_limit"))

    return make


LAWS: Final[Mapping[str, Entry]] = {
    "edgewise": Entry(lambda settings: Edgewise()),
    "edgewise-gateway": Entry(lambda settings: Edgewise(gateway=True)),
    "edgewise-undecided": Entry(lambda settings: Edgewise(decides=False)),
    "all-edge": Entry(_weights(Static), fixed={"share": 1.0}),
    "all-cloud": Entry(_weights(Static), fixed={"share": 0.0}),
    "all-cloud-warm": Entry(_weights(Static), fixed={"share": 0.0}, cloud="warm"),
    "all-cloud-cold": Entry(_weights(Static), fixed={"share": 0.0}, cloud="cold"),
    "static": Entry(
        _weights(Static), space={"share": [n / 20 for n in range(21)]}, by_scenario=True
    ),
    "clairvoyant": Entry(
        lambda settings: Clairvoyant(**settings),
        space={"scale": [0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2]},
        by_scenario=True,
    ),
    "threshold": Entry(
        _weights(Threshold),
        space={
            "high": [0.9, 1.0, 1.1, 1.3], "low": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "down": [0.05, 0.1, 0.2],
            "up": [0.005, 0.01, 0.02, 0.04], "width": [3, 5, 10], "wait": [1, 3, 5],
            "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "aimd": Entry(
        _weights(Aimd),
        space={
            "above": [0.03, 0.05, 0.08, 0.12, 0.2], "factor": [0.5, 0.7, 0.85, 0.93],
            "add": [0.003, 0.01, 0.02, 0.04], "width": [2, 3, 5, 10], "wait": [1, 2, 4],
            "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "integral": Entry(
        _weights(Integral),
        space={
            "aim": [0.03, 0.05, 0.08, 0.12], "gain": [0.02, 0.05, 0.1, 0.2, 0.4], "width": [1, 3, 5, 10],
            "dead": [0, 2, 4], "up": [0.01, 0.03, 0.06], "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "in-flight": Entry(
        _weights(InFlight),
        space={
            "aim": [0.4, 0.55, 0.7, 0.85, 1.0], "gain": [0.02, 0.05, 0.1, 0.2], "memory": [1, 3, 8],
            "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "hpa": Entry(
        _weights(Utilisation),
        space={
            "aim": [0.35, 0.45, 0.55, 0.65], "every": [1, 2, 5, 15], "tolerance": [0.05, 0.1, 0.2],
            "up": [0.05, 0.1, 0.3], "width": [1, 3, 5, 15], "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "latency-hpa": Entry(
        _weights(Latency),
        space={
            "aim": [0.5, 0.65, 0.8, 1.0], "every": [1, 2, 5, 15], "down": [0.05, 0.1, 0.2],
            "up": [0.01, 0.02, 0.05], "width": [3, 5, 15], "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "infaas": Entry(
        _weights(Infaas),
        space={
            "headroom": [0.5, 0.6, 0.7, 0.8, 0.95], "relief": [0.5, 0.7, 0.85, 0.95], "calm": [2, 5, 10, 20],
            "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "la-imr": Entry(
        _weights(LaImr),
        space={
            "gamma": [1.0, 1.5, 2.0, 3.0], "slack": [0.4, 0.5, 0.6, 0.7, 0.85, 1.0],
            "memory": [1, 2, 5, 10], "keep": [30, 120, 300], "cloud_limit": CLOUD_LIMITS,
        },
    ),
    "fixed-limit": Entry(
        lambda settings: FixedLimit(**settings),
        space={"limit": [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0], "cloud_limit": CLOUD_LIMITS},
    ),
}  # fmt: skip


@cache
def tuned() -> Mapping[str, Any]:
    """What tuning chose (``python -m edgewise.simulate tune`` writes it)."""
    text = files("edgewise.simulate.laws").joinpath("tuned.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def settings_of(name: str, scenario: str) -> Settings:
    """The settings a law runs with in a scenario.

    For a scenario that nobody tuned a law by scenario for, the values of the nearest thing there is are
    taken: the median over the tuned ones.

    Raises:
        ScenarioError: no such law.
    """
    if name not in LAWS:
        raise ScenarioError(f"no law is called {name!r}; there are {', '.join(LAWS)}")
    entry = LAWS[name]
    found = tuned().get(name, {})
    if entry.by_scenario and found:
        (key,) = entry.space
        values = sorted(found.values())
        found = {key: found.get(scenario, values[len(values) // 2])}
    if entry.space and not found:
        raise ScenarioError(
            f"{name} has not been tuned; run python -m edgewise.simulate tune FOLDER --laws {name}"
        )
    return {**entry.fixed, **found}


def law(name: str, scenario: str) -> Law:
    """A fresh law, as tuned.

    Raises:
        ScenarioError: no such law.
    """
    settings = settings_of(name, scenario)
    return LAWS[name].make(settings)


def scenario_for(name: str, scenario: Scenario) -> Scenario:
    """The scenario with the cloud that a law wants to stand there."""
    bounds = scenario.cloud.replicas
    match LAWS[name].cloud:
        case "warm":
            bounds = Bounds(min=bounds.max, max=bounds.max)
        case "cold":
            bounds = Bounds(min=0, max=bounds.max)
        case _:
            return scenario
    return scenario.model_copy(update={"cloud": scenario.cloud.model_copy(update={"replicas": bounds})})
