"""The command: sign and publish; whatever goes wrong is one line and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.cli.main import main
from lab.quickstart import Publisher


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    (tmp_path / "key.pem").write_bytes(Publisher.new().private_pem)
    return folder


def test_signing_writes_a_bundle_and_tells_the_digest(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", str(model), "--key", str(model.parent / "key.pem")]) == 0
    assert "digest: tree:sha256:" in capsys.readouterr().out
    assert (model / "model.sig").read_bytes().startswith(b"{")


def test_what_cannot_be_tried_ends_with_two_and_says_why(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", str(model), "--key", str(model / "none.pem")]) == 2
    (model.parent / "key.pem").write_text("no key")
    assert main(["sign", str(model), "--key", str(model.parent / "key.pem")]) == 2
    assert main(["publish", str(model), "--to", "oci://registry.example/m"]) == 2
    assert capsys.readouterr().err.count("edgewise: ") == 3


def test_a_place_that_is_no_registry_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "model.sig").write_text("{}")
    assert main(["publish", str(model), "--to", "https://registry.example/m"]) == 1
    assert "SourceInvalid" in capsys.readouterr().err
