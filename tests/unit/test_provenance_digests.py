"""Typed digests and canonical JSON against the independent `rfc8785` package."""

import hashlib
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from edgewise.provenance import reasons
from edgewise.provenance.digests import canonical_json, parse_digest, tree_digest
from edgewise.provenance.errors import ProvenanceError

HEX = "9f" * 32
TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
PAIRS = st.dictionaries(st.text("ab/é\U0001f600", min_size=1, max_size=6), st.sampled_from([HEX, "00" * 32]))


@given(VALUES)
def test_canonical_json_is_rfc8785(value: object) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1.5, 2**53, {1: 2}, {"a": b"x"}, float("nan")])
def test_canonical_json_refuses_what_readers_disagree_on(value: object) -> None:
    with pytest.raises(ValueError, match=r"canonical|2\^53|strings"):
        canonical_json(value)


@given(PAIRS)
def test_tree_is_the_hash_of_the_sorted_list(pairs: dict[str, str]) -> None:
    entries = [{"path": path, "sha256": pairs[path]} for path in sorted(pairs)]
    assert tree_digest(reversed(pairs.items())).hex == hashlib.sha256(rfc8785.dumps(entries)).hexdigest()


@given(PAIRS, PAIRS)
def test_different_files_have_different_trees(one: dict[str, str], other: dict[str, str]) -> None:
    assert (tree_digest(one.items()) == tree_digest(other.items())) == (one == other)


def test_the_two_trees_that_share_an_oms_root_differ() -> None:
    a, b = "aa" * 32, "bb" * 32
    one = tree_digest([("encoder.onnx", a), ("head.onnx", b)])
    other = tree_digest([("config.json", a), ("zz_plugin.so", b)])
    assert one != other


@pytest.mark.parametrize("kind", ["file", "oci", "tree"])
def test_digests_read_back_as_written(kind: str) -> None:
    assert str(parse_digest(f"{kind}:sha256:{HEX}")) == f"{kind}:sha256:{HEX}"


@pytest.mark.parametrize(
    "text",
    ["", HEX, f"sha256:{HEX}", f"tree:sha256:{HEX.upper()}", f"tree:sha512:{HEX}", f"tree:sha256:{HEX}\n",
     f"dir:sha256:{HEX}", f"tree:sha256:{HEX[:-1]}", f" tree:sha256:{HEX}"],
)  # fmt: skip
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ProvenanceError) as caught:
        parse_digest(text)
    assert caught.value.reason == reasons.DIGEST_UNSUPPORTED


def test_escapes_are_the_short_ones() -> None:
    assert canonical_json('\x00\x1f\b\f\n\r\t"\\/\x7f') == b'"\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\/\x7f"'
    assert json.loads(canonical_json({"é": "\u2028"})) == {"é": "\u2028"}
