"""Laws in the simulator, and what is made of their runs: tables, plots, the command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cli.main import main
from edgewise.simulate.laws import registry
from edgewise.simulate.measure import Estimate, Summary, estimate, on_front, turns
from edgewise.simulate.report import duel_table, overview_table, scenario_table
from edgewise.simulate.scenario import Scenario, ScenarioError, load_scenario
from edgewise.simulate.study import Job, do, do_all

FOLDER = Path(__file__).resolve().parents[2] / "examples/simulate"


def short(name: str, seconds: float) -> Scenario:
    return load_scenario(FOLDER / f"{name}.yaml").model_copy(update={"duration": seconds})


@pytest.mark.parametrize("name", list(registry.LAWS))
def test_every_law_gets_through_a_step_with_a_sane_outcome(name: str) -> None:
    outcome = do(Job(short("step", 150), name, 1))
    assert outcome.requests > 5000
    assert 0 <= outcome.violations <= 100
    assert 0 <= outcome.cloud <= 100
    assert outcome.refused + outcome.failed <= outcome.violations + 1e-9


@pytest.mark.parametrize("name", ["edgewise", "edgewise-gateway", "hpa", "clairvoyant"])
def test_a_law_is_a_function_of_scenario_and_seed(name: str) -> None:
    job = Job(short("mixed-sites", 60), name, 2)
    first, second = do(job), do(job)
    assert replace(first, series=second.series) == second


def test_four_times_the_load_stays_within_the_allowance_with_a_warm_cloud() -> None:
    outcome = do(Job(short("step", 400), "edgewise", 7))
    assert outcome.violations <= 5
    assert outcome.failed == 0


def test_killing_all_edge_pods_fails_no_request() -> None:
    outcome = do(Job(short("crash", 300), "edgewise", 7))
    assert outcome.failed == 0
    assert outcome.refused == 0


def test_a_link_that_stays_dead_ends_in_429s_and_not_in_5xx() -> None:
    scenario = short("link-flap", 200)
    site = scenario.sites[0]
    dead = site.link.model_copy(
        update={"outage": site.link.outage.model_copy(update={"during": ((60.0, 200.0),)})}
    )
    cut = scenario.model_copy(update={"sites": (site.model_copy(update={"link": dead}),)})
    outcome = do(Job(cut, "edgewise", 7))
    blind = do(Job(cut, "edgewise-undecided", 7))
    assert outcome.failed < 0.35 * blind.failed
    assert outcome.refused > outcome.failed


def test_a_hung_replica_is_taken_out_so_that_its_sibling_works() -> None:
    scenario = short("hang-one", 430)
    assert do(Job(scenario, "edgewise", 7)).cloud < do(Job(scenario, "edgewise-undecided", 7)).cloud


def test_the_clairvoyant_law_wants_to_be_told_the_future() -> None:
    scenario = short("step", 10)
    law = registry.law("clairvoyant", "step")
    from edgewise.simulate.control import Setting

    with pytest.raises(RuntimeError, match="foresee"):
        law.begin(Setting(scenario, scenario.each_site()))


def test_an_unknown_law_is_named_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="there are edgewise"):
        registry.law("magic", "step")


def test_processes_change_nothing() -> None:
    jobs = [Job(short("step", 20), "edgewise", seed) for seed in (1, 2)]
    alone = [outcome.violations for outcome in do_all(jobs, 1)]
    assert [outcome.violations for outcome in do_all(jobs, 2)] == alone


@pytest.mark.parametrize(
    ("values", "count"),
    [([1, 2, 3, 4], 0), ([1, 2, 1, 2], 2), ([1, 1.05, 1, 1.05], 0), ([], 0), ([1, 2, 1.95, 3], 0)],
)
def test_turns_count_changes_of_direction_beyond_noise(values: list[float], count: int) -> None:
    assert turns(values, 0.1) == count


def test_intervals_are_students() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0])
    assert found.value == 2.5
    assert found.margin == pytest.approx(3.18 * 1.29099 / 2, rel=1e-4)
    assert estimate([2.0]) == Estimate(2.0, 0.0)


def line(law: str, violations: float, cloud: float) -> Summary:
    zero = Estimate(0, 0)
    return Summary("s", law, Estimate(violations, 0), Estimate(cloud, 0), *[zero] * 7)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=10))
def test_the_front_is_never_empty_and_nobody_on_it_is_beaten(points: list[tuple[int, int]]) -> None:
    lines = [line(str(number), *point) for number, point in enumerate(points)]
    front = on_front(lines)
    assert front
    for one in lines:
        if one.law in front:
            assert not any(
                other.violations.value < one.violations.value and other.cloud.value < one.cloud.value
                for other in lines
            )


def test_tables_show_every_law_and_pair_by_seed() -> None:
    scenario = short("step", 130)
    results = {
        "step": {law: [do(Job(scenario, law, seed)) for seed in (1, 2)] for law in ("edgewise", "all-edge")}
    }
    text = scenario_table("step", results["step"])
    assert "edgewise" in text
    assert "±" in text
    assert scenario_table("step", results["step"], "markdown").startswith("| law |")
    assert overview_table(results, ["step"]).splitlines()[1].startswith("edgewise")
    assert "better" in duel_table(results, "edgewise", "all-edge")


def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nabout: A minute.\nduration: 60s\n"
        "sites: [{name: a, load: {steps: [{at: 0s, rate: 100}]}}]\n"
    )
    return path


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["simulate", str(small(tmp_path)), "--seeds", "1", "--processes", "1", "--against", "all-edge"])
        == 0
    )
    out = capsys.readouterr().out
    assert "small" in out
    assert "all-edge" in out
    assert "over target %" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "magic"], "there are edgewise"),
        (["--seeds", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["simulate", str(small(tmp_path)), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_scenario_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "none.yaml")]) == 2
    assert "wanted a scenario" in capsys.readouterr().err


def test_without_matplotlib_a_plot_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    arguments = [
        "simulate",
        str(small(tmp_path)),
        "--seeds",
        "1",
        "--processes",
        "1",
        "--against",
        "all-edge",
    ]
    assert main([*arguments, "--plot", str(tmp_path / "x.png")]) == 2
    assert "edgewise[simulate]" in capsys.readouterr().err
