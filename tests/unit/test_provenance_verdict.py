"""The verdict: signed by the operator, believed by a node only for the pod it is about."""

import base64
import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.provenance import reasons
from edgewise.provenance.digests import File
from edgewise.provenance.errors import ProvenanceError
from edgewise.provenance.judge import judge
from edgewise.provenance.keys import (
    OVERLAP,
    VerdictKeys,
    first_document,
    new_private_key,
    read_document,
    rotate,
    write_document,
)
from edgewise.provenance.strictjson import JsonError
from edgewise.provenance.verdict import (
    LIFETIME,
    Expectation,
    Verdict,
    build_verdict,
    demand,
    read_verdict,
    sign_verdict,
    still_stands,
)
from tests.unit.provenance_world import CLUSTER, NOW, World, pem_of, policy_spec

pytestmark = pytest.mark.disable_socket

PRIVATE = new_private_key()
KEYS = first_document(PRIVATE, CLUSTER, NOW)


def verdict_of(world: World | None = None) -> Verdict:
    request = (world or World()).request()
    return build_verdict(request, judge(request).variants[0])


ENVELOPE = sign_verdict(verdict_of(), PRIVATE)


def refused(
    reason: str, envelope: str, keys: VerdictKeys = KEYS, now: datetime = NOW, **options: bool
) -> None:
    with pytest.raises(ProvenanceError) as caught:
        read_verdict(envelope, keys, now, **options)
    assert caught.value.reason == reason, caught.value


def forged(**changes: object) -> str:
    """A verdict with other content and the old signature."""
    envelope = json.loads(ENVELOPE)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"].update(changes)
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(envelope)


def test_a_verdict_reads_back_as_built() -> None:
    assert read_verdict(ENVELOPE, KEYS, NOW) == verdict_of()
    verdict = verdict_of()
    demand(verdict, Expectation("vision", "defect-detector", str(verdict.digest)))
    assert verdict.expires == NOW + LIFETIME
    assert [policy.name for policy in verdict.policies] == ["vision"]
    assert [evidence.authority for evidence in verdict.authorities] == ["ci"]


def test_only_what_passed_is_ever_signed() -> None:
    request = World(bundles=()).request()
    with pytest.raises(ProvenanceError) as caught:
        build_verdict(request, judge(request).variants[0])
    assert caught.value.reason == reasons.UNSIGNED


def test_the_earliest_end_of_evidence_ends_the_verdict() -> None:
    authority = {"name": "ci", "key": {"pem": pem_of(World().key), "notAfter": "2026-03-04T00:00:00Z"}}
    verdict = verdict_of(World(specs=(("vision", policy_spec(authorities=[authority])),)))
    assert verdict.expires == NOW.replace(day=4, hour=0)


@pytest.mark.parametrize(
    "wanted",
    [
        Expectation("sales", "defect-detector", str(verdict_of().digest)),
        Expectation("vision", "toy", str(verdict_of().digest)),
        Expectation("vision", "defect-detector", "tree:sha256:" + "0" * 64),
    ],
)
def test_a_verdict_for_another_namespace_model_or_digest(wanted: Expectation) -> None:
    with pytest.raises(ProvenanceError) as caught:
        demand(read_verdict(ENVELOPE, KEYS, NOW), wanted)
    assert caught.value.reason == reasons.VERDICT_MISMATCH


def test_a_verdict_of_another_cluster_with_the_same_key() -> None:
    refused(reasons.VERDICT_MISMATCH, ENVELOPE, replace(KEYS, cluster="another"))


def test_a_verdict_signed_by_an_unknown_key() -> None:
    refused(reasons.VERDICT_UNTRUSTED, sign_verdict(verdict_of(), new_private_key()))


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": "sales"},
        {"cluster": "another"},
        {"model": "toy"},
        {"version": "9.9.9"},
        {"expires": "2036-01-01T00:00:00Z"},
        {"sources": ["oci://mirror.example/m@sha256:" + "0" * 64]},
        {"files": []},
    ],
)
def test_a_tampered_verdict(changes: dict[str, object]) -> None:
    refused(reasons.VERDICT_UNTRUSTED, forged(**changes))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"payload":"","payloadType":"","signatures":[]}', "\ud800"]
)
def test_what_is_no_verdict(text: str) -> None:
    refused(reasons.VERDICT_INVALID, text)


def test_an_expired_verdict_counts_only_for_the_pod_that_runs() -> None:
    later = NOW + LIFETIME
    assert read_verdict(ENVELOPE, KEYS, later - timedelta(seconds=1))
    refused(reasons.VERDICT_EXPIRED, ENVELOPE, now=later)
    assert read_verdict(ENVELOPE, KEYS, later, running=True) == verdict_of()
    refused(reasons.VERDICT_UNTRUSTED, forged(namespace="sales"), now=later, running=True)


def test_a_clock_far_behind_is_said() -> None:
    assert read_verdict(ENVELOPE, KEYS, NOW - timedelta(minutes=4))
    refused(reasons.VERDICT_EXPIRED, ENVELOPE, now=NOW - timedelta(days=1))


