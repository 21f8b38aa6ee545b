"""What verified means: the positive twin first, then every attack beside it."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.provenance import reasons
from edgewise.provenance.artifact import read_artifact
from edgewise.provenance.errors import ProvenanceError
from edgewise.provenance.judge import MAX_BUNDLES, judge
from edgewise.provenance.keys import new_private_key
from edgewise.provenance.publickeys import SigningKey, public_key_of
from edgewise.provenance.request import (
    judgement_from_json,
    judgement_to_json,
    request_from_json,
    request_to_json,
)
from edgewise.provenance.times import format_time
from edgewise.provenance.verdict import build_verdict, sign_verdict
from tests.unit.provenance_world import (
    CONTENT,
    NOW,
    PUBLISHER,
    STRANGER,
    World,
    files_of,
    pem_of,
    policy_spec,
    resigned,
    statement_in,
)

pytestmark = pytest.mark.disable_socket

KEYS: list[SigningKey] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.generate(),
]


def denied(world: World, reason: str, *words: str) -> None:
    judgement = world.judged()
    assert (judgement.verified, judgement.reason) == (False, reason), judgement.message
    assert judgement.files == ()
    assert judgement.sources == ()
    for word in words:
        assert word in judgement.message


def two_people(threshold: int, *keys: SigningKey) -> dict[str, Any]:
    return policy_spec(
        authorities=[{"name": f"a{i}", "key": {"pem": pem_of(key)}} for i, key in enumerate(keys)],
        require=[{"name": "two", "anyOf": [f"a{i}" for i in range(len(keys))], "threshold": threshold}],
    )


# --- what passes -----------------------------------------------------------------------------------


def test_a_signed_model_passes_and_says_why() -> None:
    judgement = World().judged()
    assert judgement.verified, judgement.message
    assert judgement.reason == reasons.POLICY_SATISFIED
    assert judgement.files == files_of(CONTENT)
    assert judgement.sources == (World().request().variants[0].uri,)
    assert [(e.policy, e.requirement, e.authority) for e in judgement.evidence] == [
        ("vision", "signature", "ci")
    ]
    assert judgement.evidence[0].key == public_key_of(PUBLISHER.public_key()).id
    assert "signed by ci (key" in judgement.message
    assert judgement.expires is None


@pytest.mark.parametrize("key", KEYS, ids=lambda key: getattr(getattr(key, "curve", None), "name", "ed25519"))
def test_every_accepted_kind_of_key(key: SigningKey) -> None:
    assert World(key=key, specs=(("vision", policy_spec(key)),)).judged().verified


def test_a_signature_file_inside_the_artifact_is_neither_signed_nor_mounted() -> None:
    judgement = World(content={**CONTENT, "model.sig": b"..."}, signed=CONTENT).judged()
    assert judgement.verified, judgement.message
    assert "model.sig" not in {file.path for file in judgement.files}


def test_the_good_bundle_counts_beside_broken_ones() -> None:
    world = World()
    assert world.but(bundles=(b"{", resigned({}, STRANGER), world.good_bundle())).judged().verified


def test_two_distinct_keys_reach_a_threshold_of_two() -> None:
    one, two = World(key=KEYS[0]).good_bundle(), World(key=KEYS[1]).good_bundle()
    world = World(specs=(("vision", two_people(2, KEYS[0], KEYS[1])),))
    assert world.but(bundles=(one, two)).judged().verified
    denied(world.but(bundles=(one, one)), reasons.SIGNATURE_MISSING, "wanted 2 of")


def test_request_and_answer_survive_json() -> None:
    request = World().request()
    again = request_from_json(json.loads(json.dumps(request_to_json(request))))
    assert again == request
    answer = judge(request)
    assert judgement_from_json(json.loads(json.dumps(judgement_to_json(answer)))) == answer


# --- the artifact ----------------------------------------------------------------------------------


def test_unsigned() -> None:
    denied(World(bundles=()), reasons.UNSIGNED, "sign the model")


def test_extra_file() -> None:
    world = World(content={**CONTENT, "plugin.so": b"x"}, signed=CONTENT)
    denied(world, reasons.CONTENT_MISMATCH, "not signed", "plugin.so")


def test_missing_file() -> None:
    denied(World(content={"model.onnx": b"weights"}, signed=CONTENT), reasons.CONTENT_MISMATCH, "lacks")


def test_renamed_file() -> None:
    renamed = {"model2.onnx": b"weights", "labels/names.txt": CONTENT["labels/names.txt"]}
    denied(World(content=renamed, signed=CONTENT), reasons.CONTENT_MISMATCH, "model2.onnx")


def test_swapped_files_with_the_same_oms_root() -> None:
    signed = {"encoder.onnx": b"A", "head.onnx": b"B"}
    served = {"config.json": b"A", "zz_plugin.so": b"B"}
    denied(World(content=served, signed=signed), reasons.CONTENT_MISMATCH)


def test_changed_byte() -> None:
    changed = {**CONTENT, "model.onnx": b"weightz"}
    denied(World(content=changed, signed=CONTENT), reasons.CONTENT_MISMATCH, "differ")


def test_digest_of_another_model() -> None:
    denied(World(digest="tree:sha256:" + "00" * 32), reasons.CONTENT_MISMATCH, "correct the digest")


@pytest.mark.parametrize(
    "digest", ["file:sha256:" + "0" * 64, "oci:sha256:" + "0" * 64, "sha256:" + "0" * 64]
)
def test_digests_that_are_no_directory(digest: str) -> None:
    denied(World(digest=digest), reasons.DIGEST_UNSUPPORTED)


def test_manifest_that_is_not_the_one_named() -> None:
    denied(World(uri=f"oci://registry.example/models/defect@sha256:{'0' * 64}"), reasons.MANIFEST_MISMATCH)


@pytest.mark.parametrize("path", ["../x", "/x", "a\\b", "a/../b", ".git/config", "a\x00b", ""])
def test_bad_names_in_the_artifact(path: str) -> None:
    denied(World(content={**CONTENT, path: b"x"}), reasons.ARTIFACT_INVALID)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"application/vnd.cncf.model.weight.v1.raw", b"application/vnd.cncf.model.weight.v1.tar"),
        (b"application/vnd.cncf.model.manifest.v1+json", b"application/vnd.oci.image.config.v1+json"),
        (b"application/vnd.oci.image.manifest.v1+json", b"application/vnd.oci.image.index.v1+json"),
        (b'"layers":[', b'"manifests":[],"layers":['),
        (b'"size":7', b'"size":-7'),
        (b'"size":7', b'"size":7.0'),
        (b"sha256:", b"sha512:"),
        (b'"schemaVersion":2', b'"schemaVersion":2,"schemaVersion":2'),
    ],
)
def test_manifests_that_are_no_model(old: bytes, new: bytes) -> None:
    from edgewise.provenance.publish import model_manifest

    manifest = model_manifest(files_of(CONTENT), b"{}")
    changed = manifest.replace(old, new)
    if old == b"application/vnd.cncf.model.manifest.v1+json":
        changed = changed.replace(b"application/vnd.cncf.model.config.v1+json", b"x/y")
    assert changed != manifest
    denied(World(manifest=changed), reasons.ARTIFACT_INVALID)


def test_size_limits_of_the_policy() -> None:
    def limited(**limits: Any) -> World:
        return World(specs=(("vision", policy_spec(artifact=limits)),))

    assert limited(maxFiles=2, maxBytes="1Ki").judged().verified
    denied(limited(maxFiles=1), reasons.ARTIFACT_TOO_LARGE, "2 files")
    denied(limited(maxBytes=10), reasons.ARTIFACT_TOO_LARGE)
    denied(limited(maxBundleBytes="1k"), reasons.BUNDLE_INVALID, "at most 1000")


def test_formats_that_run_code_need_to_be_listed() -> None:
    denied(World(format="tvm"), reasons.FORMAT_NOT_ALLOWED, "onnx")
    assert World(format="tvm", specs=(("vision", policy_spec(formats={"allow": ["tvm"]})),)).judged().verified


# --- the signature ---------------------------------------------------------------------------------


def test_signed_by_a_stranger() -> None:
    denied(World(key=STRANGER), reasons.SIGNATURE_MISSING, "which no authority has", "ci (key")


def test_a_stranger_s_signature_that_names_the_publisher_s_key() -> None:
    bundle = json.loads(World(key=STRANGER).good_bundle())
    bundle["verificationMaterial"]["publicKey"]["hint"] = public_key_of(PUBLISHER.public_key()).id
    denied(World(bundles=(json.dumps(bundle).encode(),)), reasons.SIGNATURE_MISSING, "does not hold")


def test_a_key_past_its_end() -> None:
    def ending(end: Any) -> World:
        authority = {"name": "ci", "key": {"pem": pem_of(PUBLISHER), "notAfter": format_time(end)}}
        return World(specs=(("vision", policy_spec(authorities=[authority])),))

    denied(ending(NOW), reasons.KEY_EXPIRED, "notAfter")
    judgement = ending(NOW + timedelta(days=3)).judged()
    assert judgement.verified
    assert judgement.expires == NOW + timedelta(days=3)


def test_one_key_under_two_names_is_one_signer() -> None:
    denied(
        World(specs=(("vision", two_people(2, PUBLISHER, PUBLISHER)),)), reasons.POLICY_INVALID, "threshold"
    )
    three = two_people(2, PUBLISHER, PUBLISHER, STRANGER)
    denied(World(specs=(("vision", three),)), reasons.SIGNATURE_MISSING, "wanted 2 of")


def test_a_huge_bundle_is_not_even_parsed() -> None:
    huge = World().good_bundle() + b" " * (17 << 20)
    denied(World(bundles=(huge,)), reasons.BUNDLE_INVALID, "at most 16777216")


def test_too_many_bundles() -> None:
    denied(World(bundles=(World().good_bundle(),) * (MAX_BUNDLES + 1)), reasons.BUNDLE_INVALID)


def test_another_payload_type() -> None:
    bundle = resigned(statement_in(World().good_bundle()), payload_type="application/json")
    denied(World(bundles=(bundle,)), reasons.STATEMENT_INVALID, "payload type")


def test_no_flipped_bit_of_a_signed_bundle_is_accepted() -> None:
    world = World()
    bundle = world.good_bundle()
    request = world.request()
    accepted = 0
    for position in range(len(bundle) * 8):
        mutant = bytearray(bundle)
        mutant[position // 8] ^= 1 << position % 8
        variant = replace(request.variants[0], bundles=(bytes(mutant),))
        accepted += judge(replace(request, variants=(variant,))).variants[0].verified
    assert len(bundle) * 8 > 10_000
    assert accepted == 0


def test_no_flipped_bit_of_a_manifest_is_accepted() -> None:
    variant = World().request().variants[0]
    digest = variant.uri.rpartition(":")[2]
    assert read_artifact(variant.manifest, digest)
    for position in range(len(variant.manifest) * 8):
        mutant = bytearray(variant.manifest)
        mutant[position // 8] ^= 1 << position % 8
        with pytest.raises(ProvenanceError, match=reasons.MANIFEST_MISMATCH):
            read_artifact(bytes(mutant), digest)


@given(st.integers(0, 2000), st.integers(1, 2000), st.binary(max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_cut_or_spliced_bundle_is_accepted_only_around_the_same_envelope(
    start: int, length: int, put: bytes
) -> None:
    bundle = World().good_bundle()
    mutant = bundle[:start] + put + bundle[start + length :]
    if World(bundles=(mutant,)).judged().verified:  # white space, or a hint that is left out
        payload, signature = (json.loads(bundle)["dsseEnvelope"][part] for part in ("payload", "signatures"))
        kept = json.loads(mutant)["dsseEnvelope"]
        assert (kept["payload"], kept["signatures"][0]["sig"]) == (payload, signature[0]["sig"])


# --- the statement, all honestly signed by the trusted key ------------------------------------------


def signed_with(change: Any) -> World:
    statement = statement_in(World().good_bundle())
    change(statement)
    return World(bundles=(resigned(statement),))


def set_at(*path: Any) -> Any:
    *way, last, value = path

    def change(statement: Any) -> None:
        for step in way:
            statement = statement[step]
        statement[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_at("_type", "https://in-toto.io/Statement/v0.1"),
        set_at("predicateType", "https://model_signing/Digests/v0.1"),
        set_at("predicateType", "https://slsa.dev/provenance/v1"),
        set_at("predicate", "resources", []),
        set_at("predicate", "resources", {}),
        set_at("predicate", "serialization", "ignore_paths", ["."]),
        set_at("predicate", "serialization", "ignore_paths", ["plugin.so"]),
        set_at("predicate", "serialization", "ignore_paths", "model.sig"),
        set_at("predicate", "serialization", "method", "shards"),
        set_at("predicate", "serialization", "hash_type", "blake2b"),
        set_at("predicate", "serialization", "allow_symlinks", True),
        set_at("predicate", "serialization", "shard_size", 5),
        set_at("predicate", "resources", 0, "name", "../labels/names.txt"),
        set_at("predicate", "resources", 0, "name", "/labels/names.txt"),
        set_at("predicate", "resources", 0, "name", "labels\\names.txt"),
        set_at("predicate", "resources", 0, "name", "labels/names.txt\x00"),
        set_at("predicate", "resources", 0, "name", "model.onnx"),
        set_at("predicate", "resources", 0, "name", ".git/config"),
        set_at("predicate", "resources", 0, "algorithm", "sha1"),
        set_at("predicate", "resources", 0, "digest", "00"),
        set_at("predicate", "resources", 0, "digest", "0" * 64),
        set_at("predicate", "resources", 0, "extra", 1),
        set_at("predicate", "extra", 1),
        set_at("extra", 1),
        set_at("subject", []),
        set_at("subject", [{"name": "a", "digest": {"sha256": "0" * 64}}] * 2),
        set_at("subject", 0, "digest", {"sha512": "0" * 128}),
        set_at("subject", 0, "digest", "sha256", "0" * 64),
    ],
)
def test_statements_that_break_a_rule(change: Any) -> None:
    denied(signed_with(change), reasons.STATEMENT_INVALID)


def test_the_unchanged_statement_passes() -> None:
    assert signed_with(lambda statement: None).judged().verified
    ignored = set_at("predicate", "serialization", "ignore_paths", [".git", ".github", "model.sig"])
    assert signed_with(ignored).judged().verified


def test_ignored_paths_let_nothing_unsigned_in() -> None:
    bundle = resigned(statement_in(World().good_bundle()))
    denied(
        World(content={**CONTENT, ".gitignore": b"x"}, signed=CONTENT, bundles=(bundle,)),
        reasons.CONTENT_MISMATCH,
    )


def test_duplicate_keys_in_the_statement() -> None:
    text = base64.b64decode(json.loads(World().good_bundle())["dsseEnvelope"]["payload"])
    twice = text.replace(b'"_type":', b'"_type": "x", "_type":', 1)
    denied(World(bundles=(resigned(twice),)), reasons.STATEMENT_INVALID, "twice")


def test_deep_statement() -> None:
    denied(World(bundles=(resigned(b"[" * 5000),)), reasons.STATEMENT_INVALID)


# --- policies --------------------------------------------------------------------------------------


def test_no_policy_at_all() -> None:
    denied(World(specs=()), reasons.NO_POLICY, "0 policies")


def test_wrong_namespace() -> None:
    denied(World(labels={"team": "sales"}), reasons.NO_POLICY, "namespace vision")
    denied(World(labels={}), reasons.NO_POLICY)


@pytest.mark.parametrize(
    ("operator", "values", "labels", "covered"),
    [
        ("In", ["vision", "audio"], {"team": "vision"}, True),
        ("In", ["audio"], {"team": "vision"}, False),
        ("In", ["vision"], {}, False),
        ("NotIn", ["vision"], {"team": "vision"}, False),
        ("NotIn", ["vision"], {"team": "sales"}, True),
        ("NotIn", ["vision"], {}, True),
        ("Exists", [], {"team": ""}, True),
        ("Exists", [], {}, False),
        ("DoesNotExist", [], {}, True),
        ("DoesNotExist", [], {"team": "vision"}, False),
    ],
)
def test_namespaces_by_expressions(
    operator: str, values: list[str], labels: dict[str, str], covered: bool
) -> None:
    expressions = [{"key": "team", "operator": operator, "values": values}]
    namespaces = {"matchLabels": {}, "matchExpressions": expressions}
    match = {"sources": ["oci://registry.example/**"], "namespaces": namespaces}
    judged = World(labels=labels, specs=(("vision", policy_spec(match=match)),)).judged()
    assert (judged.verified, judged.reason == reasons.NO_POLICY) == (covered, not covered)


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "a", "operator": "in", "values": ["b"]},
        {"key": "a", "operator": "In", "values": []},
        {"key": "a", "operator": "Exists", "values": ["b"]},
        {"key": "a", "operator": "Gt", "values": ["1"]},
        {"operator": "Exists"},
        {"key": "a", "operator": "Exists", "x": 1},
    ],
)
def test_expressions_that_make_no_sense(expression: dict[str, Any]) -> None:
    match = {"sources": ["oci://registry.example/**"], "namespaces": {"matchExpressions": [expression]}}
    denied(World(specs=(("vision", policy_spec(match=match)),)), reasons.POLICY_INVALID, "matchExpressions")


def test_more_files_than_a_verdict_can_list() -> None:
    denied(
        World(content={f"shard-{number:05}": b"x" for number in range(1600)}),
        reasons.ARTIFACT_TOO_LARGE,
        "list",
    )
    most = {f"shard-{number:05}": b"x" for number in range(1450)}
    request = World(content=most).request()
    answer = judge(request).variants[0]
    assert answer.verified
    assert sign_verdict(build_verdict(request, answer), new_private_key())


def test_source_that_no_policy_lists() -> None:
    denied(World(place="oci://registry.example/other/defect"), reasons.NO_POLICY)
    denied(World(place="oci://mirror.example/models/defect"), reasons.NO_POLICY)


@pytest.mark.parametrize(
    "place", ["oci://REGISTRY.example/models/defect", "oci://registry.example:443/models/defect"]
)
def test_source_in_another_spelling(place: str) -> None:
    denied(World(place=place), reasons.SOURCE_INVALID)


def test_audit_reports_and_never_authorises() -> None:
    denied(World(specs=(("watch", policy_spec(mode="Audit")),)), reasons.NO_POLICY, "Audit", "watch")
    strict = policy_spec(STRANGER, mode="Audit")
    judgement = World(specs=(("vision", policy_spec()), ("watch", strict))).judged()
    assert judgement.verified
    assert [(use.name, use.mode, bool(use.objection)) for use in judgement.policies] == [
        ("vision", "Enforce", False), ("watch", "Audit", True),
    ]  # fmt: skip


def test_every_matching_policy_has_to_hold() -> None:
    both = World(specs=(("vision", policy_spec()), ("company", policy_spec(STRANGER))))
    denied(both, reasons.SIGNATURE_MISSING, "policy company")
    bundles = (both.good_bundle(), both.but(key=STRANGER).good_bundle())
    judgement = both.but(bundles=bundles).judged()
    assert judgement.verified
    assert {evidence.policy for evidence in judgement.evidence} == {"vision", "company"}


@pytest.mark.parametrize(
    "change",
    [
        {"require": []},
        {"require": [{"name": "x", "anyOf": [], "threshold": 1}]},
        {"require": [{"name": "x", "anyOf": ["ci"], "threshold": 0}]},
        {"require": [{"name": "x", "anyOf": ["ci"], "threshold": True}]},
        {"require": [{"name": "x", "anyOf": ["ci"], "threshold": 2}]},
        {"require": [{"name": "x", "anyOf": ["who"]}]},
        {"require": None},
        {"authorities": [{"name": "ci", "key": {"pem": "x"}}]},
        {"authorities": [{"name": "ci", "keyless": {}}]},
        {"authorities": [{"name": "ci", "key": {"pem": pem_of(PUBLISHER)}}] * 2},
        {"mode": "enforce"},
        {"freshness": {"monotonic": True}},
        {"artifact": {"maxBytes": "much"}},
        {"artifact": {"maxFiles": -1}},
        {"match": {"sources": ["oci://registry.example/models/**"]}},
        {"match": {"sources": [], "namespaces": {}}},
        {"match": {"sources": ["**"], "namespaces": {}}},
        {"match": {"kind": "Runtime", "sources": ["oci://r/**"], "namespaces": {}}},
        {"match": {"sources": ["oci://r/**"], "namespaces": {"matchNames": []}}},
        {"match": {"sources": ["oci://r/**"], "namespaces": {"matchExpressions": [{"key": "a"}]}}},
    ],
)
def test_a_policy_that_cannot_be_understood_denies(change: dict[str, Any]) -> None:
    denied(World(specs=(("vision", policy_spec(**change)),)), reasons.POLICY_INVALID)
    denied(
        World(specs=(("vision", policy_spec()), ("odd", policy_spec(**change)))),
        reasons.POLICY_INVALID,
        "odd",
    )


def test_a_broken_policy_for_others_is_their_concern() -> None:
    elsewhere = {"sources": ["oci://elsewhere.example/**"], "namespaces": {"matchLabels": {}}}
    broken = policy_spec(match=elsewhere, require=[])
    assert World(specs=(("vision", policy_spec()), ("theirs", broken))).judged().verified


def test_a_policy_with_another_content_than_its_hash() -> None:
    request = World().request()
    exchanged = replace(request.policies[0], spec=policy_spec(STRANGER))
    answer = judge(replace(request, policies=(exchanged,))).variants[0]
    assert (answer.verified, answer.reason) == (False, reasons.POLICY_INVALID)


def test_rsa_and_odd_curves_are_no_authorities() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256K1())):
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        authority = {"name": "ci", "key": {"pem": pem.decode()}}
        denied(
            World(specs=(("vision", policy_spec(authorities=[authority])),)), reasons.POLICY_INVALID, "use"
        )


def test_a_failed_fetch_is_a_reason_of_its_own() -> None:
    request = World().request()
    variant = replace(request.variants[0], manifest=b"", bundles=(), problem="registry.example: HTTP 503")
    answer = judge(replace(request, variants=(variant,))).variants[0]
    assert (answer.verified, answer.reason) == (False, reasons.SOURCE_UNAVAILABLE)
    assert "503" in answer.message


def test_one_bad_variant_does_not_hide_a_good_one() -> None:
    request = World().request()
    bad = replace(request.variants[0], name="gpu", bundles=())
    answers = judge(replace(request, variants=(bad, request.variants[0]))).variants
    assert [(a.name, a.verified) for a in answers] == [("gpu", False), ("cpu", True)]
