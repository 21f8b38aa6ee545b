"""End-to-end tests run in the lab."""

from lab.testing import lab_cluster, lab_nodes

__all__ = ["lab_cluster", "lab_nodes"]
