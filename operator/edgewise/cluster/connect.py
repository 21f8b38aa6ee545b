"""Finding the API server: in a pod by the service account, elsewhere by the kubeconfig."""

from __future__ import annotations

import os

from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration

from edgewise.cluster.client import Client


async def connect(kubeconfig: str = "", rate: float = 100.0, burst: int = 200) -> Client:
    """A client for the cluster that this process runs in, or that a kubeconfig names.

    Raises:
        kubernetes.config.ConfigException: neither a service account nor a kubeconfig was found.
    """
    configuration = Configuration()
    configuration.client_side_validation = False
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(
            config_file=kubeconfig or None, client_configuration=configuration, persist_config=False
        )
    # The API server's certificate may come from a simple CA (K3s, kind) without the key identifiers
    # that OpenSSL's strict mode of Python 3.13 wants.
    configuration.disable_strict_ssl_verification = True
    return Client(configuration, rate, burst)
