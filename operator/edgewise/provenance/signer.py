"""Signing a directory of files: an OMS statement in a Sigstore bundle, made with a key.

The result is what the `model-signing` tool makes and reads; what this signer refuses to sign is what our
verifier refuses to accept.
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Final

from edgewise.provenance import dsse
from edgewise.provenance.bundle import write_bundle
from edgewise.provenance.digests import Digest, File, tree_digest
from edgewise.provenance.names import problem_of, set_problem_of
from edgewise.provenance.publickeys import SigningKey, load_private_key, public_key_of
from edgewise.provenance.statement import OMS_PREDICATE, STATEMENT_TYPE

#: Files at the top of the directory that are signatures and not part of the model.
SIGNATURE_NAMES: Final = frozenset({"model.sig"})
_CHUNK: Final = 1 << 20


class UnsignableError(ValueError):
    """The directory holds something that cannot be signed; the message names it and says what to do."""


def list_files(directory: Path, ignored: frozenset[str] = SIGNATURE_NAMES) -> tuple[File, ...]:
    """Every file of a model directory but the `ignored` paths, hashed, sorted by path.

    Raises:
        UnsignableError: a symbolic link, device, socket or pipe, an unacceptable name, or no file at all.
        OSError: a file cannot be read.
    """
    files = []
    for root, folders, names in os.walk(directory, onerror=_raise, followlinks=False):
        for name in [*folders, *names]:
            path = Path(root) / name
            relative = path.relative_to(directory).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or relative in ignored:
                continue
            if not stat.S_ISREG(mode):
                raise UnsignableError(
                    f"{relative}: only regular files can be signed; copy the file itself there"
                )
            if problem := problem_of(relative):
                raise UnsignableError(f"{relative!r} {problem}; move or rename it")
            files.append(_hashed(path, relative))
    if not files:
        raise UnsignableError(f"{directory} has no files")
    if problem := set_problem_of([file.path for file in files]):
        raise UnsignableError(f"names collide on some systems: {problem}; rename one")
    return tuple(sorted(files))


def hash_file(path: Path, name: str) -> File:
    """One file, hashed, under a name of its own.

    Raises:
        UnsignableError: no regular file, or it changed meanwhile.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise UnsignableError(f"{path}: only regular files can be signed; name the file itself")
    return _hashed(path, name)


def directory_digest(directory: Path) -> Digest:
    """The typed digest of a directory, as `spec.variants[].digest` wants it."""
    return tree_digest((file.path, file.sha256) for file in list_files(directory))


def sign_directory(
    directory: Path, private_pem: bytes, *, password: bytes | None = None, name: str = ""
) -> bytes:
    """Sign every file of the directory.

    Args:
        directory: the model; a `model.sig` at its top is left out.
        private_pem: ECDSA P-256/384/521 or Ed25519, PEM.
        password: of the private key, when it has one.
        name: the model's name in the statement; the directory's when empty.

    Returns:
        The bundle as JSON text, for `model.sig`.

    Raises:
        UnsignableError, OSError: see `list_files`.
        UnusableKeyError: see `publickeys.load_private_key`.
    """
    return sign_files(
        list_files(directory), load_private_key(private_pem, password), name or directory.resolve().name
    )


def sign_files(files: tuple[File, ...], key: SigningKey, name: str) -> bytes:
    """Sign files that are hashed already."""
    statement = oms_statement(files, name)
    public = public_key_of(key.public_key())
    envelope = dsse.sign_envelope(json.dumps(statement, indent=2).encode(), key, keyid="")
    hint = hashlib.sha256(public.pem.encode()).hexdigest()  # OMS names keys by their PEM text
    return json.dumps(write_bundle(envelope, hint)).encode()


def oms_statement(files: tuple[File, ...], name: str) -> dict[str, object]:
    """The in-toto statement over `files`."""
    root = hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in files)).hexdigest()
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": OMS_PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": sorted(SIGNATURE_NAMES),
            },
            "resources": [{"name": f.path, "algorithm": "sha256", "digest": f.sha256} for f in files],
        },
    }


def _hashed(path: Path, relative: str) -> File:
    """Hash one file through a descriptor that cannot be a link, and see that it did not change meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", closefd=True) as stream:
        before = os.fstat(descriptor)
        digest, size = hashlib.sha256(), 0
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
        after = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode) or size != before.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise UnsignableError(f"{relative} changed while it was read; sign again")
    return File(relative, digest.hexdigest(), size)


def _raise(error: OSError) -> None:
    raise error
