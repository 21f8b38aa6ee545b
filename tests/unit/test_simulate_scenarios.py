"""Scenarios as files: what is read, what is refused, and what arrives."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.simulate.arrivals import draw
from edgewise.simulate.azure import MINUTES, minute_counts
from edgewise.simulate.scenario import ScenarioError, load_scenario, parse_scenario
from edgewise.simulate.study import OBJECTIVE, REPORTING_SEEDS, TUNING_SEEDS, settings_to_try

FOLDER = Path(__file__).resolve().parents[2] / "examples/simulate"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_can_be_run_and_is_called_as_its_file(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert scenario.about
    assert len(draw(scenario, 1).at) > 1000


def test_the_thirteen_of_the_objective_are_there() -> None:
    assert len(set(OBJECTIVE)) == 13
    assert set(OBJECTIVE) <= {path.stem for path in FILES}


def test_no_reporting_seed_is_tuned_on() -> None:
    assert len(REPORTING_SEEDS) == 20
    assert not set(TUNING_SEEDS) & set(REPORTING_SEEDS)


def test_every_law_tries_as_many_settings_unless_it_has_fewer() -> None:
    for name in ("threshold", "aimd", "integral", "hpa", "latency-hpa", "infaas", "la-imr", "in-flight"):
        tried = settings_to_try(name, 20)
        assert len({tuple(sorted(one.items(), key=str)) for one in tried}) == 20


def plain(**more: Any) -> dict[str, Any]:
    return {
        "name": "t",
        "duration": "60s",
        "sites": [{"name": "a", "load": {"steps": [{"at": "0s", "rate": 50}]}}],
        **more,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"duration": "soon"}, "duration"),
        ({"color": "red"}, "color"),
        ({"sites": []}, "sites"),
        ({"sites": [{"name": "a", "load": {}}]}, "exactly one of"),
        ({"cloud": {"replicas": {"min": 3, "max": 1}}}, "min 3 is larger than max 1"),
        ({"promise": {"allowed": 2}}, "promise.allowed"),
        ({"balance": "round-robin"}, "balance"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        parse_scenario(plain(**change))


@pytest.mark.parametrize("text", ["", "- 1", "name: [", "name: \x00"])
def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r"wanted|fit|YAML"):
        load_scenario(path)
    with pytest.raises(ScenarioError, match="No such file"):
        load_scenario(tmp_path / "none.yaml")


def test_arrivals_follow_the_rate_and_come_in_order() -> None:
    document = plain(duration="2000s")
    document["sites"][0]["load"] = {"steps": [{"at": "0s", "rate": 20}, {"at": "1000s", "rate": 60}]}
    at = np.array(draw(parse_scenario(document), 1).at)
    assert np.all(np.diff(at) >= 0)
    assert (at < 1000).sum() == pytest.approx(20_000, rel=0.03)
    assert (at >= 1000).sum() == pytest.approx(60_000, rel=0.03)
    gaps = np.diff(at[at < 1000])
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


def test_batches_come_together_and_work_has_the_spread_that_was_asked_for() -> None:
    document = plain(duration="1000s")
    document["sites"][0] |= {"spread": 0.5, "load": {"batch": 3, "steps": [{"at": "0s", "rate": 30}]}}
    requests = draw(parse_scenario(document), 1)
    at = np.array(requests.at)
    assert len(at) % 3 == 0
    assert np.all(at[::3] == at[2::3])
    work = np.array(requests.edge_work)
    assert work.mean() == pytest.approx(1.0, rel=0.02)
    assert work.std() == pytest.approx(0.5, rel=0.03)


def test_alike_sites_follow_each_other() -> None:
    document = plain(duration="300s")
    document["sites"] = [
        {
            "name": "a", "count": 2, "apart": "100s",
            "load": {"steps": [{"at": "0s", "rate": 1}, {"at": "50s", "rate": 100}]},
        }
    ]  # fmt: skip
    rates = draw(parse_scenario(document), 1).rates
    assert [int(np.argmax(row > 50)) for row in rates] == [50, 150]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Two functions in the data set's format: one steady, one busy in the first hour and then silent."""
    path = tmp_path / "invocations_per_function_md.anon.d01.csv"
    with path.open("w", newline="") as lines:
        out = csv.writer(lines)
        out.writerow(["HashOwner", "HashApp", "HashFunction", "Trigger", *range(1, MINUTES + 1)])
        out.writerow(["o", "a", "cafe01", "http", *[60] * MINUTES])
        out.writerow(["o", "a", "beef02", "timer", *[10_000] * 60, *[0] * (MINUTES - 60)])
    return path


def test_the_busiest_or_a_named_function_is_read(trace: Path) -> None:
    assert minute_counts(trace, "", 1, 3).tolist() == [10_000] * 3
    assert minute_counts(trace, "cafe", 1, 2).tolist() == [60, 60]
    assert minute_counts(trace, "beef", 60, 3).tolist() == [10_000, 0, 0]
    assert minute_counts(trace, "beef", 1440, 2).tolist() == [0, 10_000]


def test_a_trace_that_is_none_is_refused(trace: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no function that begins with"):
        minute_counts(trace, "dead", 1, 1)
    with pytest.raises(ScenarioError, match="nothing was invoked"):
        minute_counts(trace, "beef", 100, 5)
    with pytest.raises(ScenarioError, match="No such file"):
        minute_counts(tmp_path / "none.csv", "", 1, 1)
    other = tmp_path / "other.csv"
    other.write_text("time,count\n1,2\n")
    with pytest.raises(ScenarioError, match="wanted"):
        minute_counts(other, "", 1, 1)
    broken = tmp_path / "broken.csv"
    broken.write_text(trace.read_text().replace("60,60", "60,many", 1))
    with pytest.raises(ScenarioError, match="wanted counts"):
        minute_counts(broken, "cafe", 1, 1)


@pytest.mark.parametrize("within", ["even", "clustered"])
def test_a_minutes_total_is_kept_however_it_is_spread(trace: Path, within: str) -> None:
    path = trace.parent / "traced.yaml"
    path.write_text(
        f"name: traced\nduration: 10m\nsites:\n  - name: a\n    load:\n      trace: {{file: {trace.name},"
        f" function: cafe, mean: 20, withinMinute: {within}}}\n"
    )
    rates = draw(load_scenario(path), 1).rates[0]
    assert rates.reshape(10, 60).sum(axis=1) == pytest.approx([1200.0] * 10)
    assert (rates.std() < 1e-9) == (within == "even")
