"""The cluster's verdict keys: made by the operator, published to the nodes, rotated with overlap.

The private key lives in a Secret that only the operator reads. The public document (a ConfigMap, mounted into
the agents and kept on their disks) lists every key whose verdicts still count, and the cluster they are for.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgewise.provenance.publickeys import (
    PublicKey,
    UnusableKeyError,
    load_private_key,
    load_public_key,
    public_key_of,
)
from edgewise.provenance.strictjson import Fields, JsonError, parse_object
from edgewise.provenance.times import format_time, parse_time

MAX_DOCUMENT_BYTES: Final = 256 * 1024
#: How long verdicts of a replaced key still count: longer than a verdict lives, so that none dies early.
OVERLAP: Final = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class VerdictKey:
    """One public key and the window in which its verdicts count (`not_after` None: until replaced)."""

    key: PublicKey
    not_before: datetime
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class VerdictKeys:
    """What a node trusts: the cluster that it belongs to, and that cluster's keys."""

    cluster: str
    keys: tuple[VerdictKey, ...]


def new_private_key() -> bytes:
    """A fresh ECDSA P-256 key as unencrypted PKCS 8 PEM, for the operator's Secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def first_document(private_pem: bytes, cluster: str, now: datetime) -> VerdictKeys:
    """The key document of a cluster that has just made its first key."""
    return VerdictKeys(cluster, (VerdictKey(_public(private_pem), now, None),))


def rotate(
    document: VerdictKeys, private_pem: bytes, now: datetime, overlap: timedelta = OVERLAP
) -> VerdictKeys:
    """Add the key to the document; the others end after `overlap`, and those that have ended are dropped.

    Nothing changes when the key is in the document already, so this may run at every start.
    """
    public = _public(private_pem)
    if any(entry.key.id == public.id for entry in document.keys):
        return document
    kept = []
    for entry in document.keys:
        end = now + overlap if entry.not_after is None else min(entry.not_after, now + overlap)
        if end > now:
            kept.append(VerdictKey(entry.key, entry.not_before, end))
    return VerdictKeys(document.cluster, (VerdictKey(public, now, None), *kept))


def write_document(document: VerdictKeys) -> str:
    """The text for `keys.json`; equal documents have equal text."""
    keys = [
        {
            "id": entry.key.id,
            "pem": entry.key.pem,
            "notBefore": format_time(entry.not_before),
            "notAfter": "" if entry.not_after is None else format_time(entry.not_after),
        }
        for entry in document.keys
    ]
    return json.dumps({"cluster": document.cluster, "keys": keys}, indent=2)


def read_document(data: bytes) -> VerdictKeys:
    """Read `keys.json`.

    Raises:
        JsonError: malformed, without a key, or an id that is not its key's.
    """
    fields = Fields(parse_object(data, max_bytes=MAX_DOCUMENT_BYTES), "keys.json")
    cluster = fields.text("cluster")
    entries = []
    for index, item in enumerate(fields.items("keys")):
        entry = Fields(item, f"keys.json.keys[{index}]")
        try:
            key = load_public_key(entry.text("pem"))
        except UnusableKeyError as error:
            raise JsonError(f"{entry.where}.pem: {error}") from error
        if entry.text("id") != key.id:
            raise JsonError(f"{entry.where}.id is not the sha256 of its key")
        end = entry.text("notAfter", "")
        entries.append(
            VerdictKey(
                key,
                parse_time(entry.text("notBefore"), f"{entry.where}.notBefore"),
                parse_time(end, f"{entry.where}.notAfter") if end else None,
            )
        )
        entry.done()
    fields.done()
    if not cluster or not entries:
        raise JsonError("keys.json: no cluster or no key")
    return VerdictKeys(cluster, tuple(entries))


def _public(private_pem: bytes) -> PublicKey:
    return public_key_of(load_private_key(private_pem).public_key())
