"""The server's settings, from the environment of its container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from edgewise.serving.errors import SettingsError
from edgewise.traffic.admission import Target

Side = Literal["edge", "cloud"]
Number = TypeVar("Number", int, float)

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a server is told from outside.

    Attributes:
        model_name: name in the paths of the protocol (`EDGEWISE_MODEL_NAME`).
        model_version: version in these paths (`EDGEWISE_MODEL_VERSION`).
        model_path: folder with the model, or the .onnx file itself (`EDGEWISE_MODEL_PATH`).
        target: latency target, allowed share over it and ceiling of K (`EDGEWISE_LATENCY_TARGET` in seconds,
            `EDGEWISE_ALLOWED_OVER_TARGET`, `EDGEWISE_MAX_IN_FLIGHT`).
        profile_seconds: seconds of one request alone (`EDGEWISE_PROFILE_LATENCY`), None when unknown.
        host: address to listen on (`EDGEWISE_HOST`); empty: all, IPv4 and IPv6.
        port: port to listen on (`EDGEWISE_PORT`); 0: any free one.
        concurrency: inferences side by side (`EDGEWISE_CONCURRENCY`).
        threads: threads inside one inference (`EDGEWISE_THREADS`).
        side: an edge replica learns K, a cloud replica keeps it at the ceiling (`EDGEWISE_SIDE`).
        site: told in every answer (`EDGEWISE_SITE`).
        revision: told in every answer (`EDGEWISE_REVISION`).
        drain_seconds: how long answers go on after SIGTERM (`EDGEWISE_DRAIN_SECONDS`).
        body_seconds: how long an admitted request may take to arrive (`EDGEWISE_BODY_SECONDS`).
        max_body_bytes: largest request (`EDGEWISE_MAX_BODY_BYTES`).
    """

    model_name: str
    target: Target
    model_version: str = "1"
    model_path: Path = Path("/models")
    profile_seconds: float | None = None
    host: str = ""
    port: int = 8080
    concurrency: int = 1
    threads: int = 1
    side: Side = "edge"
    site: str = ""
    revision: str = ""
    drain_seconds: float = 5.0
    body_seconds: float = 10.0
    max_body_bytes: int = 16 * MEBIBYTE


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings; a variable that is absent or empty has its default.

    Raises:
        SettingsError: with the variable, what was found and what is wanted.
    """

    def number(name: str, kind: Callable[[str], Number], default: Number, least: Number) -> Number:
        text = environment.get(name, "")
        if not text:
            return default
        try:
            value = kind(text)
            if value >= least:  # false for NaN, too
                return value
        except ValueError:
            pass
        what = "whole number" if kind is int else "number"
        raise SettingsError(f"{name} is {text!r}; wanted: a {what} of at least {least}")

    def required(name: str, example: str) -> str:
        text = environment.get(name, "")
        if not text:
            raise SettingsError(f"{name} is not set; wanted: {example}")
        return text

    required("EDGEWISE_LATENCY_TARGET", "the latency target in seconds, for example 0.08")
    try:
        target = Target(
            latency=number("EDGEWISE_LATENCY_TARGET", float, 0.0, 0.0),
            allowed=number("EDGEWISE_ALLOWED_OVER_TARGET", float, 0.05, 0.0),
            ceiling=number("EDGEWISE_MAX_IN_FLIGHT", float, 8.0, 0.0),
        )
    except ValueError as error:
        raise SettingsError(
            f"{error} (EDGEWISE_LATENCY_TARGET, EDGEWISE_ALLOWED_OVER_TARGET, EDGEWISE_MAX_IN_FLIGHT)"
        ) from error
    return Settings(
        model_name=required("EDGEWISE_MODEL_NAME", "the model's name in /v2/models/<name>"),
        model_version=environment.get("EDGEWISE_MODEL_VERSION") or "1",
        model_path=Path(environment.get("EDGEWISE_MODEL_PATH") or "/models"),
        target=target,
        profile_seconds=number("EDGEWISE_PROFILE_LATENCY", float, 0.0, 1e-6) or None,
        host=environment.get("EDGEWISE_HOST", ""),
        port=number("EDGEWISE_PORT", int, 8080, 0),
        concurrency=number("EDGEWISE_CONCURRENCY", int, 1, 1),
        threads=number("EDGEWISE_THREADS", int, 1, 1),
        side=_side(environment.get("EDGEWISE_SIDE") or "edge"),
        site=_header("EDGEWISE_SITE", environment),
        revision=_header("EDGEWISE_REVISION", environment),
        drain_seconds=number("EDGEWISE_DRAIN_SECONDS", float, 5.0, 0.0),
        body_seconds=number("EDGEWISE_BODY_SECONDS", float, 10.0, 0.1),
        max_body_bytes=number("EDGEWISE_MAX_BODY_BYTES", int, 16 * MEBIBYTE, 1),
    )


def _side(text: str) -> Side:
    if text == "edge":
        return "edge"
    if text == "cloud":
        return "cloud"
    raise SettingsError(f"EDGEWISE_SIDE is {text!r}; wanted: edge or cloud")


def _header(name: str, environment: Mapping[str, str]) -> str:
    """A value that goes into a response header, where line ends would forge further ones."""
    text = environment.get(name, "")
    if not (text.isascii() and (text.isprintable() or not text)):
        raise SettingsError(f"{name} is {text!r}; wanted: printable ASCII, it is sent as a response header")
    return text
