"""Tests on a real API server."""

from lab.testing import lab_cluster
from tests.api.router_world import router

__all__ = ["lab_cluster", "router"]
