"""Settings of the operator process, from its environment, as the chart sets them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewise.provenance.transport import plain_http_hosts


class SettingsError(ValueError):
    """The environment says something that the operator cannot work with."""


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How the process runs. Rates in requests/s."""

    namespace: str
    #: UID of the pod: a container that is started again in its pod is the same lease holder.
    identity: str
    #: Name of the operator's Deployment, which owns the routers; empty outside a cluster.
    deployment: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    plain_http: frozenset[str] = frozenset()
    discovered_sites_allow_all: bool = False
    kubeconfig: str = ""
    workers: int = 4
    rate: float = 100.0
    burst: int = 200
    health_port: int = 8081
    metrics_port: int = 9090


def from_environment(environment: Mapping[str, str] | None = None) -> ProcessSettings:
    """Settings from environment variables.

    Raises:
        SettingsError: a variable is missing or makes no sense; the message names it.
    """
    env = os.environ if environment is None else environment
    namespace = env.get("EDGEWISE_NAMESPACE", "")
    if not namespace:
        raise SettingsError("EDGEWISE_NAMESPACE is not set; the chart sets it to the operator's namespace")
    allow = env.get("EDGEWISE_DISCOVERED_SITES_ALLOW", "Nothing")
    if allow not in {"Nothing", "Everything"}:
        raise SettingsError(f"EDGEWISE_DISCOVERED_SITES_ALLOW is {allow!r}; write Nothing or Everything")
    return ProcessSettings(
        namespace=namespace,
        identity=env.get("EDGEWISE_POD_UID") or f"process-{os.getpid()}",
        deployment=env.get("EDGEWISE_DEPLOYMENT", ""),
        images={
            name: env[variable]
            for name, variable in (("server", "EDGEWISE_SERVER_IMAGE"), ("router", "EDGEWISE_ROUTER_IMAGE"))
            if env.get(variable)
        },
        plain_http=plain_http_hosts(env.get("EDGEWISE_PLAIN_HTTP_REGISTRIES", "")),
        discovered_sites_allow_all=allow == "Everything",
        kubeconfig=env.get("KUBECONFIG", ""),
        workers=_number(env, "EDGEWISE_WORKERS", 4),
        rate=float(_number(env, "EDGEWISE_CLIENT_RATE", 100)),
        burst=_number(env, "EDGEWISE_CLIENT_BURST", 200),
        health_port=_number(env, "EDGEWISE_HEALTH_PORT", 8081),
        metrics_port=_number(env, "EDGEWISE_METRICS_PORT", 9090),
    )


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{name} is {text!r}; write a whole number of at least 1")
    return int(text)
