"""The cloud side as an address outside the cluster: found by DNS, with TLS, and a credential of its own.

Reference of every field: https://www.envoyproxy.io/docs/envoy/v1.40.0/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgewise.render.envoy_bootstrap import TYPE, source
from edgewise.render.envoy_cluster import OUTLIERS, limits

#: Where the router has the Secret that an EdgeSite names, and the key in it.
CREDENTIAL_FOLDER: Final = "/etc/edgewise/upstream"
CREDENTIAL_KEY: Final = "authorization"
#: The roots that Debian and distroless images carry.
ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
SDS_FILE: Final = "sds-upstream.json"
_SECRET: Final = "upstream"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the cloud is.

    Attributes:
        host: name or address.
        port: of the host.
        tls: whether it speaks TLS; its certificate is checked then.
        credential: whether requests carry an `authorization` header from a Secret.
    """

    host: str
    port: int
    tls: bool
    credential: bool = False

    @property
    def authority(self) -> str:
        """What goes into the Host header."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


def parse_upstream(url: str, *, credential: bool) -> Upstream:
    """An upstream from its URL, which the CRD's pattern has checked."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.partition(":")
    tls = scheme == "https"
    return Upstream(host, int(port) if port else (443 if tls else 80), tls, credential)


def upstream_cluster(name: str, upstream: Upstream, in_flight: int | None = None) -> dict[str, Any]:
    """The cluster `name`; its addresses are asked for again as their DNS records want it."""
    address = {"socket_address": {"address": upstream.host, "port_value": upstream.port}}
    found: dict[str, Any] = {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": name,
        "cluster_type": {"name": "envoy.cluster.dns", "typed_config": _DNS},
        # A site that starts while its uplink is gone serves with its edge at once.
        "wait_for_warm_on_init": False,
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {"thresholds": [limits(in_flight)]},
        "outlier_detection": OUTLIERS,
    }
    if upstream.tls:
        found["transport_socket"] = _tls(upstream)
    if upstream.credential:
        found["typed_extension_protocol_options"] = _credential()
    return found


#: Asked for again as the records' times want it. IPv6 only where there is no IPv4: uplinks of sites often
#: lack it, and a name that has both would be tried in vain.
_DNS: Final = {
    "@type": TYPE + "extensions.clusters.dns.v3.DnsCluster",
    "respect_dns_ttl": True,
    "dns_refresh_rate": "30s",
    "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "10s"},
    "dns_lookup_family": "V4_PREFERRED",
}


def secret() -> list[Any]:
    """The discovery resource that leads Envoy to the mounted Secret."""
    return [
        {
            "@type": TYPE + "extensions.transport_sockets.tls.v3.Secret",
            "name": _SECRET,
            "generic_secret": {"secret": {"filename": f"{CREDENTIAL_FOLDER}/{CREDENTIAL_KEY}"}},
        }
    ]


def _tls(upstream: Upstream) -> dict[str, Any]:
    """TLS 1.2 at least, to a certificate that the public roots vouch for and that names the host."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": TYPE + "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": upstream.host,
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "validation_context": {
                    "trusted_ca": {"filename": ROOTS},
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": upstream.host}},
                        {"san_type": "IP_ADDRESS", "matcher": {"exact": upstream.host}},
                    ],
                },
            },
        },
    }


def _credential() -> dict[str, Any]:
    """Put the Secret's value into `authorization`, on the way to this cluster and to no other."""
    found = source(SDS_FILE)
    # The Secret's folder is watched instead: a new token is taken up without a restart.
    found["path_config_source"]["watched_directory"] = {"path": CREDENTIAL_FOLDER}
    generic = TYPE + "extensions.http.injected_credentials.generic.v3.Generic"
    injector = {
        "@type": TYPE + "extensions.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {
            "name": "envoy.http.injected_credentials.generic",
            "typed_config": {"@type": generic, "credential": {"name": _SECRET, "sds_config": found}},
        },
    }
    codec = TYPE + "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": [
                {"name": "envoy.filters.http.credential_injector", "typed_config": injector},
                {"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": codec}},
            ],
        }
    }
