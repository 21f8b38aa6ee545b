"""Sigstore bundles, version 0.1 to 0.3, as far as the key method needs them (DSSE, public-key hint).

https://github.com/sigstore/protobuf-specs: message `dev.sigstore.bundle.v1.Bundle` in its JSON form. What
this version cannot check (certificates, transparency log entries, timestamps, plain message signatures) is
refused by name and never skipped: an unchecked part that looks checked is worse than none.
"""

from dataclasses import dataclass
from typing import Final

from edgewise.provenance import dsse, reasons
from edgewise.provenance.errors import ProvenanceError, printable
from edgewise.provenance.strictjson import Fields, JsonError, parse_object

#: Media type of the current form; also the OCI artifact and layer type of an attached bundle.
MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
MEDIA_TYPES: Final = frozenset(
    {
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        MEDIA_TYPE,
    }
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A DSSE envelope and the name of the key that claims to have signed it ("" when there is none)."""

    hint: str
    envelope: dsse.Envelope


def read_bundle(data: bytes, *, max_bytes: int) -> Bundle:
    """Read a bundle.

    Raises:
        ProvenanceError: BundleInvalid; the message names the part and what to use instead.
    """
    try:
        return _read(data, max_bytes)
    except JsonError as error:
        raise ProvenanceError(reasons.BUNDLE_INVALID, str(error)) from error


def write_bundle(envelope: dict[str, object], hint: str) -> dict[str, object]:
    """A bundle of the current form around a DSSE envelope, as a JSON object."""
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }


def _read(data: bytes, max_bytes: int) -> Bundle:
    fields = Fields(parse_object(data, max_bytes=max_bytes), "bundle")
    media_type = fields.text("mediaType")
    if media_type not in MEDIA_TYPES:
        raise JsonError(f"bundle.mediaType {printable(media_type)}: wanted a Sigstore bundle 0.1 to 0.3")
    if "messageSignature" in fields:
        raise JsonError("bundle.messageSignature: a bare signature names no files; sign with OMS (DSSE)")
    hint = _hint(fields.fields("verificationMaterial"))
    envelope = dsse.read_envelope(fields.take("dsseEnvelope"), "bundle.dsseEnvelope")
    fields.done()
    if len(envelope.signatures) != 1:
        raise JsonError(
            f"bundle.dsseEnvelope: {len(envelope.signatures)} signatures, a bundle has exactly one"
        )
    return Bundle(hint, envelope)


def _hint(material: Fields) -> str:
    for name in ("certificate", "x509CertificateChain"):
        if name in material:
            raise JsonError(f"{material.where}.{name}: only the key method is checked; sign with a key")
    if material.items("tlogEntries", required=False):
        raise JsonError(f"{material.where}.tlogEntries: log entries are not checked yet; sign without upload")
    if "timestampVerificationData" in material:
        stamps = material.fields("timestampVerificationData")
        if stamps.items("rfc3161Timestamps", required=False):
            raise JsonError(f"{stamps.where}: timestamps are not checked yet; sign without them")
        stamps.done()
    key = material.fields("publicKey")
    hint = key.text("hint", "")
    key.done()
    material.done()
    return hint
