"""Requests and answers of the Open Inference Protocol: what is read, what is refused and in which words."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.serving.errors import ModelError, RequestError
from edgewise.serving.protocol import Encoded, InferenceRequest, decode, encode
from edgewise.serving.tensors import TYPES, Tensor, declared

INPUTS = {
    "x": declared("x", "tensor(float)", ["n", 3]),
    "small": declared("small", "tensor(int8)", [2]),
    "words": declared("words", "tensor(string)", [None]),
}
OUTPUTS = {"y": declared("y", "tensor(float)", ["n", 3]), "z": declared("z", "tensor(int64)", [1])}
X = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2.5, 3]}
SMALL = {"name": "small", "datatype": "INT8", "shape": [2], "data": [-128, 127]}
WORDS = {"name": "words", "datatype": "BYTES", "shape": [2], "data": ["ein", "wörd"]}


def read(*inputs: dict[str, Any], tail: bytes = b"", **extra: Any) -> InferenceRequest:
    text = json.dumps({"inputs": list(inputs), **extra}).encode()
    names = {item.get("name") for item in inputs}
    wanted = {name: tensor for name, tensor in INPUTS.items() if name in names} or INPUTS
    return decode(text + tail, str(len(text)) if tail else None, wanted, OUTPUTS)


def test_nested_and_flat_lists_are_the_same() -> None:
    flat, nested = read(X), read({**X, "data": [[1, 2.5, 3]]})
    assert flat.inputs["x"].tolist() == nested.inputs["x"].tolist() == [[1, 2.5, 3]]
    assert flat.inputs["x"].dtype == np.float32


def test_strings_as_json_and_as_bytes() -> None:
    data = b"".join(struct.pack("<I", len(word)) + word for word in (b"ein", "wörd".encode()))
    binary = {**WORDS, "data": None, "parameters": {"binary_data_size": len(data)}}
    assert read(WORDS).inputs["words"].tolist() == ["ein", "wörd"]
    assert read(binary, tail=data).inputs["words"].tolist() == ["ein", "wörd"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({**X, "name": "q"}, r"input 'q' is unknown; the model wants \['small', 'words', 'x'\]"),
        ({**X, "datatype": "FP64"}, "datatype 'FP64'; the model wants 'FP32'"),
        ({**X, "shape": [1, 4]}, r"shape \[1, 4\]; the model wants \[-1, 3\] \(-1: any size\)"),
        ({**X, "shape": [3]}, r"shape \[3\]"),
        ({**X, "shape": [-1, 3]}, "whole numbers"),
        ({**X, "shape": [True, 3]}, "whole numbers"),
        ({**X, "data": [1, 2]}, r"2 values; 3 belong to shape \[1, 3\]"),
        ({**X, "data": [[1, 2], [3]]}, "no regular list"),
        ({**X, "data": ["1", "2", "3"]}, "wanted: FP32"),
        ({**X, "data": 7}, "no list"),
        ({**X, "shape": [10**12, 3]}, "3 values"),
        ({**SMALL, "data": [1, 300]}, "INT8 holds -128 to 127"),
        ({**SMALL, "data": [1.5, 2]}, "wanted: INT8"),
        ({**SMALL, "data": [10**30, 2]}, "wanted: INT8"),
        ({**WORDS, "data": ["a", 1]}, "other values than strings"),
        ({**X, "parameters": {"binary_data_size": 12}}, "Inference-Header-Content-Length is missing"),
        ({**X, "parameters": []}, "wanted: an object"),
    ],
)
def test_a_wrong_input_says_what_was_found_and_what_is_wanted(item: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        read(item)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("size", "tail", "words"),
    [
        (12, b"x" * 11, "11 bytes are left"),
        (11, b"x" * 12, r"11 bytes of binary data; 12 belong to shape \[1, 3\] of FP32"),
        (12, b"x" * 13, "1 bytes follow"),
        (-1, b"x" * 12, "is -1"),
        ("12", b"x" * 12, "is '12'"),
    ],
)
def test_wrong_binary_sizes(size: object, tail: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read({**X, "parameters": {"binary_data_size": size}}, tail=tail)


@pytest.mark.parametrize(
    "data", [b"\x05\0\0\0abc", b"\xff\xff\xff\xff", b"\x01\0\0\0\xff" * 2, b"\0\0\0\0" * 3]
)
def test_wrong_binary_strings(data: bytes) -> None:
    with pytest.raises(RequestError, match="string"):
        read({**WORDS, "parameters": {"binary_data_size": len(data)}}, tail=data)


@pytest.mark.parametrize(
    ("body", "length", "words"),
    [
        (b"", None, "no JSON"),
        (b"[" * 100_000, None, "no JSON"),
        (b"[]", None, "an object with inputs"),
        (b"{}", None, "inputs is missing"),
        (b'{"inputs": []}', None, "are missing"),
        (b"{}", "3", "1 to 2"),
        (b"{}", "-1", "1 to 2"),
        (b"{}", "two", "1 to 2"),
    ],
)
def test_wrong_bodies(body: bytes, length: str | None, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        decode(body, length, INPUTS, OUTPUTS)


def test_an_input_given_twice_or_not_at_all() -> None:
    with pytest.raises(RequestError, match="given twice"):
        read(X, X)
    with pytest.raises(RequestError, match=r"\['small', 'words'\] are missing"):
        decode(json.dumps({"inputs": [X]}).encode(), None, INPUTS, OUTPUTS)


def test_the_caller_chooses_outputs_and_their_form() -> None:
    both = read(X, outputs=[{"name": "z"}, {"name": "y", "parameters": {"binary_data": True}}])
    assert (both.outputs, both.binary) == (("z", "y"), frozenset({"y"}))
    assert read(X).outputs == ("y", "z")
    assert read(X, parameters={"binary_data_output": True}).binary == frozenset({"y", "z"})
    with pytest.raises(RequestError, match=r"output 'q' is unknown; the model has \['y', 'z'\]"):
        read(X, outputs=[{"name": "q"}])


def test_not_a_number_cannot_be_written_as_json() -> None:
    nan = np.array([[np.nan, 1, 2]], dtype=np.float32)
    plain = InferenceRequest(id=None, inputs={}, outputs=("y",), binary=frozenset())
    with pytest.raises(ModelError, match="binary"):
        encode("m", "1", plain, [nan], OUTPUTS)
    binary = InferenceRequest(id=None, inputs={}, outputs=("y",), binary=frozenset({"y"}))
    assert encode("m", "1", binary, [nan], OUTPUTS).body.endswith(nan.tobytes())


def numeric(kind: str) -> st.SearchStrategy[Any]:
    dtype: np.dtype[Any] = TYPES[kind][1]
    return st.lists(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize), max_size=20).map(
        lambda items: np.frombuffer(b"".join(items), dtype=dtype)
    )


@given(st.data(), st.sampled_from([kind for kind in TYPES if kind not in ("tensor(string)", "tensor(bool)")]))
def test_bytes_come_through_unchanged(data: st.DataObject, kind: str) -> None:
    """What is decoded from bytes and encoded again is the same, whatever the bits, NaNs included."""
    array = data.draw(numeric(kind))
    tensor = declared("t", kind, ["n"])
    tail = array.tobytes()
    parameters = {"binary_data_size": len(tail)}
    item = {"name": "t", "datatype": tensor.datatype, "shape": [len(array)], "parameters": parameters}
    text = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    request = decode(text + tail, str(len(text)), {"t": tensor}, {"t": tensor})
    answer = encode("m", "1", request, [request.inputs["t"]], {"t": tensor})
    assert answer == Encoded(body=answer.body, json_length=len(answer.body) - len(tail))
    assert answer.body.endswith(tail)


@given(st.binary(max_size=200), st.none() | st.text(max_size=5))
def test_rubbish_is_refused_and_nothing_else(body: bytes, length: str | None) -> None:
    with pytest.raises(RequestError):
        decode(body, length, INPUTS, OUTPUTS)


def test_a_type_that_the_protocol_does_not_know() -> None:
    with pytest.raises(ModelError, match="complex64"):
        declared("c", "tensor(complex64)", [1])


def test_open_sizes_are_minus_one() -> None:
    expected = Tensor(name="x", datatype="FP16", shape=(-1, 3, -1), dtype=np.dtype("<f2"))
    assert declared("x", "tensor(float16)", ["batch", 3, None]) == expected
