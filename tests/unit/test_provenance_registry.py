"""Publishing and reading back over real HTTP, against an honest registry and against lying ones."""

import hashlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgewise.provenance.artifact import read_artifact
from edgewise.provenance.digests import tree_digest
from edgewise.provenance.fetch import fetch_variant
from edgewise.provenance.oci import MAX_REFERRERS, Registry
from edgewise.provenance.publish import Published, attach, publish
from edgewise.provenance.signer import UnsignableError, directory_digest, list_files, sign_directory
from edgewise.provenance.sources import Source, parse_source
from edgewise.provenance.transport import LyingRegistryError, RegistryError, Transport, plain_http_hosts
from tests.unit.provenance_world import CONTENT, PUBLISHER, World, pem_of, policy_spec
from tests.unit.small_registry import Handler, SmallRegistry, running

pytestmark = pytest.mark.enable_socket

PRIVATE_PEM = PUBLISHER.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with running(SmallRegistry()) as registry:
        yield registry


@pytest.fixture
def transport(registry: SmallRegistry) -> Transport:
    return Transport(frozenset({registry.authority}), timeout=5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for path, data in CONTENT.items():
        target = tmp_path / "model" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return tmp_path / "model"


def pushed(model: Path, authority: str, transport: Transport) -> tuple[Published, Source, bytes]:
    published = publish(model, f"oci://{authority}/models/defect", transport, name="defect", version="1.4.0")
    bundle = sign_directory(model, PRIVATE_PEM)
    attach(bundle, published.uri, transport)
    return published, parse_source(published.uri), bundle


@pytest.mark.parametrize("referrers_api", [True, False])
def test_what_is_published_is_found_and_judged(model: Path, referrers_api: bool) -> None:
    with running(SmallRegistry(referrers_api=referrers_api)) as registry:
        transport = Transport(frozenset({registry.authority}))
        published, source, bundle = pushed(model, registry.authority, transport)
        attach(bundle, published.uri, transport)  # twice changes nothing
        client = Registry(transport)
        assert client.bundles(source) == (bundle,)
        manifest = client.manifest(source)
        assert read_artifact(manifest, source.digest).files == published.files
    sources = [f"oci://{source.authority}/models/**"]
    match = {"sources": sources, "namespaces": {"matchLabels": {}}}
    world = World(
        uri=published.uri,
        manifest=manifest,
        bundles=(bundle,),
        digest=str(directory_digest(model)),
        specs=(("vision", policy_spec(match=match)),),
    )
    assert world.judged().verified, world.judged().message


def test_debian_s_docker_registry_takes_and_gives_it(model: Path, tmp_path: Path) -> None:
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = tmp_path / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    process = subprocess.Popen(
        [program, "serve", str(settings)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        authority = f"127.0.0.1:{port}"
        transport = Transport(frozenset({authority}))
        _wait_for(transport, authority)
        published, source, bundle = pushed(model, authority, transport)
        client = Registry(transport)
        assert client.bundles(source) == (bundle,)
        file = published.files[0]
        assert client.small_blob(source, file.sha256, file.size) == CONTENT[file.path]
        with client.open_blob(source, file.sha256, file.size, 3) as blob:
            assert (blob.offset, b"".join(blob.chunks)) == (3, CONTENT[file.path][3:])
    finally:
        process.kill()
        process.communicate()


def _wait_for(transport: Transport, authority: str) -> None:
    for _ in range(2000):
        try:
            with transport.request("GET", transport.url(authority, "/v2/")):
                return
        except RegistryError:
            continue
    pytest.fail("the registry did not start")


def test_another_manifest_for_the_digest(model: Path, registry: SmallRegistry, transport: Transport) -> None:
    _, source, _ = pushed(model, registry.authority, transport)
    registry.manifests[f"sha256:{source.digest}"] = ("application/json", b"{}")
    with pytest.raises(LyingRegistryError, match="refusing"):
        Registry(transport).manifest(source)


def test_a_tag_that_moves_changes_nothing(model: Path, registry: SmallRegistry, transport: Transport) -> None:
    _, source, bundle = pushed(model, registry.authority, transport)
    registry.manifests["latest"] = ("application/json", b"{}")
    assert Registry(transport).manifest(source)
    assert Registry(transport).bundles(source) == (bundle,)


@pytest.mark.parametrize("case", ["changed", "longer", "shorter", "endless", "cut"])
def test_blobs_that_are_not_what_they_should_be(
    case: str, model: Path, registry: SmallRegistry, transport: Transport
) -> None:
    published, source, _ = pushed(model, registry.authority, transport)
    file = published.files[-1]
    digest = f"sha256:{file.sha256}"
    honest = registry.blobs[digest]

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(honest)

    def cut(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(file.size))
        handler.end_headers()
        handler.wfile.write(honest[:2])
        handler.close_connection = True

    if case in {"endless", "cut"}:
        path = f"GET /v2/{source.repository}/blobs/{digest}"
        registry.lies[path] = endless if case == "endless" else cut
    else:
        registry.blobs[digest] = {"changed": b"weightz", "longer": honest + b"x", "shorter": honest[:-1]}[
            case
        ]
    expected = RegistryError if case == "cut" else LyingRegistryError
    with pytest.raises(expected):
        Registry(transport).small_blob(source, file.sha256, file.size)


def test_a_broken_referrer_does_not_hide_the_good_one(
    model: Path, registry: SmallRegistry, transport: Transport
) -> None:
    published, source, bundle = pushed(model, registry.authority, transport)
    attach(b"another bundle", published.uri, transport)
    broken = f"sha256:{hashlib.sha256(b'another bundle').hexdigest()}"
    del registry.blobs[broken]
    assert Registry(transport).bundles(source) == (bundle,)
    registry.blobs.clear()
    with pytest.raises(RegistryError, match="404"):
        Registry(transport).bundles(source)


def test_redirects_stay_on_the_host_or_go_to_https(
    model: Path, registry: SmallRegistry, transport: Transport
) -> None:
    published, source, _ = pushed(model, registry.authority, transport)
    file = published.files[0]
    path = f"GET /v2/{source.repository}/blobs/sha256:{file.sha256}"

    def to(target: str) -> None:
        registry.lies[path] = lambda handler: handler.reply(307, headers={"Location": target})

    to(f"/v2/other/blobs/sha256:{file.sha256}")
    assert Registry(transport).small_blob(source, file.sha256, file.size) == CONTENT[file.path]
    for target, word in (
        ("http://127.0.0.2:1/x", "not https"),
        ("ftp://x/y", "not https"),
        (f"http://user@{registry.authority}/x", "credentials"),
        (path.removeprefix("GET "), "redirects"),
    ):
        to(target)
        with pytest.raises(RegistryError, match=word):
            Registry(transport).small_blob(source, file.sha256, file.size)


def test_plain_http_only_where_it_is_listed(registry: SmallRegistry) -> None:
    source = parse_source(f"oci://{registry.authority}/m@sha256:{'0' * 64}")
    with pytest.raises(RegistryError):
        Registry(Transport(timeout=5)).manifest(source)
    assert registry.requests == []
    assert plain_http_hosts(" A:5000, b ,,") == frozenset({"a:5000", "b"})


def test_model_signing_s_bundles_pass_here_and_ours_pass_there(model: Path, tmp_path: Path) -> None:
    from model_signing import signing, verifying

    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        key = ec.generate_private_key(curve)
        private, public, signature = (tmp_path / name for name in ("key.pem", "key.pub", "their.sig"))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        public.write_text(pem_of(key))
        signing.Config().use_elliptic_key_signer(private_key=private).sign(model, signature)
        theirs = World(bundles=(signature.read_bytes(),), specs=(("vision", policy_spec(key)),)).judged()
        assert theirs.verified, theirs.message
        ours = tmp_path / "our.sig"
        ours.write_bytes(sign_directory(model, private.read_bytes()))
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(model, ours)


def test_a_directory_is_its_files(model: Path) -> None:
    (model / "model.sig").write_text("left out")
    files = list_files(model)
    assert {file.path for file in files} == set(CONTENT)
    assert directory_digest(model) == tree_digest((file.path, file.sha256) for file in files)


def test_what_cannot_be_signed_is_named(model: Path, tmp_path: Path) -> None:
    (model / "link").symlink_to("model.onnx")
    with pytest.raises(UnsignableError, match=r"link: only regular files"):
        list_files(model)
    (model / "link").unlink()
    (model / ".git").mkdir()
    (model / ".git" / "config").write_text("x")
    with pytest.raises(UnsignableError, match=r"\.git"):
        list_files(model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsignableError, match="no files"):
        list_files(tmp_path / "empty")


def test_the_operator_fetches_kilobytes_and_says_what_went_wrong(
    model: Path, registry: SmallRegistry, transport: Transport
) -> None:
    published, source, bundle = pushed(model, registry.authority, transport)
    registry.requests.clear()
    client = Registry(transport)
    variant = fetch_variant(client, "cpu", published.uri, str(published.digest), "onnx")
    assert (variant.bundles, variant.problem) == ((bundle,), "")
    weights = {f"GET /v2/{source.repository}/blobs/sha256:{file.sha256}" for file in published.files}
    assert not weights & set(registry.requests)
    registry.manifests.clear()
    assert "HTTP 404" in fetch_variant(client, "cpu", published.uri, "", "onnx").problem
    assert "wanted oci://" in fetch_variant(client, "cpu", "oci://x:latest", "", "onnx").problem


def test_thousands_of_referrers_cost_a_bounded_number_of_requests(
    model: Path, registry: SmallRegistry, transport: Transport
) -> None:
    published, source, _ = pushed(model, registry.authority, transport)
    for number in range(50):
        attach(b"junk %d" % number, published.uri, transport)
    registry.requests.clear()
    bundles = Registry(transport).bundles(source)
    assert len(bundles) == MAX_REFERRERS
    assert len(registry.requests) <= 2 * MAX_REFERRERS + 2


def test_a_huge_bundle_is_not_even_fetched(
    model: Path, registry: SmallRegistry, transport: Transport
) -> None:
    published = publish(model, f"oci://{registry.authority}/models/defect", transport)
    attach(b" " * (17 << 20), published.uri, transport)
    before = registry.bytes_sent
    with pytest.raises(RegistryError, match="at most 16777216"):
        Registry(transport).bundles(parse_source(published.uri))
    assert registry.bytes_sent - before < 100_000
