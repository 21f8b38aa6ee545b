"""The format of a scenario: who asks, who answers, what breaks, and what can be seen of it.

A scenario is a YAML file. `load_scenario` checks it against the models below; whatever does not fit is
named with its place in the file. Durations are texts as in the API (``250ms``, ``5m``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import BeforeValidator

from edgewise.api.meta import seconds


class ScenarioError(ValueError):
    """A scenario that cannot be run; the text says where, what was found and what is wanted."""


def _seconds(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    PlainSerializer(lambda value: f"{value:g}s"),
    Field(ge=0, json_schema_extra={"type": "string"}, description="A duration, for example 250ms or 5m."),
]
Share = Annotated[float, Field(ge=0, le=1)]
Span = tuple[Seconds, Seconds]


class Part(BaseModel):
    """Base of every part of a scenario: what is not known is refused, not ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Bounds(Part):
    """Replica counts between which a law may choose."""

    min: Annotated[int, Field(ge=0, le=200)]
    max: Annotated[int, Field(ge=0, le=200)]

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        return self


class Step(Part):
    """From `at` on, `rate` requests/s."""

    at: Seconds
    rate: Annotated[float, Field(ge=0)]


class Sine(Part):
    """``mean + swing * sin(2 pi (t / period + phase))`` requests/s, a day in short."""

    mean: Annotated[float, Field(ge=0)]
    swing: Annotated[float, Field(ge=0)]
    period: Seconds
    phase: float = 0.0


class Bursts(Part):
    """Two-state Markov-modulated Poisson arrivals; how long a state lasts is exponential, at least 1 s."""

    low: Annotated[float, Field(ge=0)]
    high: Annotated[float, Field(ge=0)]
    low_for: Seconds
    high_for: Seconds


class HeavyBursts(Part):
    """Bursts of bounded-Pareto length on a base rate, as robots cause them that enter a scene together."""

    base: Annotated[float, Field(ge=0)]
    peak: Annotated[float, Field(ge=0)]
    every: Seconds
    shape: Annotated[float, Field(gt=0)] = 1.5
    shortest: Seconds = 2.0
    longest: Seconds = 60.0


class Trace(Part):
    """Invocations per minute in the public Azure Functions format (2019), scaled to `mean` requests/s."""

    file: str
    function: str = ""
    first_minute: Annotated[int, Field(ge=1, le=1440)] = 1
    mean: Annotated[float, Field(gt=0)] | None = None
    within_minute: Literal["even", "clustered"] = "clustered"


class Load(Part):
    """What callers do: exactly one shape of the rate, and how requests come."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)] | None = None
    sine: Sine | None = None
    bursts: Bursts | None = None
    heavy_bursts: HeavyBursts | None = None
    trace: Trace | None = None
    batch: Annotated[int, Field(ge=1, le=100)] = 1
    sticky: Share = 0.0
    """Share of requests on connections that keep their side for a minute on average."""

    @model_validator(mode="after")
    def _one_shape(self) -> Load:
        shapes = ("steps", "sine", "bursts", "heavy_bursts", "trace")
        given = [name for name in shapes if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"found {given or 'none'}; wanted exactly one of {', '.join(shapes)}")
        return self


class Fault(Part):
    """What happens to edge replicas between two times.

    hang: they stop working and go on after it. dead: they are gone, with all they had. slower: they need
    that many times longer, reached evenly over the span and kept after it.
    """

    kind: Literal["hang", "dead", "slower"]
    during: Span
    replicas: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Which, by number; absent means all."""
    times: Annotated[float, Field(ge=0.1, le=20)] = 1.0


class Outage(Part):
    """The link of a site is gone during these spans."""

    during: tuple[Span, ...] = ()
    every: Seconds | None = None
    lasts: Seconds = 0.0
    """With `every`: the first part of each such period but the first one."""


class Link(Part):
    """From a site to the cloud."""

    round_trip: Seconds = 0.025
    outage: Outage = Outage()
    slow: tuple[Span, ...] = ()
    slower_by: Seconds = 0.0
    metered: Annotated[float, Field(gt=0)] | None = None
    """Most requests/s that may leave."""


class Site(Part):
    """One service at one place (or at `count` alike places, `apart` seconds behind each other)."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    count: Annotated[int, Field(ge=1, le=100)] = 1
    apart: Seconds = 0.0
    load: Load
    replicas: Bounds = Bounds(min=2, max=2)
    service_time: Seconds = 0.03
    profile: Seconds | None = None
    """Service time as the model's profile has it; absent means that the profile is right."""
    spread: Annotated[float, Field(gt=0, le=3)] = 0.3
    """Coefficient of variation of the service time (gamma)."""
    startup: Span = (5.0, 20.0)
    link: Link = Link()
    faults: tuple[Fault, ...] = ()
    criticality: Literal["Critical", "High", "Normal", "BestEffort"] = "Normal"
    may_spill: bool = True
    device: str = ""
    """Sites of the same device are services at one place whose replicas share one processor."""


class Cloud(Part):
    """The replicas that all sites share; a pool with min equal to max stands warm."""

    replicas: Bounds = Bounds(min=8, max=8)
    service_time: Seconds | None = None
    startup: Span = (20.0, 60.0)
    in_flight: Annotated[int, Field(ge=1, le=1000)] = 8
    """Requests that one replica takes before it refuses."""


class Promise(Part):
    """What was promised to callers."""

    target: Seconds = 0.08
    allowed: Annotated[float, Field(gt=0, lt=1)] = 0.05
    max_in_flight: Annotated[float, Field(ge=0.5, le=64)] = 8.0


class Sight(Part):
    """What a controller can see: counters, read every `period`, and not at all during `lost`."""

    period: Annotated[int, Field(ge=1, le=60)] = 1
    lost: tuple[Span, ...] = ()


class Scenario(Part):
    """One simulated run but for the seed."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    about: str = ""
    duration: Seconds
    balance: Literal["least-request", "two-choices", "random"] = "least-request"
    promise: Promise = Promise()
    sites: Annotated[tuple[Site, ...], Field(min_length=1)]
    cloud: Cloud = Cloud()
    sight: Sight = Sight()

    def each_site(self) -> tuple[Site, ...]:
        """Every place, with `count` written out."""
        return tuple(
            site if site.count == 1 else site.model_copy(update={"name": f"{site.name}-{number}"})
            for site in self.sites
            for number in range(site.count)
        )


def load_scenario(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        ScenarioError: no such file, no YAML, or not in the format: each problem with its place.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}; wanted a scenario in YAML") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} is no YAML: {error}") from error
    scenario = parse_scenario(document, str(path))
    return _with_files(scenario, path.parent)


def parse_scenario(document: object, name: str = "scenario") -> Scenario:
    """A scenario from what a YAML file holds.

    Raises:
        ScenarioError: the document does not fit the format.
    """
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc']) or 'document'}: {problem['msg']}"
            f" (found {problem['input']!r:.80})"
            for problem in error.errors()
        ]
        raise ScenarioError("\n".join([f"{name} does not fit the format:", *lines])) from error


def _with_files(scenario: Scenario, folder: Path) -> Scenario:
    """Traces are named from where the scenario lies."""

    def settled(site: Site) -> Site:
        trace = site.load.trace
        if trace is None:
            return site
        found = trace.model_copy(update={"file": str(folder / trace.file)})
        return site.model_copy(update={"load": site.load.model_copy(update={"trace": found})})

    return scenario.model_copy(update={"sites": tuple(settled(site) for site in scenario.sites)})
