"""Public keys: reading, naming, and checking one signature. ECDSA P-256/384/521 and Ed25519, nothing else."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

EcKey = ec.EllipticCurvePublicKey
SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

#: The digest belongs to the curve (FIPS 186-5 strengths; OMS and the Sigstore key types pair them this way).
_DIGEST_OF_CURVE: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
MAX_PEM_BYTES: Final = 4096


class UnusableKeyError(ValueError):
    """A key that cannot be used; the message says which kinds can."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and its names.

    Attributes:
        id: sha256 of the DER SubjectPublicKeyInfo, hex. Two PEM texts of one key have one id.
        hints: every way in which a bundle may name this key: the id, sha256 over the PEM text (OMS), and the
            id in base64 (cosign).
    """

    id: str
    hints: frozenset[str]
    pem: str
    key: EcKey | ed25519.Ed25519PublicKey

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` (DER for ECDSA, 64 raw bytes for Ed25519) is this key's over `message`."""
        try:
            if isinstance(self.key, EcKey):
                self.key.verify(signature, message, ec.ECDSA(_DIGEST_OF_CURVE[self.key.curve.name]()))
            else:
                self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def load_public_key(pem: str | bytes) -> PublicKey:
    """Read a PEM "PUBLIC KEY".

    Raises:
        UnusableKeyError: not a public key in PEM, or a kind or curve that is not accepted.
    """
    data = pem.encode() if isinstance(pem, str) else pem
    if len(data) > MAX_PEM_BYTES:
        raise UnusableKeyError(f"{len(data)} bytes are no public key in PEM")
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, binascii.Error) as error:
        raise UnusableKeyError("not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from error
    except Exception as error:  # cryptography.exceptions.UnsupportedAlgorithm for curves it does not know
        raise UnusableKeyError(f"unsupported key: {str(error)[:80]}") from error
    return public_key_of(key)


def public_key_of(key: object) -> PublicKey:
    """Name a key object of `cryptography`; UnusableKeyError when its kind is not accepted."""
    if isinstance(key, EcKey):
        if key.curve.name not in _DIGEST_OF_CURVE:
            raise UnusableKeyError(f"curve {key.curve.name} is not accepted: use P-256, P-384 or P-521")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise UnusableKeyError(f"{type(key).__name__} is not accepted: use ECDSA P-256/384/521 or Ed25519")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    name = hashlib.sha256(der)
    hints = {name.hexdigest(), base64.b64encode(name.digest()).decode(), hashlib.sha256(text).hexdigest()}
    return PublicKey(name.hexdigest(), frozenset(hints), text.decode(), key)


def load_private_key(pem: bytes, password: bytes | None = None) -> SigningKey:
    """Read a private key in PEM.

    Raises:
        UnusableKeyError: unreadable, wrong password, or a kind that is not accepted.
    """
    try:
        key = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError) as error:
        raise UnusableKeyError(f"not a readable private key in PEM: {str(error)[:80]}") from error
    public_key_of(key.public_key())
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise UnusableKeyError("use an ECDSA P-256/384/521 or Ed25519 key")
    return key


def sign(key: SigningKey, message: bytes) -> bytes:
    """Sign `message`; the form is the one that `PublicKey.verifies` takes."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, ec.ECDSA(_DIGEST_OF_CURVE[key.curve.name]()))
