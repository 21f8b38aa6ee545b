"""The demo model's smaller variant: hard-swish in two steps instead of four, convolutions in 8 bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Planes = npt.NDArray[np.float32]

SMALL_WEIGHTS = 2000
"""Convolutions with fewer weights stay as they are: converting to 8 bit and back costs more than it saves."""

OPERATOR_SET = 17
"""Scales per channel came with 13; the network's own file is of set 12."""


def quantised(source: Path, scratch: Path, inputs: Callable[[], Iterable[Planes]]) -> Any:
    """The ONNX model in `source` with its larger convolutions in 8 bit (static, per channel).

    Args:
        source: a model with one input.
        scratch: a folder for files in between; they are removed.
        inputs: gives real inputs, from which the ranges of the activations are read.
    """
    import onnx
    from onnx import version_converter
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One input after the other, as the calibration asks for them."""

        def __init__(self, name: str) -> None:
            self._each: Iterator[dict[str, Planes]] = iter({name: planes} for planes in inputs())

        def get_next(self) -> dict[str, Planes] | None:
            return next(self._each, None)

    scratch.mkdir(parents=True, exist_ok=True)
    before, after = scratch / "scratch.onnx", scratch / "scratch-int8.onnx"
    try:
        quant_pre_process(str(source), str(before), skip_symbolic_shape=True)
        model = version_converter.convert_version(onnx.load(before), OPERATOR_SET)
        _shorten_hard_swish(model.graph)
        onnx.save(model, str(before))
        quantize_static(
            str(before),
            str(after),
            Reader(model.graph.input[0].name),
            quant_format=QuantFormat.QOperator,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_small_convolutions(model.graph),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return onnx.load(after)
    finally:
        before.unlink(missing_ok=True)
        after.unlink(missing_ok=True)


def _small_convolutions(graph: Any) -> list[str]:
    weights = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    convolutions = (node for node in graph.node if node.op_type == "Conv")
    return [node.name for node in convolutions if weights.get(node.input[1], 0) < SMALL_WEIGHTS]


def _shorten_hard_swish(graph: Any) -> None:
    """Replace x * clip(x + 3, 0, 6) / 6, as the exporter wrote it, by x * HardSigmoid(x); the same function.

    The constants need no check: in this network the four operators in this order are nothing else.
    """
    from onnx import helper

    by_output = {output: node for node in graph.node for output in node.output}
    for divide in [node for node in graph.node if node.op_type == "Div"]:
        product = by_output.get(divide.input[0])
        clip = next((node for node in _inputs(product, by_output) if node.op_type == "Clip"), None)
        add = next((node for node in _inputs(clip, by_output) if node.op_type == "Add"), None)
        if product is None or clip is None or add is None:
            continue
        (x,) = (name for name in product.input if name != clip.output[0])
        sigmoid = helper.make_node("HardSigmoid", [x], [clip.output[0]], alpha=1 / 6, beta=0.5)
        times = helper.make_node("Mul", [x, clip.output[0]], [divide.output[0]])
        place = list(graph.node).index(divide)
        graph.node.insert(place, times)
        graph.node.insert(place, sigmoid)
        for node in (add, clip, product, divide):
            graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _inputs(node: Any, by_output: dict[str, Any]) -> list[Any]:
    return [] if node is None else [by_output[name] for name in node.input if name in by_output]
