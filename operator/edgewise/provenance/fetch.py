"""Gathering: what the verifier needs to know of one variant, read from its registry.

Kilobytes only: the manifest and the bundles. Nobody downloads weights before the node that serves them does.
"""

from edgewise.provenance.errors import ProvenanceError
from edgewise.provenance.oci import Registry
from edgewise.provenance.request import VariantInput
from edgewise.provenance.sources import parse_source
from edgewise.provenance.transport import RegistryError


def fetch_variant(registry: Registry, name: str, uri: str, digest: str, model_format: str) -> VariantInput:
    """Read manifest and bundles of a variant. Blocking: run it in a thread.

    Never raises for what it meets outside: the judge turns `problem` into a denial with these words.
    """
    manifest, problem = b"", ""
    bundles: tuple[bytes, ...] = ()
    try:
        source = parse_source(uri)
        manifest = registry.manifest(source)
        bundles = registry.bundles(source)
    except RegistryError as error:
        problem = str(error)
    except ProvenanceError as error:
        problem = error.message
    return VariantInput(name, uri, digest, model_format, manifest, bundles, problem)
