"""`edgewise verify`: each denial beside its positive twin, offline, with the exit codes scripts rely on."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edgewise.cli.main import main
from edgewise.provenance.signer import sign_directory


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


class Signer:
    """Somebody with a key in files."""

    def __init__(self, folder: Path, name: str, kind: str = "P-256") -> None:
        key = ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else ec.generate_private_key(
            {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[kind]
        )  # fmt: skip
        self.private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.pem = folder / f"{name}.pub"
        self.pem.write_bytes(self.public)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "weights" / "model.onnx").write_bytes(b"weights" * 100)
    return folder


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "publisher")


@pytest.fixture
def bundle(model: Path, signer: Signer) -> Path:
    path = model / "model.sig"
    path.write_bytes(sign_directory(model, signer.private))
    return path


def verify(artifact: object, bundle: Path, *more: object) -> int:
    words = ["verify", "--artifact", str(artifact), "--bundle", str(bundle)]
    return main([*words, *(str(word) for word in more)])


def policy(path: Path, *signers: Signer, threshold: int = 1, **spec: Any) -> Path:
    authorities = [{"name": f"hub-{n}", "key": {"pem": s.public.decode()}} for n, s in enumerate(signers)]
    names = [authority["name"] for authority in authorities]
    document = {
        "apiVersion": "edgewise.dev/v1alpha1",
        "kind": "TrustPolicy",
        "metadata": {"name": "vision"},
        "spec": {
            "match": {"sources": ["oci://registry.example/**"], "namespaces": {}},
            "authorities": authorities,
            "require": [{"name": "signature", "anyOf": names, "threshold": threshold}],
            **spec,
        },
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "Ed25519"])
def test_a_folder_is_verified_by_its_publishers_key(model: Path, tmp_path: Path, kind: str) -> None:
    signer = Signer(tmp_path, kind, kind)
    bundle = tmp_path / "model.sig"
    bundle.write_bytes(sign_directory(model, signer.private))
    assert verify(model, bundle, "--key", signer.pem) == 0
    assert verify(model, bundle, "--key", Signer(tmp_path, "other", kind).pem) == 1


def change(model: Path, how: str) -> None:
    weights = model / "weights" / "model.onnx"
    match how:
        case "a flipped bit":
            data = bytearray(weights.read_bytes())
            data[7] ^= 1
            weights.write_bytes(data)
        case "an extra file":
            (model / "plugin.so").write_bytes(b"x")
        case "an extra file in .git":
            (model / ".git").mkdir()
            (model / ".git" / "hook").write_bytes(b"x")
        case "a missing file":
            (model / "config.json").unlink()
        case "a renamed file":
            weights.rename(model / "weights" / "other.onnx")
        case "a symbolic link":
            weights.rename(model.parent / "elsewhere")
            weights.symlink_to(model.parent / "elsewhere")
        case "a pipe":
            os.mkfifo(model / "pipe")


@pytest.mark.parametrize(
    "how",
    ["a flipped bit", "an extra file", "an extra file in .git", "a missing file", "a renamed file",
     "a symbolic link", "a pipe"],
)  # fmt: skip
def test_a_folder_that_is_not_what_was_signed_is_denied(
    model: Path, bundle: Path, signer: Signer, how: str
) -> None:
    assert verify(model, bundle, "--key", signer.pem) == 0
    change(model, how)
    assert verify(model, bundle, "--key", signer.pem) == 1


def test_what_the_user_leaves_out_is_left_out_and_nothing_else(
    model: Path, bundle: Path, signer: Signer
) -> None:
    (model / "README.md").write_text("mine")
    assert verify(model, bundle, "--key", signer.pem) == 1
    assert verify(model, bundle, "--key", signer.pem, "--ignore-path", "README.md") == 0
    assert verify(model, bundle, "--key", signer.pem, "--ignore-path", "config.json") == 1


def statement_of(bundle: Path) -> dict[str, Any]:
    envelope = json.loads(bundle.read_text())["dsseEnvelope"]
    found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return found


def resigned(bundle: Path, signer: Signer, statement: dict[str, Any]) -> Path:
    """The bundle around another statement, signed well: what a publisher's broken tool would make."""
    from edgewise.provenance import dsse
    from edgewise.provenance.bundle import write_bundle
    from edgewise.provenance.publickeys import load_private_key

    envelope = dsse.sign_envelope(json.dumps(statement).encode(), load_private_key(signer.private), keyid="")
    hint = json.loads(bundle.read_text())["verificationMaterial"]["publicKey"]["hint"]
    path = bundle.with_name("resigned.sig")
    path.write_text(json.dumps(write_bundle(envelope, hint)))
    return path


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a\\b", "a//b", ".git/hook"])
def test_a_trusted_signer_cannot_name_files_outside_the_model(
    model: Path, bundle: Path, signer: Signer, name: str
) -> None:
    statement = statement_of(bundle)
    good = resigned(bundle, signer, statement)
    assert verify(model, good, "--key", signer.pem, "--ignore-path", "model.sig") == 0
    statement["predicate"]["resources"][0]["name"] = name
    assert verify(model, resigned(bundle, signer, statement), "--key", signer.pem) == 1


