"""End-to-end tests run in the lab."""

from collections.abc import Iterator

import pytest

from lab.cluster import Lab
from lab.demo import Demo
from lab.testing import lab_cluster, lab_nodes, spare_layout
from tests.e2e.path_world import HASTY

__all__ = ["demo", "lab_cluster", "lab_nodes"]


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """The demo up to the point where the service is Ready."""
    lab = Lab(spare_layout(4))
    found = Demo(lab, HASTY)
    try:
        found.start_cluster()
        found.publish()
        found.install()
        found.serve()
        found.ask()
        yield found
    finally:
        lab.down()
