"""Fixtures for pytest: a control plane, or one with two nodes, started once a session.

Import them in a conftest.py: `from lab.testing import lab_cluster, lab_nodes`. Tests get a lab of their own
(instance 1, unless EDGEWISE_LAB_INSTANCE or EDGEWISE_LAB_HOME says otherwise), so a demo that runs is left
alone. With EDGEWISE_LAB_KEEP=1 the lab stays up after the session, and the next one goes on with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.cluster import Lab
from lab.settings import Layout
from lab.specs import DEFAULT_NODES

_TEST_INSTANCE = "1"


def layout() -> Layout:
    """The layout of the tests' lab."""
    environment = dict(os.environ)
    if "EDGEWISE_LAB_HOME" not in environment:
        environment.setdefault("EDGEWISE_LAB_INSTANCE", _TEST_INSTANCE)
    return Layout.from_environment(environment)


def spare_layout(instance: int = 2) -> Layout:
    """A layout beside the session's, for a test that starts, breaks and removes a lab of its own."""
    found = layout()
    number = instance if instance != found.instance else instance + 1
    return replace(found, home=found.home.with_name(f"edgewise-lab-{number}"), instance=number)


class _Session:
    """The one lab of this pytest session, however many conftest files bring the fixtures in."""

    lab: Lab | None = None
    users: int = 0


@pytest.fixture(scope="session")
def lab_cluster() -> Iterator[Lab]:
    """A running control plane: API server, controller-manager, scheduler, no node."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    keep = bool(os.environ.get("EDGEWISE_LAB_KEEP"))
    if _Session.lab is None:
        lab = Lab(layout())
        if not keep:
            lab.down()
        lab.up(nodes=())
        _Session.lab = lab
    _Session.users += 1
    yield _Session.lab
    _Session.users -= 1
    if not _Session.users and not keep:
        _Session.lab.down()
        _Session.lab = None


@pytest.fixture(scope="session")
def lab_nodes(lab_cluster: Lab) -> Lab:
    """The same lab with two Ready nodes: `edge-1` at site plant-1 and `cloud-1` at site cloud."""
    lab_cluster.up(DEFAULT_NODES)
    return lab_cluster
