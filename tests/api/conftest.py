"""Tests on a real API server."""

from lab.testing import lab_cluster

__all__ = ["lab_cluster"]
