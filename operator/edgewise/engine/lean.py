"""Import `kubernetes.aio` without the synchronous half of its package.

`import kubernetes.aio` first runs `kubernetes/__init__.py`, which loads the synchronous client, its websocket
streams, requests and OAuth: 7 MB of an operator that has to fit beside models on a small device
(docs/adr/0006). A package is a module with a search path, so one with the same path and nothing loaded
stands in for it; every submodule can still be imported by its name.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import Final, cast

_NAME: Final = "kubernetes"
_SYNCHRONOUS: Final = "kubernetes.client"


def leave_out_the_synchronous_client() -> None:
    """Put the stand-in into place, before anything imports `kubernetes`; later it does nothing."""
    if _NAME in sys.modules:
        return
    found = find_spec(_NAME)
    if found is None:
        return  # whoever imports it will say that it is not installed
    spec = ModuleSpec(_NAME, None, origin=found.origin, is_package=True)
    spec.submodule_search_locations = found.submodule_search_locations
    sys.modules[_NAME] = module_from_spec(spec)
    _import_kopf_without_it()


def _import_kopf_without_it() -> None:
    """Kopf looks for the synchronous client, to know its classes when it sees one; it can do without."""
    modules = cast(dict[str, object], sys.modules)
    modules[_SYNCHRONOUS] = None
    try:
        import kopf  # noqa: F401
    finally:
        del modules[_SYNCHRONOUS]