@pytest.mark.parametrize(
    "files",
    [
        (File("../x", "0" * 64, 1),),
        (File("a", "0" * 64, 1), File("a", "0" * 64, 1)),
        (File("a", "0" * 63, 1),),
        (File("model.onnx", "0" * 64, 7),),
        (),
    ],
)
def test_even_our_own_signature_does_not_make_bad_files_good(files: tuple[File, ...]) -> None:
    refused(reasons.VERDICT_INVALID, sign_verdict(replace(verdict_of(), files=files), PRIVATE))


def test_verdicts_without_or_with_odd_sources() -> None:
    refused(reasons.VERDICT_INVALID, sign_verdict(replace(verdict_of(), sources=()), PRIVATE))
    refused(reasons.VERDICT_INVALID, sign_verdict(replace(verdict_of(), sources=("https://x/y",)), PRIVATE))


def test_rotation_overlaps() -> None:
    second = new_private_key()
    day = NOW + timedelta(days=1)
    both = rotate(KEYS, second, day)
    assert rotate(both, second, day) == both
    assert read_document(write_document(both).encode()) == both
    newer = sign_verdict(replace(verdict_of(), issued=day, expires=day + LIFETIME), second)
    assert read_verdict(ENVELOPE, both, day)
    assert read_verdict(newer, both, day)
    refused(reasons.VERDICT_UNTRUSTED, newer, now=day)  # a node that has only the old document
    after = day + OVERLAP
    longer = sign_verdict(replace(verdict_of(), expires=NOW + 3 * OVERLAP), PRIVATE)
    assert read_verdict(longer, both, after - timedelta(seconds=1))
    refused(reasons.VERDICT_EXPIRED, longer, both, after)
    third = rotate(both, new_private_key(), after)
    assert len(third.keys) == 2
    refused(reasons.VERDICT_UNTRUSTED, longer, third, after)


def test_a_replaced_key_vouches_for_nothing_issued_before_it_was_made() -> None:
    late = first_document(PRIVATE, CLUSTER, NOW + timedelta(days=1))
    refused(reasons.VERDICT_EXPIRED, ENVELOPE, late)


def test_renewal_at_half_of_life_says_nothing_new() -> None:
    verdict = verdict_of()
    assert not verdict.wants_renewal(NOW + LIFETIME / 2 - timedelta(seconds=1))
    assert verdict.wants_renewal(NOW + LIFETIME / 2)
    assert replace(verdict, issued=NOW + LIFETIME, expires=NOW + 2 * LIFETIME).content() == verdict.content()


def test_an_envelope_stands_until_half_of_its_life_another_content_or_another_key() -> None:
    verdict = verdict_of()
    day = NOW + timedelta(days=1)
    fresh = replace(verdict, issued=day, expires=day + LIFETIME)
    assert still_stands(ENVELOPE, fresh, KEYS, day)
    assert not still_stands(ENVELOPE, fresh, KEYS, NOW + LIFETIME / 2)
    assert not still_stands(ENVELOPE, replace(fresh, version="2.0.0"), KEYS, day)
    assert not still_stands(ENVELOPE, fresh, rotate(KEYS, new_private_key(), day), day)
    assert not still_stands("{", fresh, KEYS, day)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_no_text_crashes_the_reader_of_verdicts(text: str) -> None:
    refused(reasons.VERDICT_INVALID, text)


@given(st.integers(0, len(ENVELOPE) - 1), st.characters(codec="utf-8"))
def test_no_exchanged_character_of_a_verdict_is_accepted(position: int, character: str) -> None:
    altered = ENVELOPE[:position] + character + ENVELOPE[position + 1 :]
    if altered != ENVELOPE:
        with pytest.raises(ProvenanceError):
            read_verdict(altered, KEYS, NOW)


@pytest.mark.parametrize(
    "change",
    [{"cluster": ""}, {"keys": []}, {"extra": 1}, {"keys": [{"id": "0" * 64, "pem": "x", "notBefore": ""}]}],
)
def test_a_key_document_that_is_not_sound(change: dict[str, object]) -> None:
    document = {**json.loads(write_document(KEYS)), **change}
    with pytest.raises(JsonError):
        read_document(json.dumps(document).encode())


def test_a_key_document_whose_id_is_another_key_s() -> None:
    document = json.loads(write_document(KEYS))
    document["keys"][0]["id"] = "0" * 64
    with pytest.raises(JsonError, match="sha256 of its key"):
        read_document(json.dumps(document).encode())


def test_a_model_of_too_many_files_is_refused_before_its_verdict_breaks_the_api_server() -> None:
    files = tuple(File(f"part-{number:05}", "0" * 64, 1) for number in range(8000))
    with pytest.raises(ProvenanceError, match="fewer files") as caught:
        sign_verdict(replace(verdict_of(), files=files), PRIVATE)
    assert caught.value.reason == reasons.ARTIFACT_TOO_LARGE
