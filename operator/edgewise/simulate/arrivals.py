"""When requests come: a rate for every second, and Poisson arrivals from it.

Everything random about a run that no law can influence is drawn here, in advance and from the seed alone,
so that two laws meet the same requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewise.simulate.azure import minute_counts
from edgewise.simulate.scenario import Bursts, HeavyBursts, Load, Scenario, ScenarioError, Site, Trace

Array = NDArray[np.float64]

#: Clustered minutes of a trace: coefficient of variation of the rate from second to second, and for how
#: many seconds on average it stays. The data set has nothing below a minute; this is an assumption.
CLUSTER_CV, CLUSTER_SECONDS = 1.0, 5.0

#: Sticky connections a site has open at a time, and for how many seconds each keeps its side on average.
CONNECTIONS, CONNECTION_SECONDS = 100, 60.0


@dataclass(frozen=True, slots=True)
class Requests:
    """All requests of a run in the order in which they come; lists, for they are read one by one.

    Attributes:
        at: seconds.
        site: number of the site.
        edge_work: service time at the edge, as a multiple of the mean.
        cloud_work: the same in the cloud.
        admission: random number for the fraction of K.
        side: random number that a split by weights compares with the edge's share.
        connection: number of the sticky connection it comes on, -1 for none.
        rates: requests/s for every site and second (for those who may know the future).
    """

    at: list[float]
    site: list[int]
    edge_work: list[float]
    cloud_work: list[float]
    admission: list[float]
    side: list[float]
    connection: list[int]
    rates: Array


def draw(scenario: Scenario, seed: int) -> Requests:
    """The requests of one run.

    Raises:
        ScenarioError: a trace cannot be read.
    """
    seconds = math.ceil(scenario.duration)
    sites = _places(scenario)
    root = np.random.SeedSequence([seed, 20260])
    streams = [np.random.default_rng(each) for each in root.spawn(len(sites))]
    rates = np.stack([_rates(site, seconds, streams[n], number) for n, (site, number) in enumerate(sites)])
    parts = [
        _one_site(site.load, site.spread, rates[index], streams[index])
        for index, (site, _) in enumerate(sites)
    ]
    of_site = np.concatenate([np.full(len(part[0]), index) for index, part in enumerate(parts)])
    at, edge, cloud, admission, side, connection = (
        np.concatenate([part[n] for part in parts]) for n in range(6)
    )
    order = np.argsort(at, kind="stable")
    return Requests(
        at=at[order].tolist(),
        site=of_site[order].tolist(),
        edge_work=edge[order].tolist(),
        cloud_work=cloud[order].tolist(),
        admission=admission[order].tolist(),
        side=side[order].tolist(),
        connection=connection[order].astype(int).tolist(),
        rates=rates,
    )


def _places(scenario: Scenario) -> list[tuple[Site, int]]:
    """Every site with its number among its like."""
    return [(site, number) for site in scenario.sites for number in range(site.count)]


def _one_site(load: Load, spread: float, rates: Array, stream: np.random.Generator) -> tuple[Array, ...]:
    """Times, draws and connections of one site's requests."""
    groups = stream.poisson(rates / load.batch)
    starts = np.repeat(np.arange(len(rates), dtype=np.float64), groups) + stream.random(int(groups.sum()))
    at = np.repeat(np.sort(starts), load.batch)
    shape = 1.0 / spread**2
    count = len(at)
    edge, cloud = stream.gamma(shape, 1.0 / shape, count), stream.gamma(shape, 1.0 / shape, count)
    admission, side = stream.random(count), stream.random(count)
    return at, edge, cloud, admission, side, _connections(at, load.sticky, stream)


def _connections(at: Array, share: float, stream: np.random.Generator) -> Array:
    """For `share` of the requests the number of a connection that lives for a while; -1 for the others."""
    if share <= 0:
        return np.full(len(at), -1.0)
    slot = stream.integers(0, CONNECTIONS, len(at))
    offset = stream.random(CONNECTIONS) * CONNECTION_SECONDS
    life = np.floor((at + offset[slot]) / CONNECTION_SECONDS)
    return np.where(stream.random(len(at)) < share, life * CONNECTIONS + slot, -1.0)


def _rates(site: Site, seconds: int, stream: np.random.Generator, number: int) -> Array:
    """Requests/s for every second. Alike sites come `apart` seconds after each other."""
    load = site.load
    later = round(site.apart * number)
    clock = np.arange(seconds, dtype=np.float64) - later
    if load.steps is not None:
        rates = np.zeros(seconds)
        for step in load.steps:
            rates[clock >= step.at] = step.rate
        rates[clock < load.steps[0].at] = load.steps[0].rate
        return rates
    if load.sine is not None:
        turn = 2 * np.pi * (clock / load.sine.period + load.sine.phase)
        wave: Array = np.maximum(0.0, load.sine.mean + load.sine.swing * np.sin(turn))
        return wave
    if load.bursts is not None:
        return _bursts(load.bursts, seconds, stream)
    if load.heavy_bursts is not None:
        return _heavy_bursts(load.heavy_bursts, seconds, stream)
    if load.trace is None:
        raise ScenarioError(f"site {site.name} has no shape of load")
    return _trace(load.trace, seconds, stream)


def _bursts(shape: Bursts, seconds: int, stream: np.random.Generator) -> Array:
    rates, at, high = np.zeros(seconds), 0, False
    while at < seconds:
        lasts = max(1, round(float(stream.exponential(shape.high_for if high else shape.low_for))))
        rates[at : at + lasts] = shape.high if high else shape.low
        at, high = at + lasts, not high
    return rates


def _heavy_bursts(shape: HeavyBursts, seconds: int, stream: np.random.Generator) -> Array:
    """Pauses are exponential; lengths follow a Pareto law between the bounds (inverse of its CDF)."""
    rates, at = np.full(seconds, shape.base), float(stream.exponential(shape.every))
    low, high = shape.shortest**-shape.shape, shape.longest**-shape.shape
    while at < seconds:
        lasts = (low - float(stream.random()) * (low - high)) ** (-1.0 / shape.shape)
        rates[int(at) : int(at + lasts) + 1] = shape.peak
        at += lasts + float(stream.exponential(shape.every))
    return rates


def _trace(shape: Trace, seconds: int, stream: np.random.Generator) -> Array:
    """Minutes of the data set, spread over their seconds; a minute's total is kept."""
    minutes = math.ceil(seconds / 60)
    counts = minute_counts(Path(shape.file), shape.function, shape.first_minute, minutes)
    if shape.mean is not None:
        counts = counts * (shape.mean * 60.0 * minutes / counts.sum())
    weights = np.ones(minutes * 60)
    if shape.within_minute == "clustered":
        blocks = stream.gamma(1.0 / CLUSTER_CV**2, CLUSTER_CV**2, minutes * 60)
        change = stream.random(minutes * 60) < 1.0 / CLUSTER_SECONDS
        change[0] = True
        weights = blocks[np.maximum.accumulate(np.where(change, np.arange(minutes * 60), 0))]
    by_minute = weights.reshape(minutes, 60)
    rates: Array = (by_minute / by_minute.sum(axis=1, keepdims=True) * counts[:, None]).reshape(-1)[:seconds]
    return rates
