"""Images as archives: the same bytes whenever they are made, and nothing lost on the way."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from lab import oci


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def layer(tmp_path: Path, blobs: Path, **files: str) -> tuple[str, int]:
    sources = {}
    for name, text in files.items():
        source = tmp_path / f"source-{name}"
        source.write_text(text)
        sources[f"opt/{name}"] = source
    target = tmp_path / "layer.tar"
    oci.write_layer(target, sources)
    return oci.add_blob(blobs, target)


def test_a_layer_is_the_same_bytes_whenever_it_is_made(tmp_path: Path, blobs: Path) -> None:
    first = layer(tmp_path, blobs, a="1", b="2")
    assert layer(tmp_path, blobs, b="2", a="1") == first
    assert layer(tmp_path, blobs, a="1", b="3") != first


def test_a_blob_lies_under_the_hash_of_its_bytes(tmp_path: Path, blobs: Path) -> None:
    digest, size = layer(tmp_path, blobs, a="1")
    content = (blobs / digest.removeprefix("sha256:")).read_bytes()
    assert (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)) == (digest, size)


def test_an_oci_archive_names_its_image_and_holds_every_blob_once(tmp_path: Path, blobs: Path) -> None:
    one = layer(tmp_path, blobs, a="1")
    image = oci.assemble(blobs, "edgewise/agent:dev", [one, one], {"Entrypoint": ["/opt/a"]})
    oci.write_archive(image, tmp_path / "image.tar", "host:5000/edgewise/agent:dev")
    with tarfile.open(tmp_path / "image.tar") as archive:
        names = archive.getnames()
        index = json.loads((archive.extractfile("index.json") or io.BytesIO()).read())
    assert len(names) == len(set(names))
    assert {f"blobs/{d.replace(':', '/')}" for d in (image.digest, *image.content())} <= set(names)
    (entry,) = index["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"]["io.containerd.image.name"] == "host:5000/edgewise/agent:dev"
    assert (image.repository, image.tag) == ("edgewise/agent", "dev")


def docker_archive(path: Path, layers: list[bytes], diff_ids: list[str]) -> None:
    """What `docker save` writes; a layer that occurs again is a link to the first."""
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    names: list[str] = []
    with tarfile.open(path, "w") as archive:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        for number, content in enumerate(layers):
            name = f"{number}.tar"
            if content in layers[:number]:
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, f"{layers.index(content)}.tar"
                archive.addfile(link)
            else:
                add(name, content)
            names.append(name)
        add("config.json", config)
        add("manifest.json", json.dumps([{"Config": "config.json", "Layers": names}]).encode())


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_docker_archive_becomes_blobs_with_layers_in_their_order(tmp_path: Path, blobs: Path) -> None:
    layers = [b"low", b"high", b"low"]
    docker_archive(tmp_path / "image.tar", layers, [digest_of(content) for content in layers])
    image = oci.from_docker_archive(tmp_path / "image.tar", blobs, "edgewise/server:dev")
    assert image.content()[1:] == [digest_of(content) for content in layers]
    assert [image.blob(digest).read_bytes() for digest in image.content()[1:]] == layers


def test_a_layer_that_is_not_what_its_configuration_says_is_refused(tmp_path: Path, blobs: Path) -> None:
    docker_archive(tmp_path / "image.tar", [b"other"], [digest_of(b"wanted")])
    with pytest.raises(ValueError, match="its configuration says"):
        oci.from_docker_archive(tmp_path / "image.tar", blobs, "edgewise/server:dev")
