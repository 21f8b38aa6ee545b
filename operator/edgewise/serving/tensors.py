"""Tensors between the protocol's data types, NumPy and ONNX Runtime.

Sources: data types and the binary layout (little-endian, row-major, BYTES as a 4-byte length and the bytes)
are those of the Open Inference Protocol v2, REST, and its binary tensor data extension.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgewise.serving.errors import ModelError, RequestError

Array = npt.NDArray[Any]

TYPES: dict[str, tuple[str, Any]] = {
    "tensor(bool)": ("BOOL", np.dtype(np.bool_)),
    "tensor(uint8)": ("UINT8", np.dtype(np.uint8)),
    "tensor(uint16)": ("UINT16", np.dtype("<u2")),
    "tensor(uint32)": ("UINT32", np.dtype("<u4")),
    "tensor(uint64)": ("UINT64", np.dtype("<u8")),
    "tensor(int8)": ("INT8", np.dtype(np.int8)),
    "tensor(int16)": ("INT16", np.dtype("<i2")),
    "tensor(int32)": ("INT32", np.dtype("<i4")),
    "tensor(int64)": ("INT64", np.dtype("<i8")),
    "tensor(float16)": ("FP16", np.dtype("<f2")),
    "tensor(float)": ("FP32", np.dtype("<f4")),
    "tensor(double)": ("FP64", np.dtype("<f8")),
    "tensor(string)": ("BYTES", np.dtype(np.object_)),
}
"""ONNX Runtime's name of a type: the protocol's name, and NumPy's type."""

JSON_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
"""Which kinds of JSON values (as NumPy reads them) a type takes without losing anything."""

LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output as the model declares it.

    Attributes:
        name: as in the model.
        datatype: the protocol's name of the type, for example FP32.
        shape: one number a dimension; -1 where any size will do.
        dtype: NumPy's type.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a shape that the model cannot take.

        Raises:
            RequestError: with the shape found and the one wanted.
        """
        fits = len(shape) == len(self.shape) and all(
            want in (-1, have) for have, want in zip(shape, self.shape, strict=True)
        )
        if not fits:
            raise RequestError(
                f"input {self.name!r} has shape {list(shape)}; the model wants {list(self.shape)}"
                + (" (-1: any size)" if -1 in self.shape else "")
            )


def declared(name: str, kind: str, shape: Sequence[int | str | None]) -> Tensor:
    """The protocol's view of what ONNX Runtime says of an input or output.

    Raises:
        ModelError: the type has no counterpart in the protocol.
    """
    if kind not in TYPES:
        known = ", ".join(sorted(TYPES))
        raise ModelError(f"tensor {name!r} of the model has type {kind}; this server speaks {known}")
    datatype, dtype = TYPES[kind]
    sizes = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in shape)
    return Tensor(name=name, datatype=datatype, shape=sizes, dtype=dtype)


def from_binary(tensor: Tensor, shape: Sequence[int], data: memoryview) -> Array:
    """An array over `data`, without a copy where the processor can read it in place.

    Raises:
        RequestError: the number of bytes does not belong to the shape.
    """
    count = math.prod(shape)
    if tensor.datatype == "BYTES":
        return np.array(_split(tensor.name, count, data), dtype=np.object_).reshape(shape)
    wanted = count * tensor.dtype.itemsize
    if len(data) != wanted:
        raise RequestError(
            f"input {tensor.name!r} has {len(data)} bytes of binary data;"
            f" {wanted} belong to shape {list(shape)} of {tensor.datatype}"
        )
    array: Array = np.frombuffer(data, dtype=tensor.dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def from_json(tensor: Tensor, shape: Sequence[int], data: object) -> Array:
    """An array of a flat or nested JSON list.

    Raises:
        RequestError: values of the wrong type, out of range, or too many or too few of them.
    """
    if not isinstance(data, list):
        raise RequestError(f"data of input {tensor.name!r} is no list; wanted: a flat or nested list")
    try:
        found = np.asarray(data, dtype=np.object_ if tensor.datatype == "BYTES" else None)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"data of input {tensor.name!r} is no regular list: {error}") from error
    count = math.prod(shape)
    if found.size != count:
        raise RequestError(
            f"input {tensor.name!r} has {found.size} values; {count} belong to shape {list(shape)}"
        )
    if count == 0:
        return np.empty(shape, dtype=tensor.dtype)
    if tensor.datatype == "BYTES":
        if not all(isinstance(value, str) for value in found.flat):
            raise RequestError(
                f"data of input {tensor.name!r} holds other values than strings; wanted: BYTES"
            )
    elif found.dtype.kind not in JSON_KINDS[tensor.dtype.kind]:
        raise RequestError(
            f"data of input {tensor.name!r} is read as {found.dtype.name}; wanted: {tensor.datatype}"
        )
    elif tensor.dtype.kind in "iu":
        limits = np.iinfo(tensor.dtype)
        if found.min() < limits.min or found.max() > limits.max:
            raise RequestError(
                f"data of input {tensor.name!r} reaches from {found.min()} to {found.max()};"
                f" {tensor.datatype} holds {limits.min} to {limits.max}"
            )
    return found.astype(tensor.dtype, copy=False).reshape(shape)


def to_binary(array: Array, tensor: Tensor) -> bytes:
    """The bytes of one output in the protocol's layout."""
    if tensor.datatype != "BYTES":
        return array.astype(tensor.dtype, copy=False).tobytes()
    encoded = [str(value).encode() for value in array.flat]
    return b"".join(LENGTH.pack(len(value)) + value for value in encoded)


def _split(name: str, count: int, data: memoryview) -> list[str]:
    """Strings out of length-prefixed bytes; as many as the shape says, and nothing after them."""
    values: list[str] = []
    at = 0
    # Each string needs 4 bytes at least: a forged count ends here, before anything is allocated for it.
    while at + LENGTH.size <= len(data) and len(values) < count:
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + length > len(data):
            break
        try:
            values.append(str(data[at : at + length], "utf-8"))
        except UnicodeDecodeError as error:
            raise RequestError(
                f"string {len(values)} of input {name!r} is no UTF-8: {error.reason}"
            ) from error
        at += length
    if len(values) != count or at != len(data):
        raise RequestError(
            f"binary data of input {name!r} holds {len(values)} whole strings in {at} of {len(data)} bytes;"
            f" {count} belong to its shape"
        )
    return values
