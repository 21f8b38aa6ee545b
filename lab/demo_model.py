"""The demo's model: a real text detector, as its authors published it and in 8 bit, and a picture to show it.

The network is the detector of PP-OCRv4 (PaddleOCR authors, Apache-2.0) as the wheel `rapidocr-onnxruntime`
(Apache-2.0) ships it in ONNX form: 4.7 MB of convolutions that mark, for each pixel, how likely it belongs
to a line of text. Both variants carry its normalisation in front and a condensation behind, so that they
speak pictures and a small map instead of 800 KB of numbers each way::

    image  UINT8 [1, 256, 256, 3]   rows, columns, colours
    text   UINT8 [1, 64, 64]        for each 4 x 4 pixels: 255 is certainly text

`original` keeps every weight. `int8` has its larger convolutions quantised (static, per channel, calibrated
on drawn pictures) and its activation function shortened: a third of the bytes, 12 to 20 % less time even
where the processor has no 8-bit dot product (measured with AVX2), and slightly different answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.quantise import Planes, quantised

# Before ONNX Runtime is loaded, by whatever comes first: it reports to its maker otherwise.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Picture = npt.NDArray[np.uint8]
TextMap = npt.NDArray[np.uint8]

SIZE = 256
CELL = 4
CERTAIN = 76
"""Of 255: the detector's own threshold of 0.3."""

LINES = ("Pump 7", "4.2 bar", "LOT 1539")
CALIBRATION_PICTURES = 24

README = """# {name}: PP-OCRv4 text detection, {variant}

{what}

- input `image`: UINT8 [1, {size}, {size}, 3], a picture (rows, columns, colours) - output `text`: UINT8 [1,
{cells}, {cells}], for each {cell} x {cell} pixels the likelihood of text, 255 is certain - origin:
PaddleOCR's PP-OCRv4 mobile detector, in ONNX form from the wheel rapidocr-onnxruntime {version} - licence:
Apache-2.0 (both), see LICENSE and NOTICE - limits: trained on Chinese and English text in photographs; for
demonstrations only """

NOTICE = """PP-OCRv4 detection model, Copyright (c) PaddlePaddle Authors, Apache License 2.0.
ONNX conversion by the RapidOCR project, Apache License 2.0.
Changed here: the picture's normalisation and a 4 x 4 maximum were added to the graph{also}.
The licence: https://www.apache.org/licenses/LICENSE-2.0
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of the model, as a folder of files.

    Attributes:
        name: original or int8.
        folder: where its files are.
        files: their names, sorted.
        size: bytes of them all.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    size: int


def prepare(folder: Path) -> list[Variant]:
    """Make both variants under `folder` (about 5 s); what is there is written anew."""
    import onnx

    source = _source()
    network = onnx.load(source)
    plain = "The network as published, weights untouched (32-bit floating point)."
    small = (
        "Larger convolutions quantised to 8 bit, calibrated on drawn pictures of text; hard-swish shortened."
    )
    return [
        _write(folder / "original", "original", _wrapped(network), plain),
        _write(folder / "int8", "int8", _wrapped(quantised(source, folder, _calibration)), small),
    ]


def picture(lines: tuple[str, ...] = LINES, seed: int = 7) -> Picture:
    """A picture of a label with up to three lines of text: rows, columns, colours."""
    from PIL import Image, ImageDraw, ImageFont

    draws = np.random.default_rng(seed)
    background, ink = draws.integers(200, 256, 3), draws.integers(0, 90, 3)
    image = Image.new("RGB", (SIZE, SIZE), tuple(int(value) for value in background))
    canvas = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=28)
    for row, line in enumerate(lines):
        left = 16 + int(draws.integers(0, 32))
        canvas.text((left, 20 + 72 * row), line, font=font, fill=tuple(int(value) for value in ink))
    return np.asarray(image, dtype=np.uint8)


def real_input() -> Picture:
    """The picture as the model wants it: [1, rows, columns, colours]."""
    return picture()[np.newaxis]


def request(*, binary_answer: bool = True) -> tuple[bytes, dict[str, str]]:
    """A whole request of the Open Inference Protocol v2, binary input, and the headers that go with it."""
    pixels = real_input().tobytes()
    document = {
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": [1, SIZE, SIZE, 3],
                "parameters": {"binary_data_size": len(pixels)},
            }
        ],
        "parameters": {"binary_data_output": binary_answer},
    }
    head = json.dumps(document).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }
    return head + pixels, headers


def read_answer(body: bytes, headers: Mapping[str, str]) -> TextMap:
    """The map of text out of an inference answer, JSON or binary; header names in any case."""
    lengths = {name.lower(): value for name, value in headers.items()}
    length = lengths.get("inference-header-content-length")
    output = json.loads(body if length is None else body[: int(length)])["outputs"][0]
    values = output["data"] if length is None else np.frombuffer(body[int(length) :], np.uint8)
    return np.asarray(values, dtype=np.uint8).reshape(output["shape"])


def boxes(text: TextMap) -> list[tuple[int, int, int, int]]:
    """Connected areas of text, from top to bottom: left, top, right, bottom in pixels."""
    marked = text.reshape(text.shape[-2:]) >= CERTAIN
    found: list[tuple[int, int, int, int]] = []
    left_over = {(int(row), int(column)) for row, column in np.argwhere(marked)}
    while left_over:
        area = [left_over.pop()]
        for row, column in area:  # grows while it is walked
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in left_over:
                    left_over.remove(near)
                    area.append(near)
        rows, columns = [cell[0] for cell in area], [cell[1] for cell in area]
        found.append(
            (min(columns) * CELL, min(rows) * CELL, (max(columns) + 1) * CELL, (max(rows) + 1) * CELL)
        )
    return sorted(found, key=lambda box: (box[1], box[0]))


def explain_answer(text: TextMap) -> str:
    """The answer in words, for people."""
    found = boxes(text)
    where = "; ".join(f"x {left}-{right}, y {top}-{bottom}" for left, top, right, bottom in found)
    certainty = f", the surest cell {int(text.max()) / 255:.0%}" if found else ""
    places = f" at {where}" if found else ""
    return f"{len(found)} text {'box' if len(found) == 1 else 'boxes'} found{places}{certainty}"


def _source() -> Path:
    """The network's file inside the installed wheel; the wheel itself is not imported."""
    from importlib.metadata import files

    for file in files("rapidocr-onnxruntime") or ():
        if file.name == "ch_PP-OCRv4_det_infer.onnx":
            return Path(str(file.locate()))
    raise FileNotFoundError("rapidocr-onnxruntime is installed without ch_PP-OCRv4_det_infer.onnx")


