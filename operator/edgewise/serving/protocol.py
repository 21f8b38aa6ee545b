"""Requests and answers of the Open Inference Protocol v2 (REST), with its binary tensor data extension.

A body is JSON; with the header `Inference-Header-Content-Length: n` only its first n bytes are, and the
tensors with `"parameters": {"binary_data_size": bytes}` follow in the order of `inputs`. Answers likewise,
for outputs that the request wants as `"parameters": {"binary_data": true}` (or all, by
`binary_data_output`). Parsing JSON numbers can cost more than the model itself: a picture of 256 x 256 is
200,000 of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewise.serving.errors import ModelError, RequestError
from edgewise.serving.tensors import Array, Tensor, from_binary, from_json, to_binary

HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A request that fits the model.

    Attributes:
        id: the caller's own name for it, given back in the answer; None when it has none.
        inputs: array by input name.
        outputs: names of the outputs to answer with, in order.
        binary: those of `outputs` that go as bytes after the JSON.
    """

    id: str | None
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    binary: frozenset[str]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer ready to send.

    Attributes:
        body: JSON, with binary tensors after it.
        json_length: bytes of the JSON; None when there is nothing else.
    """

    body: bytes
    json_length: int | None


def decode(
    body: bytes, json_length: str | None, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> InferenceRequest:
    """Read a request and hold it against what the model declares.

    Args:
        body: the whole body.
        json_length: value of the header `Inference-Header-Content-Length`, None when absent.
        inputs: the model's inputs by name.
        outputs: the model's outputs by name.

    Raises:
        RequestError: with what was found and what is wanted.
    """
    head, tail = _split(body, json_length)
    document = _parse(head)
    parameters = _parameters(document, "the request")
    arrays: dict[str, Array] = {}
    at = 0
    for item in _list(document, "inputs"):
        tensor, shape = _input(item, inputs)
        if tensor.name in arrays:
            raise RequestError(f"input {tensor.name!r} is given twice")
        size = _parameters(item, f"input {tensor.name!r}").get("binary_data_size")
        if size is None:
            arrays[tensor.name] = from_json(tensor, shape, item.get("data"))
            continue
        if json_length is None:
            raise RequestError(f"input {tensor.name!r} is binary, but the header {HEADER_LENGTH} is missing")
        if not _is_size(size) or at + size > len(tail):
            raise RequestError(
                f"binary_data_size of input {tensor.name!r} is {size!r}; {len(tail) - at} bytes are left"
            )
        arrays[tensor.name] = from_binary(tensor, shape, tail[at : at + size])
        at += size
    if at != len(tail):
        raise RequestError(f"{len(tail) - at} bytes follow that belong to no input")
    missing = sorted(set(inputs) - set(arrays))
    if missing:
        raise RequestError(f"inputs {missing} are missing; the model wants {sorted(inputs)}")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise RequestError(f"id is {request_id!r}; wanted: a string")
    wanted, binary = _outputs(document, outputs, all_binary=parameters.get("binary_data_output") is True)
    return InferenceRequest(id=request_id, inputs=arrays, outputs=wanted, binary=binary)


def encode(
    name: str, version: str, request: InferenceRequest, arrays: Sequence[Array], outputs: Mapping[str, Tensor]
) -> Encoded:
    """Write the answer to `request`; `arrays` belong to `request.outputs` in order.

    Raises:
        ModelError: a number that JSON cannot write (NaN, infinity) in an output that is wanted as JSON.
    """
    described: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for output, array in zip(request.outputs, arrays, strict=True):
        tensor = outputs[output]
        item: dict[str, Any] = {"name": output, "datatype": tensor.datatype, "shape": list(array.shape)}
        if output in request.binary:
            chunk = to_binary(array, tensor)
            item["parameters"] = {"binary_data_size": len(chunk)}
            chunks.append(chunk)
        else:
            item["data"] = array.ravel().tolist()
        described.append(item)
    answer: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": described}
    if request.id is not None:
        answer["id"] = request.id
    try:
        head = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise ModelError(
            "an output holds NaN or an infinity, which JSON cannot carry; ask for it as binary data"
        ) from error
    if not chunks:
        return Encoded(body=head, json_length=None)
    return Encoded(body=b"".join([head, *chunks]), json_length=len(head))


def _split(body: bytes, json_length: str | None) -> tuple[bytes, memoryview]:
    if json_length is None:
        return body, memoryview(b"")
    if not (json_length.isascii() and json_length.isdigit()) or not 0 < int(json_length) <= len(body):
        raise RequestError(
            f"{HEADER_LENGTH} is {json_length!r};"
            f" wanted: the length of the JSON, 1 to {len(body)} (the whole body)"
        )
    length = int(json_length)
    return body[:length], memoryview(body)[length:]


def _parse(head: bytes) -> dict[str, Any]:
    try:
        document = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(f"the body is a {type(document).__name__}; wanted: an object with inputs")
    return document


def _list(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = document.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise RequestError(f"{name} is missing or no list of objects; wanted: one object a tensor")
    return found


def _parameters(item: dict[str, Any], of: str) -> dict[str, Any]:
    found = item.get("parameters", {})
    if not isinstance(found, dict):
        raise RequestError(f"parameters of {of} are a {type(found).__name__}; wanted: an object")
    return found


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _input(item: dict[str, Any], inputs: Mapping[str, Tensor]) -> tuple[Tensor, list[int]]:
    name = item.get("name")
    tensor = inputs.get(name) if isinstance(name, str) else None
    if tensor is None:
        raise RequestError(f"input {name!r} is unknown; the model wants {sorted(inputs)}")
    if item.get("datatype") != tensor.datatype:
        raise RequestError(
            f"input {name!r} has datatype {item.get('datatype')!r}; the model wants {tensor.datatype!r}"
        )
    shape = item.get("shape")
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        raise RequestError(f"shape of input {name!r} is {shape!r}; wanted: a list of whole numbers")
    tensor.check_shape(shape)
    return tensor, shape


def _outputs(
    document: dict[str, Any], outputs: Mapping[str, Tensor], *, all_binary: bool
) -> tuple[tuple[str, ...], frozenset[str]]:
    if not document.get("outputs"):
        return tuple(outputs), frozenset(outputs if all_binary else ())
    wanted: dict[str, bool] = {}
    for item in _list(document, "outputs"):
        name = item.get("name")
        if not isinstance(name, str) or name not in outputs:
            raise RequestError(f"output {name!r} is unknown; the model has {sorted(outputs)}")
        wanted[name] = _parameters(item, f"output {name!r}").get("binary_data", all_binary) is True
    return tuple(wanted), frozenset(name for name, binary in wanted.items() if binary)
