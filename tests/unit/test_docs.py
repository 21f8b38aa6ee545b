"""What the pages promise exists: commands, links, manifests; and nothing names one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from edgewise.api.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
MANIFESTS = [
    (path.name, document)
    for path in sorted((ROOT / "examples/quickstart").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document
]
#: Folders of one machine, and addresses of an index where pip or Go would look instead of their defaults.
OF_ONE_MACHINE = re.compile(
    r"(?<![\w.])/(?:work|home)/[a-z]+/|--(?:extra-)?index-url[ =]\S*://|GOPROXY=http|://[\w.-]*artifactory"
)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_commands_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    inside = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_no_file_names_one_machine() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in OF_ONE_MACHINE.finditer(text)]
    assert found == []


@pytest.mark.parametrize(("name", "document"), MANIFESTS, ids=[f"{n}-{d['kind']}" for n, d in MANIFESTS])
def test_quickstart_fits_the_kinds(name: str, document: dict[str, object]) -> None:
    kinds = {kind.__name__: kind for kind in KINDS}
    if not str(document["apiVersion"]).startswith("edgewise.dev/"):
        assert document["kind"] == "Namespace", name
        return
    kinds[str(document["kind"])].model_validate(document)