def test_a_statement_over_nothing_and_one_that_ignores_all_are_denied(
    model: Path, bundle: Path, signer: Signer
) -> None:
    for key, value in (("resources", []), ("ignore", ["."])):
        statement = statement_of(bundle)
        if key == "resources":
            statement["predicate"]["resources"] = value
        else:
            statement["predicate"]["serialization"]["ignore_paths"] = value
        assert verify(model, resigned(bundle, signer, statement), "--key", signer.pem) == 1


def test_a_single_file_and_its_digest_alone(tmp_path: Path, signer: Signer) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    bundle = tmp_path / "one.sig"
    bundle.write_bytes(sign_directory(folder, signer.private))
    digest = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    key = ("--key", signer.pem)
    assert verify(folder / "model.onnx", bundle, *key) == 0
    assert verify(folder / "model.onnx", bundle, *key, "--digest", digest) == 0
    assert verify(folder / "model.onnx", bundle, *key, "--digest", f"sha256:{'0' * 64}") == 1
    assert verify(digest, bundle, *key) == 0
    assert verify(f"sha256:{'0' * 64}", bundle, *key) == 1
    assert verify("sha256:short", bundle, *key) == 2
    (folder / "other.onnx").write_bytes(b"weights")
    assert verify(folder / "other.onnx", bundle, *key) == 1  # the same bytes under another name


def test_a_policy_wants_its_threshold_of_distinct_keys(model: Path, tmp_path: Path) -> None:
    one, two = Signer(tmp_path, "one"), Signer(tmp_path, "two")
    first, second = tmp_path / "first.sig", tmp_path / "second.sig"
    first.write_bytes(sign_directory(model, one.private))
    second.write_bytes(sign_directory(model, two.private))
    both = policy(tmp_path / "both.yaml", one, two, threshold=2)
    assert verify(model, first, "--bundle", second, "--policy", both) == 0
    assert verify(model, first, "--bundle", first, "--policy", both) == 1
    assert verify(model, first, "--policy", policy(tmp_path / "any.yaml", one, two)) == 0


def test_every_policy_of_a_file_has_to_hold_and_audit_alone_grants_nothing(
    model: Path, bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    mine = policy(tmp_path / "mine.yaml", signer)
    other = policy(tmp_path / "other.yaml", Signer(tmp_path, "other"))
    both = tmp_path / "both.yaml"
    both.write_text(f"{mine.read_text()}---\n{other.read_text()}")
    assert verify(model, bundle, "--policy", mine) == 0
    assert verify(model, bundle, "--policy", both) == 1
    assert verify(model, bundle, "--policy", policy(tmp_path / "a.yaml", signer, mode="Audit")) == 1


def test_a_key_past_its_end_is_judged_by_the_time_that_is_given(
    model: Path, bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    ends = policy(tmp_path / "ends.yaml", signer)
    document = yaml.safe_load(ends.read_text())
    document["spec"]["authorities"][0]["key"]["notAfter"] = "2026-01-01T00:00:00Z"
    ends.write_text(yaml.safe_dump(document))
    assert verify(model, bundle, "--policy", ends, "--now", "2025-06-01T00:00:00Z") == 0
    assert verify(model, bundle, "--policy", ends, "--now", "2026-06-01T00:00:00Z") == 1
    assert verify(model, bundle, "--policy", ends, "--now", "yesterday") == 2


def test_what_cannot_be_read_is_no_denial(model: Path, bundle: Path, signer: Signer, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.write_text("kind: ConfigMap\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    assert verify(model, tmp_path / "absent.sig", "--key", signer.pem) == 2
    assert verify(tmp_path / "absent", bundle, "--key", signer.pem) == 2
    assert verify(model, bundle, "--key", nothing) == 2
    assert verify(model, bundle, "--policy", nothing) == 2
    assert verify(model, bundle, "--policy", broken) == 2
    assert verify(model, bundle, "--policy", policy(tmp_path / "new.yaml", signer, surprise=1)) == 2
    with pytest.raises(SystemExit) as usage:
        main(["verify", "--artifact", str(model)])
    assert usage.value.code == 2


def test_programs_get_verdict_reason_and_evidence(
    model: Path, bundle: Path, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(model, bundle, "--key", signer.pem, "--output", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["reason"]) == ("verified", "PolicySatisfied")
    assert [found["authority"] for found in said["evidence"]] == ["key"]
    change(model, "an extra file")
    assert verify(model, bundle, "--key", signer.pem, "--output", "json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["reason"], said["evidence"]) == ("denied", "ContentMismatch", [])
    assert "plugin.so" in said["message"]


def test_no_flipped_byte_of_a_bundle_is_accepted(model: Path, bundle: Path, signer: Signer) -> None:
    """Every byte, flipped in its lowest bit; what decodes to the same statement and signature may pass."""
    data = bundle.read_bytes()
    good = json.loads(data)["dsseEnvelope"]
    mutant = model.parent / "mutant.sig"
    tried = 0
    for position in range(0, len(data), 3):
        changed = bytearray(data)
        changed[position] ^= 1
        mutant.write_bytes(changed)
        code = verify(model, mutant, "--key", signer.pem)
        tried += 1
        if code == 0:
            envelope = json.loads(changed)["dsseEnvelope"]
            assert base64.b64decode(envelope["payload"]) == base64.b64decode(good["payload"])
            assert [base64.b64decode(s["sig"]) for s in envelope["signatures"]] == [
                base64.b64decode(s["sig"]) for s in good["signatures"]
            ]
    assert tried > 300, f"{tried} mutants"
