"""What never changes of a router's configuration while it runs: the bootstrap, and what files it follows.

Reference of every field: https://www.envoyproxy.io/docs/envoy/v1.40.0/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

FOLDER: Final = "/etc/edgewise/router"
ADMIN_PORT: Final = 9901
#: What the operator and the kubelet may see of the admin interface.
STATS_PORT: Final = 9902
TYPE: Final = "type.googleapis.com/envoy."
#: Milliseconds; fine enough that a latency target lies within 25 % of a boundary.
BUCKETS_MS: Final = (
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 100, 120, 150, 175, 200, 250,
    300, 350, 400, 500, 600, 800, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 5000, 7500, 10000, 30000, 60000,
)  # fmt: skip


def bootstrap() -> str:
    """The part of the configuration that never changes while a router runs."""
    admin = {"socket_address": {"address": "127.0.0.1", "port_value": ADMIN_PORT}}
    allowed = ("/stats/prometheus", "/ready", "/config_dump")
    config = {
        "node": {"id": "router", "cluster": "edgewise"},
        "admin": {"address": admin},
        "stats_config": {
            "histogram_bucket_settings": [
                {"match": {"safe_regex": {"regex": ".*"}}, "buckets": list(BUCKETS_MS)}
            ]
        },
        "dynamic_resources": {"lds_config": source("lds.json"), "cds_config": source("cds.json")},
        "static_resources": {
            "clusters": [
                {
                    "name": "admin",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "admin",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": admin}}]}],
                    },
                }
            ],
            "listeners": [
                {
                    "name": "stats",
                    "address": {"socket_address": {"address": "0.0.0.0", "port_value": STATS_PORT}},  # noqa: S104
                    "filter_chains": [
                        http_filter_chain(
                            {
                                "stat_prefix": "stats",
                                "route_config": {
                                    "virtual_hosts": [
                                        {
                                            "name": "admin",
                                            "domains": ["*"],
                                            "routes": [
                                                {"match": {"path": path}, "route": {"cluster": "admin"}}
                                                for path in allowed
                                            ],
                                        }
                                    ]
                                },
                            }
                        )
                    ],
                }
            ],
        },
    }
    return json.dumps(config, sort_keys=True)


def source(name: str) -> dict[str, Any]:
    """A file that Envoy reads again whenever the kubelet swaps the ConfigMap's folder."""
    return {
        "path_config_source": {"path": f"{FOLDER}/{name}", "watched_directory": {"path": FOLDER}},
        "resource_api_version": "V3",
    }


def http_filter_chain(manager: Mapping[str, Any]) -> dict[str, Any]:
    """A listener's filters: HTTP with these settings, and nothing but the router behind it."""
    return {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": TYPE
                    + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "http_filters": [
                        {
                            "name": "envoy.filters.http.router",
                            "typed_config": {"@type": TYPE + "extensions.filters.http.router.v3.Router"},
                        }
                    ],
                    **manager,
                },
            }
        ]
    }
