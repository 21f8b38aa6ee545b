"""Tables of what laws did: for people, or as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Literal

from edgewise.simulate.measure import Outcome, Summary, estimate, on_front, summarise

Style = Literal["text", "markdown"]
#: Results by scenario, then by law: one outcome a seed, in the order of the seeds.
Results = Mapping[str, Mapping[str, Sequence[Outcome]]]

HEAD = (
    "law", "over target %", "to cloud %", "objective", "P99 ms", "refused %", "failed %", "turns/h",
    "cloud replicas", "edge replicas", "front",
)  # fmt: skip

NOTES = """\
over target: requests whose caller did not get an answer within the target: late, refused or failed.
objective: percent to the cloud + 10 x points over target beyond the allowance; lower is better.
P99: of the answered requests. turns: changes of direction of K, or of the share where there are weights.
front: nobody in the table is better in both violations and cloud use. Intervals: 95 %, over the seeds.
"""


def scenario_table(scenario: str, results: Mapping[str, Sequence[Outcome]], style: Style = "text") -> str:
    """One scenario, a line a law."""
    lines = [summarise(scenario, law, outcomes) for law, outcomes in results.items()]
    front = on_front(lines)
    rows = [_row(line, line.law in front) for line in lines]
    return _table(HEAD, rows, style)


def site_table(results: Mapping[str, Sequence[Outcome]], style: Style = "text") -> str:
    """For every site its own violations and cloud use, in percent; empty when there is only one."""
    names = list(next(iter(results.values()))[0].by_site)
    if len(names) < 2:
        return ""
    rows = []
    for law, outcomes in results.items():
        pairs = [[one.by_site[name] for one in outcomes] for name in names]
        cells = [
            f"{mean(bad for bad, _ in each):.2f} / {mean(away for _, away in each):.1f}" for each in pairs
        ]
        rows.append((law, *cells))
    return _table(("over target / to cloud %", *names), rows, style)


def _row(line: Summary, front: bool) -> tuple[str, ...]:
    return (
        line.law,
        str(line.violations),
        str(line.cloud),
        str(line.objective),
        f"{line.p99.value:.0f} ±{line.p99.margin:.0f}" if line.p99.margin else f"{line.p99.value:.0f}",
        f"{line.refused.value:.2f}",
        f"{line.failed.value:.2f}",
        f"{line.turns.value:.0f}",
        f"{line.warm.value:.1f}",
        f"{line.edge.value:.1f}",
        "*" if front else "",
    )


def overview_table(results: Results, objective: Sequence[str], style: Style = "text") -> str:
    """Every law over the objective's scenarios: means, how often it kept its promise, and was best."""
    scenarios = [name for name in objective if name in results]
    laws = [law for law in results[scenarios[0]] if all(law in results[name] for name in scenarios)]
    seeds = len(results[scenarios[0]][laws[0]])
    means = {
        law: {name: mean(one.objective for one in results[name][law]) for name in scenarios} for law in laws
    }
    rows = []
    for law in laws:
        per_seed = [mean(results[name][law][seed].objective for name in scenarios) for seed in range(seeds)]
        kept = [mean(one.violations - one.allowed for one in results[name][law]) <= 0 for name in scenarios]
        best = [means[law][name] <= min(means[other][name] for other in laws) for name in scenarios]
        rows.append(
            (
                law,
                str(estimate(per_seed)),
                f"{mean(one.violations for name in scenarios for one in results[name][law]):.2f}",
                f"{mean(one.cloud for name in scenarios for one in results[name][law]):.1f}",
                f"{sum(kept)} of {len(scenarios)}",
                f"{sum(best)} of {len(scenarios)}",
            )
        )
    rows.sort(key=lambda row: float(row[1].split()[0]))
    head = ("law", "objective", "over target %", "to cloud %", "promise kept", "best")
    return _table(head, rows, style)


def duel_table(results: Results, one: str, other: str, style: Style = "text") -> str:
    """Two laws side by side: objective by scenario, paired by seed."""
    rows = []
    for name, by_law in results.items():
        if one not in by_law or other not in by_law:
            continue
        ours, theirs = by_law[one], by_law[other]
        differences = [b.objective - a.objective for a, b in zip(ours, theirs, strict=True)]
        difference = estimate(differences)
        certain = abs(difference.value) > difference.margin
        verdict = ("better" if difference.value > 0 else "worse") if certain else "no difference"
        rows.append(
            (
                name,
                f"{mean(a.objective for a in ours):.1f}",
                f"{mean(b.objective for b in theirs):.1f}",
                str(difference),
                verdict,
            )
        )
    return _table(("scenario", one, other, "difference", f"{one} is"), rows, style)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], style: Style) -> str:
    if style == "markdown":
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in (head, *rows)
    )
