from __future__ import annotations

from pathlib import Path

import pytest

from lab import toolchain
from lab.errors import LabError
from lab.progress import Silent
from lab.settings import ENVOY_VERSION, ETCD_VERSION, HELM_VERSION, KUBERNETES_VERSION
from lab.toolchain import ALL, Tool, Toolchain, go_version, mentions_version, required_go

SOURCES = Path(toolchain.__file__).parent / "tools"


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        ("Kubernetes v1.35.4", True),
        ("v1.35.4+k3s1", True),
        ("1.35.4", True),
        ("Kubernetes v1.35.40", False),
        ("Kubernetes v11.35.4", False),
        ("v1.35.4.1", False),
        ("v1.35.3", False),
    ],
)
def test_only_the_right_version_will_do(answer: str, same: bool) -> None:
    assert mentions_version(answer, "1.35.4") is same


@pytest.mark.parametrize(
    ("text", "version"), [("go1.26.8\n", (1, 26, 8)), ("go 1.25", (1, 25)), ("go1.27rc1", (1, 27))]
)
def test_versions_of_go(text: str, version: tuple[int, ...]) -> None:
    assert go_version(text) == version


def test_a_module_without_a_go_line_is_told() -> None:
    with pytest.raises(LabError, match="no `go` line"):
        required_go("module x\n")


@pytest.mark.parametrize(
    "tool", [tool for tool in (*ALL, toolchain.REFERRERS) if tool.module], ids=lambda t: t.name
)
def test_every_module_can_be_built_from_what_is_committed(tool: Tool) -> None:
    folder = SOURCES / tool.module
    mod = (folder / "go.mod").read_text()
    assert required_go(mod) <= go_version(toolchain.GO_WHEEL_VERSION)
    assert "require" not in mod or (folder / "go.sum").stat().st_size > 0


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("kubernetes", f"k8s.io/kubernetes v{KUBERNETES_VERSION}"),
        ("etcd", f"go.etcd.io/etcd/server/v3 v{ETCD_VERSION}"),
        ("helm", f"helm.sh/helm/v4 v{HELM_VERSION}"),
    ],
)
def test_the_modules_build_the_versions_that_are_promised(module: str, line: str) -> None:
    assert line in (SOURCES / module / "go.mod").read_text()


def test_a_program_on_path_of_the_right_version_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "envoy"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho envoy version: 0/{ENVOY_VERSION}/Clean\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert Toolchain(tmp_path / "cache", Silent()).path(toolchain.ENVOY) == program


def test_what_is_in_the_cache_comes_first(tmp_path: Path) -> None:
    kept = tmp_path / "bin" / f"etcd-{ETCD_VERSION}" / "etcd"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert Toolchain(tmp_path, Silent()).path(toolchain.ETCD) == kept
