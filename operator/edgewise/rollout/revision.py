"""A revision of a service: what the user changed, kept for ever as it was.

Its hash covers the service's inputs and the variants' digests, never rendered output, so a new operator
or catalogue renders nothing anew that runs. Everything that rendering needs is stored with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from edgewise.api.edgemodel import EdgeModel, Variant
from edgewise.api.inferenceservice import InferenceService
from edgewise.api.meta import Strict, seconds
from edgewise.catalog.catalogue import Catalogue

#: Version of the templates in render/. A change of what they make for the same revision needs a new
#: number, and the old number must go on making what it made.
RENDER_VERSION: Final = 1


class NodeRule(Strict):
    """A label that nodes with an accelerator class carry."""

    label: str
    value: str


class ServerRef(Strict):
    """The server of a variant, resolved when the revision was made."""

    runtime: str
    image: str
    port: int
    ready: str
    live: str


class Revision(Strict):
    """One revision of a service."""

    render_version: int
    number: int = 0
    service: str
    model: str
    version: str
    variants: list[Variant]
    #: By format and accelerator class, ``onnx/cpu``.
    servers: dict[str, ServerRef]
    #: Alternatives of node labels by accelerator class; none means any node.
    node_rules: dict[str, list[NodeRule]] = Field(default={})
    #: Latency target in seconds, and the percentage of answers that must meet it.
    target: float
    percentile: int
    max_in_flight: int

    @property
    def hash(self) -> str:
        """Ten hexadecimal digits over what the user can change."""
        inputs = {
            "render": self.render_version,
            "model": self.model,
            "version": self.version,
            "variants": [
                variant.model_dump(mode="json", exclude={"uri", "size"}) for variant in self.variants
            ],
            "target": self.target,
            "percentile": self.percentile,
            "maxInFlight": self.max_in_flight,
        }
        text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def digests(self) -> frozenset[str]:
        """Typed digests of the bytes that it serves."""
        return frozenset(variant.digest for variant in self.variants)

    def server(self, format_: str, accelerator: str) -> ServerRef | None:
        """The server that runs a format on a class."""
        return self.servers.get(f"{format_}/{accelerator}")


def resolve(
    service: InferenceService, model: EdgeModel, catalogue: Catalogue, images: Mapping[str, str]
) -> Revision:
    """The revision that a service and the present state of its model ask for.

    `images` gives the image of each runtime's image name, by digest where the installer set one.
    """
    servers: dict[str, ServerRef] = {}
    rules: dict[str, list[NodeRule]] = {}
    for variant in model.spec.variants:
        for accelerator in variant.accelerators:
            runtime = catalogue.runtime(variant.format, accelerator)
            image = images.get(runtime.image, "") if runtime else ""
            if runtime is None or not image:
                continue
            servers[f"{variant.format}/{accelerator}"] = ServerRef(
                runtime=runtime.name, image=image, port=runtime.port, ready=runtime.ready, live=runtime.live
            )
            rules[accelerator] = [
                NodeRule(label=rule.label, value=rule.value) for rule in catalogue.rules(accelerator)
            ]
    return Revision(
        render_version=RENDER_VERSION,
        service=service.metadata.name,
        model=model.metadata.name,
        version=model.spec.version,
        variants=model.spec.variants,
        servers=servers,
        node_rules=rules,
        target=seconds(service.spec.shift.latency.target),
        percentile=service.spec.shift.latency.percentile,
        max_in_flight=service.spec.shift.max_in_flight,
    )


def parse(data: Mapping[str, Any]) -> Revision:
    """A revision from the data of its ControllerRevision."""
    return Revision.model_validate(data)


def pinned(service: InferenceService, version: str, kept: list[Revision]) -> Revision | None:
    """A kept revision's bytes and server under the service's present inputs, for `modelRef.version`.

    Going back to a version that the model has left finds it here; None when no kept revision has it.
    """
    for revision in sorted(kept, key=lambda revision: -revision.number):
        if revision.model == service.spec.model_ref.name and revision.version == version:
            return revision.model_copy(
                update={
                    "target": seconds(service.spec.shift.latency.target),
                    "percentile": service.spec.shift.latency.percentile,
                    "max_in_flight": service.spec.shift.max_in_flight,
                }
            )
    return None