def _wrapped(model: Any) -> Any:
    """The network with pictures in front and the condensed map behind."""
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = model.graph
    inner, outer = graph.input[0].name, graph.output[0].name
    constants: dict[str, npt.NDArray[Any]] = {
        "demo_scale": np.array(1 / 127.5, dtype=np.float32),
        "demo_one": np.array(1, dtype=np.float32),
        "demo_full": np.array(255, dtype=np.float32),
        "demo_shape": np.array([1, SIZE // CELL, SIZE // CELL], dtype=np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    front = [
        helper.make_node("Cast", ["image"], ["demo_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["demo_float"], ["demo_planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["demo_planes", "demo_scale"], ["demo_scaled"]),
        helper.make_node("Sub", ["demo_scaled", "demo_one"], [inner]),
    ]
    pool: dict[str, Any] = {"kernel_shape": [CELL, CELL], "strides": [CELL, CELL]}
    behind = [
        helper.make_node("MaxPool", [outer], ["demo_cells"], **pool),
        helper.make_node("Mul", ["demo_cells", "demo_full"], ["demo_bytes"]),
        helper.make_node("Round", ["demo_bytes"], ["demo_round"]),
        helper.make_node("Cast", ["demo_round"], ["demo_cast"], to=TensorProto.UINT8),
        helper.make_node("Reshape", ["demo_cast", "demo_shape"], ["text"]),
    ]
    nodes = [*front, *graph.node, *behind]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3]))
    cells = SIZE // CELL
    graph.output.append(helper.make_tensor_value_info("text", TensorProto.UINT8, [1, cells, cells]))
    checker.check_model(model)
    return model


def _calibration() -> Iterator[Planes]:
    """Pictures with one to three lines, as the network itself wants them: colours first, from -1 to 1."""
    for number in range(CALIBRATION_PICTURES):
        lines = (f"Pump {number}", f"{number}.{3 * number % 10} bar", f"LOT {77 * number}")
        pixels = picture(lines[: 1 + number % 3], seed=number).astype(np.float32)
        yield np.ascontiguousarray((pixels / 127.5 - 1).transpose(2, 0, 1)[np.newaxis])


def _write(folder: Path, name: str, model: Any, what: str) -> Variant:
    from importlib.metadata import version

    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"))
    config = {
        "name": "text-detector",
        "variant": name,
        "task": "text detection",
        "input": {"name": "image", "size": SIZE},
        "output": {"name": "text", "pixels_per_cell": CELL, "threshold": CERTAIN},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    wheel = version("rapidocr-onnxruntime")
    numbers = {"size": SIZE, "cells": SIZE // CELL, "cell": CELL, "version": wheel}
    (folder / "README.md").write_text(README.format(name="text-detector", variant=name, what=what, **numbers))
    also = "; larger convolutions were quantised to 8 bit, hard-swish shortened" if name == "int8" else ""
    (folder / "NOTICE").write_text(NOTICE.format(also=also))
    licence = Path(__file__).parents[1] / "LICENSE"
    if licence.exists():  # the project's own, the very same Apache-2.0
        (folder / "LICENSE").write_bytes(licence.read_bytes())
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return Variant(
        name=name,
        folder=folder,
        files=tuple(path.name for path in files),
        size=sum(path.stat().st_size for path in files),
    )
