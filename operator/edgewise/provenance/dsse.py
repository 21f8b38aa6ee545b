"""DSSE: the envelope around statements (https://github.com/secure-systems-lab/dsse, protocol 1.0.2)."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgewise.provenance.publickeys import PublicKey, SigningKey, public_key_of, sign
from edgewise.provenance.strictjson import Fields, JsonError

#: The only payload type that edgewise reads or writes.
IN_TOTO: Final = "application/vnd.in-toto+json"
#: Signatures in one envelope; Sigstore bundles have exactly one, verdicts too.
MAX_SIGNATURES: Final = 8


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature and the name of its key, which nothing vouches for."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and its signatures, decoded but not believed."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: type and body with their lengths, so that neither can pass for the other."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def decode_base64(text: str, where: str) -> bytes:
    """Standard base64, padded, nothing else in between.

    One value has one spelling: characters that a lenient decoder skips, and bits that it drops, are refused.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise JsonError(f"{where} is not base64") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise JsonError(f"{where} is not canonical base64")
    return data


def read_envelope(value: object, where: str) -> Envelope:
    """Read an envelope from parsed JSON.

    Raises:
        JsonError: a field is missing, of a wrong type, or unknown; no signature, or more than MAX_SIGNATURES.
    """
    fields = Fields(value, where)
    payload_type = fields.text("payloadType")
    payload = decode_base64(fields.text("payload"), f"{where}.payload")
    items = fields.items("signatures")
    fields.done()
    if not 1 <= len(items) <= MAX_SIGNATURES:
        raise JsonError(f"{where}: {len(items)} signatures, wanted 1 to {MAX_SIGNATURES}")
    signatures = []
    for index, item in enumerate(items):
        place = f"{where}.signatures[{index}]"
        entry = Fields(item, place)
        signatures.append(
            Signature(entry.text("keyid", ""), decode_base64(entry.text("sig"), f"{place}.sig"))
        )
        entry.done()
    return Envelope(payload_type, payload, tuple(signatures))


def signers(envelope: Envelope, keys: Iterable[PublicKey]) -> frozenset[str]:
    """The ids of those `keys` that really signed. A keyid that is present has to name the key."""
    message = pae(envelope.payload_type, envelope.payload)
    return frozenset(
        key.id
        for key in keys
        for signature in envelope.signatures
        if (not signature.keyid or signature.keyid in key.hints) and key.verifies(signature.sig, message)
    )


def sign_envelope(payload: bytes, key: SigningKey, *, keyid: str | None = None) -> dict[str, object]:
    """Make an envelope as a JSON object. `keyid` is the key's id unless given ("" leaves it empty)."""
    name = public_key_of(key.public_key()).id if keyid is None else keyid
    signature = base64.b64encode(sign(key, pae(IN_TOTO, payload))).decode("ascii")
    return {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": signature, "keyid": name}],
    }
