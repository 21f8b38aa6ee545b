"""Strict readers: JSON, base64, file names, sources, times. Nothing gets through them bent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.provenance import names, reasons
from edgewise.provenance.bundle import read_bundle
from edgewise.provenance.dsse import decode_base64, pae
from edgewise.provenance.errors import ProvenanceError
from edgewise.provenance.sources import parse_source, pattern_matches, pattern_problem
from edgewise.provenance.strictjson import JsonError, parse
from edgewise.provenance.times import parse_time
from tests.unit.provenance_world import World

HEX = "9f" * 32


@pytest.mark.parametrize(
    "text",
    [b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b"[NaN]", b"[Infinity]", b"{", b"\xff", b'"\\ud800"',
     b"[" * 100_000, b"[" * 40 + b"]" * 40, b'{"a":' * 40 + b"1" + b"}" * 40, b"9" * 5000, b"\xef\xbb\xbf{}"],
)  # fmt: skip
def test_json_with_two_meanings_or_no_end_is_refused(text: bytes) -> None:
    with pytest.raises(JsonError):
        parse(text, max_bytes=1 << 20)


def test_json_as_everybody_reads_it_is_read() -> None:
    assert parse(b'{"a":[1,2.5,"\xc3\xa9",null,true]}', max_bytes=100) == {"a": [1, 2.5, "é", None, True]}
    assert parse(b"[" * 30 + b"]" * 30, max_bytes=100)


def test_a_document_over_its_limit_is_not_even_decoded() -> None:
    with pytest.raises(JsonError, match="at most 10"):
        parse(b"\xff" * 11, max_bytes=10)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_json_reader(data: bytes) -> None:
    try:
        parse(data, max_bytes=100)
    except JsonError:
        return
    json.loads(data)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_bundle_reader(data: bytes) -> None:
    with pytest.raises(ProvenanceError) as caught:
        read_bundle(data, max_bytes=1 << 20)
    assert caught.value.reason == reasons.BUNDLE_INVALID


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(data: bytes) -> None:
    import base64

    text = base64.b64encode(data).decode()
    assert decode_base64(text, "x") == data
    for bent in (f"{text}\n", f" {text}", text.rstrip("=") if text.endswith("=") else f"{text}=", f"{text}*"):
        with pytest.raises(JsonError):
            decode_base64(bent, "x")


def test_base64_bits_that_decoders_drop_are_refused() -> None:
    with pytest.raises(JsonError, match="canonical"):
        decode_base64("QR==", "x")  # decodes to the same byte as QQ==


def test_pae_is_the_specification_s_example() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a/./b", ".", "a//b", "a/", "a\\b", "a\x00b", "a\nb", ".git/config",
     "sub/.GIT/hooks", "a\u200bb", "a\u202eb", "e\u0301.onnx", "x" * 256, "y/" * 600 + "z", "a\ud800"],
)  # fmt: skip
def test_names_that_leave_or_mislead_are_refused(path: str) -> None:
    assert names.problem_of(path)


@pytest.mark.parametrize(
    "path", ["model.onnx", "a/b/c.bin", ".gitattributes", "é.onnx", "x" * 255, "..a", "a.."]
)
def test_sound_names_are_accepted(path: str) -> None:
    assert names.problem_of(path) == ""


@pytest.mark.parametrize("paths", [["a", "a"], ["A", "a"], ["a", "a/b"], ["a/b", "A"], ["ß", "SS"]])
def test_names_that_collide_are_refused(paths: list[str]) -> None:
    assert names.set_problem_of(paths)


@given(st.lists(st.text("ab/.\\\x00", max_size=8), max_size=4))
def test_accepted_names_stay_inside_the_directory(paths: list[str]) -> None:
    import posixpath

    for path in paths:
        if not names.problem_of(path):
            assert posixpath.normpath(path) == path
            assert not path.startswith(("/", "../"))


@pytest.mark.parametrize(
    "text",
    [f"oci://registry.example/models/defect@sha256:{HEX}", f"oci://10.0.0.1:5000/m@sha256:{HEX}",
     f"oci://[::1]:5000/a/b_c/d-e@sha256:{HEX}", f"oci://localhost/x@sha256:{HEX}"],
)  # fmt: skip
def test_canonical_sources_read_back_as_written(text: str) -> None:
    assert str(parse_source(text)) == text


@pytest.mark.parametrize(
    "text",
    [f"oci://Registry.example/m@sha256:{HEX}", f"oci://registry.example:443/m@sha256:{HEX}",
     f"oci://user@registry.example/m@sha256:{HEX}", f"oci://registry.example/m:v1@sha256:{HEX}",
     "oci://registry.example/m:v1", f"oci://registry.example/a/../m@sha256:{HEX}",
     f"oci://registry.example/a%2fm@sha256:{HEX}", f"https://registry.example/m@sha256:{HEX}",
     f"oci://registry.example//m@sha256:{HEX}", f"oci://registry.example/m/@sha256:{HEX}",
     f"oci://registry.example:05000/m@sha256:{HEX}", f"oci://registry.example:99999/m@sha256:{HEX}",
     f"oci://registry.example/M@sha256:{HEX}", f"oci://registry.example/m@sha256:{HEX}\n",
     f"oci://registry.example./m@sha256:{HEX}", f"oci:///m@sha256:{HEX}", "oci://h/" + "a" * 600],
)  # fmt: skip
def test_other_spellings_of_a_source_are_refused(text: str) -> None:
    with pytest.raises(ProvenanceError) as caught:
        parse_source(text)
    assert caught.value.reason == reasons.SOURCE_INVALID


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("oci://registry.example/models/**", True),
        ("oci://registry.example/**", True),
        ("oci://registry.example/models/defect", True),
        ("oci://registry.example/*/defect", True),
        ("oci://registry.example/models/de*", True),
        ("oci://registry.example/**/defect", True),
        ("oci://registry.example/*", False),
        ("oci://registry.example/models", False),
        ("oci://registry.example/models/defect/**", False),
        ("oci://registry.example:5000/models/**", False),
        ("oci://mirror.example/models/**", False),
        ("oci://xregistry.example/models/**", False),
        ("oci://registryxexample/models/**", False),
    ],
)
def test_patterns_match_whole_components_of_one_host(pattern: str, matches: bool) -> None:
    assert pattern_problem(pattern) == ""
    source = parse_source(f"oci://registry.example/models/defect@sha256:{HEX}")
    assert pattern_matches(pattern, source) is matches


@pytest.mark.parametrize(
    "pattern",
    ["**", "oci://*/models", "oci://registry.*/m", "oci://r/a**", "oci://r/../**", "oci://r//**", "oci://r:443/**",
     "oci://R/**", "oci://r/", "https://r/**"],
)  # fmt: skip
def test_patterns_that_could_mean_more_than_they_say_are_refused(pattern: str) -> None:
    assert pattern_problem(pattern)


@pytest.mark.parametrize("text", ["2026-01-31", "2026-02-30T00:00:00Z", "2026-01-31T08:00:00", "now", ""])
def test_times_without_zone_or_outside_the_calendar_are_refused(text: str) -> None:
    with pytest.raises(JsonError):
        parse_time(text, "x")


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": "application/json"},
        {"extra": 1},
        {"messageSignature": {}},
        {"verificationMaterial": {"certificate": {}, "tlogEntries": []}},
        {"verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": [{}]}},
        {"verificationMaterial": {"x509CertificateChain": {}}},
        {"verificationMaterial": {"publicKey": {}, "timestampVerificationData": {"rfc3161Timestamps": [{}]}}},
        {"verificationMaterial": {}},
        {"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": []}},
        {"dsseEnvelope": None},
    ],
)
def test_a_bundle_with_parts_that_nobody_checks_is_refused(change: dict[str, object]) -> None:
    bundle = json.loads(World().good_bundle())
    assert read_bundle(json.dumps(bundle).encode(), max_bytes=1 << 20)
    with pytest.raises(ProvenanceError) as caught:
        read_bundle(json.dumps({**bundle, **change}).encode(), max_bytes=1 << 20)
    assert caught.value.reason == reasons.BUNDLE_INVALID


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_older_bundle_versions_are_read(version: str) -> None:
    bundle = json.loads(World().good_bundle())
    bundle["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"
    assert World(bundles=(json.dumps(bundle).encode(),)).judged().verified
