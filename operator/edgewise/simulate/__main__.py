"""``python -m edgewise.simulate tune FOLDER``: tune what is compared with, an equal budget for each law.

Writes laws/tuned.json. Reports are made by ``edgewise simulate``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgewise.simulate.laws import registry
from edgewise.simulate.scenario import load_scenario
from edgewise.simulate.study import OBJECTIVE, tune, tune_by_scenario


def main() -> int:
    """Tune the laws that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m edgewise.simulate", description=__doc__)
    parser.add_argument("command", choices=["tune"])
    parser.add_argument("folder", type=Path, help="where the scenarios are")
    parser.add_argument("--laws", default=",".join(registry.LAWS), help="names with commas between")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    scenarios = [load_scenario(arguments.folder / f"{name}.yaml") for name in OBJECTIVE]
    others = [
        load_scenario(path) for path in sorted(arguments.folder.glob("*.yaml")) if path.stem not in OBJECTIVE
    ]
    target = Path(registry.__file__).parent / "tuned.json"
    for name in arguments.laws.split(","):
        entry = registry.LAWS[name]
        if not entry.space:
            continue
        if entry.by_scenario:
            chosen = tune_by_scenario(name, [*scenarios, *others], arguments.processes)
        else:
            chosen = tune(name, scenarios, arguments.processes)
        found = json.loads(target.read_text(encoding="utf-8"))
        found[name] = chosen
        target.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name}: {chosen}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
