"""What the operator's process leaves unimported."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from edgewise.engine import lean
lean.leave_out_the_synchronous_client()
import edgewise.engine.operator
import kubernetes
print(*(name for name in ("requests", "oauthlib", "websocket", "kubernetes.client") if name in sys.modules))
import kubernetes.client, kubernetes.config
print(kubernetes.config.__name__)
lean.leave_out_the_synchronous_client()
print(sys.modules["kubernetes"].config is kubernetes.config)
"""


def run(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_operator_comes_without_the_synchronous_client_and_can_still_import_it() -> None:
    assert run(PROGRAM) == ["", "kubernetes.config", "True"]


def test_the_stand_in_is_still_worth_its_while() -> None:
    """Fails when `kubernetes` has become lean by itself; then engine/lean.py can go."""
    loaded = run("import sys, kubernetes.aio; print('requests' in sys.modules)")
    assert loaded == ["True"]
