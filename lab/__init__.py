"""A real Kubernetes cluster on one machine, without Docker: for the demo, the tests and looking around."""

from lab.cluster import Lab
from lab.errors import CommandFailedError, LabError
from lab.node import Node
from lab.progress import Progress
from lab.settings import Layout
from lab.specs import DEFAULT_NODES, SITE_LABEL, ControlPlaneOptions, NodeSpec

__all__ = [
    "DEFAULT_NODES",
    "SITE_LABEL",
    "CommandFailedError",
    "ControlPlaneOptions",
    "Lab",
    "LabError",
    "Layout",
    "Node",
    "NodeSpec",
    "Progress",
]
