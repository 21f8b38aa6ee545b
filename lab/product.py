"""edgewise itself in the lab: its images built from the checkout, its chart installed as any user would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.cluster import Lab
from lab.specs import SITE_LABEL

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "edgewise-system"
RELEASE = "edgewise"
_INCLUDE = ("pyproject.toml", "README.md", "LICENSE", "requirements", "operator")


def publish_images(lab: Lab, version: str = "dev", sources: Path = ROOT) -> dict[str, str]:
    """Build the operator's, agent's and server's image, and the router's; references by digest, by name.

    Args:
        lab: where they are pushed to.
        version: the images' tag.
        sources: the checkout that they are built from.
    """
    found = {
        name: lab.publish(
            lab.images.build(
                sources / "images" / f"{name}.Dockerfile",
                sources,
                f"edgewise/{name}:{version}",
                include=_INCLUDE,
            )
        )
        for name in ("operator", "agent", "server")
    }
    found["router"] = lab.publish(lab.images.envoy())
    return found


def values(lab: Lab, images: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """The chart's values for the lab: images by digest, no TLS to the registry."""
    return {
        "images": dict(images),
        "registries": {"plainHttp": [lab.registry.host, lab.referrers.host]},
        "operator": {"nodeSelector": {SITE_LABEL: "cloud"}},
        **more,
    }


def install(lab: Lab, settings: Mapping[str, Any], wait: str = "120s") -> None:
    """``helm upgrade --install`` of the chart, and wait until everything in it is ready."""
    path = lab.layout.home / "values.json"
    path.write_text(json.dumps(settings))
    lab.helm(
        *("upgrade", "--install", RELEASE, str(ROOT / "charts/edgewise"), "--namespace", NAMESPACE),
        *("--create-namespace", "--values", str(path), "--wait", "--timeout", wait),
    )


def uninstall(lab: Lab) -> None:
    """``helm uninstall``; fails while pods use models."""
    lab.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "120s")
