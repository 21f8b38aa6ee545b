"""What the chart tells the agent, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.provenance.transport import PLAIN_HTTP_VARIABLE, plain_http_hosts

DRIVER: Final = "models.edgewise.dev"
#: unix(7): sun_path has 108 bytes with the one that ends it.
MAX_SOCKET_PATH: Final = 107


@dataclass(frozen=True, slots=True)
class Settings:
    """The agent's settings.

    Attributes:
        node: name of the node, as the API server knows it.
        kubelet: the kubelet's folder, at the same path here as on the host.
        store: verified bytes. On the host's disk; survives the agent.
        journal: mounts, kept verdicts, kept keys. On the host's disk.
        keys: the mounted document of verdict keys.
        view: private scratch folder for mounts on old kernels.
        plain_http: registries without TLS.
        quota: bytes that the store may take; 0 leaves only the disk's own limit.
        port: of health and metrics.
        publish_wait: seconds that a publish call waits for a download before it reports progress.
        api_url: of the API server ("" when there is none to ask).
        credentials: folder with `token` and `ca.crt` of the service account.
        namespace: of the agent and the operator, where the ConfigMap of verdict keys is.
    """

    node: str
    kubelet: Path = Path("/var/lib/kubelet")
    store: Path = Path("/var/lib/edgewise/store")
    journal: Path = Path("/var/lib/edgewise/journal")
    keys: Path = Path("/etc/edgewise/verdict-keys/keys.json")
    view: Path = Path("/run/edgewise/view")
    plain_http: frozenset[str] = frozenset()
    quota: int = 0
    port: int = 9091
    publish_wait: float = 20.0
    api_url: str = ""
    credentials: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    namespace: str = ""

    @property
    def csi_socket(self) -> Path:
        """Where the kubelet calls the driver."""
        return self.kubelet / "plugins" / DRIVER / "csi.sock"

    @property
    def registration_socket(self) -> Path:
        """Where the kubelet's plugin watcher finds the driver."""
        return self.kubelet / "plugins_registry" / f"{DRIVER}-reg.sock"


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        ValueError: a setting is missing or malformed; the message names the variable.
    """
    node = environment.get("EDGEWISE_NODE_NAME", "")
    if not node:
        raise ValueError("EDGEWISE_NODE_NAME is not set: give it spec.nodeName")
    host, port = (
        environment.get("KUBERNETES_SERVICE_HOST", ""),
        environment.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    in_cluster = f"https://{f'[{host}]' if ':' in host else host}:{port}" if host else ""
    default = Settings(node)

    def path(name: str, otherwise: Path) -> Path:
        return Path(environment.get(name) or otherwise)

    settings = Settings(
        node=node,
        kubelet=path("EDGEWISE_KUBELET_DIR", default.kubelet),
        store=path("EDGEWISE_STORE_DIR", default.store),
        journal=path("EDGEWISE_JOURNAL_DIR", default.journal),
        keys=path("EDGEWISE_VERDICT_KEYS", default.keys),
        view=path("EDGEWISE_VIEW_DIR", default.view),
        plain_http=plain_http_hosts(environment.get(PLAIN_HTTP_VARIABLE, "")),
        quota=int(_number(environment, "EDGEWISE_STORE_QUOTA_BYTES", default.quota)),
        port=int(_number(environment, "EDGEWISE_AGENT_PORT", default.port)),
        publish_wait=_number(environment, "EDGEWISE_PUBLISH_WAIT_SECONDS", default.publish_wait),
        api_url=environment.get("EDGEWISE_API_SERVER", in_cluster),
        credentials=path("EDGEWISE_CREDENTIALS_DIR", default.credentials),
        namespace=environment.get("EDGEWISE_NAMESPACE", ""),
    )
    for socket in (settings.csi_socket, settings.registration_socket):
        if len(bytes(socket)) > MAX_SOCKET_PATH:
            raise ValueError(
                f"EDGEWISE_KUBELET_DIR: {socket} is longer than a socket's {MAX_SOCKET_PATH} bytes"
            )
    return settings


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}={text!r}: a number >= 0 is wanted")
    return value
