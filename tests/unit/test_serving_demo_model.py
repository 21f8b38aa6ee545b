"""The demo's model: two variants that really find text, and their whole way through the server."""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.serving.model import load
from lab import demo_model
from tests.unit.serving_support import serving, settings


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, demo_model.Variant]:
    return {variant.name: variant for variant in demo_model.prepare(tmp_path_factory.mktemp("models"))}


def find_text(variant: demo_model.Variant, picture: demo_model.Picture) -> demo_model.TextMap:
    model = load(variant.folder, threads=1)
    (text,) = model.run({"image": picture[np.newaxis]}, ["text"])
    return text


def test_a_variant_is_a_folder_of_files(variants: dict[str, demo_model.Variant]) -> None:
    assert list(variants) == ["original", "int8"]
    for variant in variants.values():
        assert {"model.onnx", "config.json", "README.md", "NOTICE"} <= set(variant.files)
        assert variant.size == sum((variant.folder / name).stat().st_size for name in variant.files)
    assert variants["int8"].size < variants["original"].size / 3


@pytest.mark.parametrize("name", ["original", "int8"])
@pytest.mark.parametrize("lines", [(), ("Pump 7",), ("Pump 7", "4.2 bar", "LOT 1539")])
def test_both_find_each_line_of_text(
    variants: dict[str, demo_model.Variant], name: str, lines: tuple[str, ...]
) -> None:
    text = find_text(variants[name], demo_model.picture(lines))
    assert len(demo_model.boxes(text)) == len(lines)
    assert demo_model.explain_answer(text).startswith(f"{len(lines)} text box")


@pytest.mark.parametrize("seed", [7, 101, 102])
def test_their_answers_differ_a_little(variants: dict[str, demo_model.Variant], seed: int) -> None:
    picture = demo_model.picture(seed=seed)
    first, second = (find_text(variant, picture) for variant in variants.values())
    assert np.any(first != second)
    marked = [text >= demo_model.CERTAIN for text in (first, second)]
    assert np.sum(marked[0] & marked[1]) > 0.9 * np.sum(marked[0] | marked[1])


def test_boxes_are_in_pixels_from_top_to_bottom() -> None:
    text = np.zeros((1, 64, 64), dtype=np.uint8)
    text[0, 10:12, 3:6] = 255
    text[0, 2, 60:64] = 200
    text[0, 30, 30] = demo_model.CERTAIN - 1
    assert demo_model.boxes(text) == [(240, 8, 256, 12), (12, 40, 24, 48)]
    assert demo_model.explain_answer(np.zeros_like(text)) == "0 text boxes found"


@pytest.mark.enable_socket
@pytest.mark.parametrize("binary", [True, False])
async def test_a_real_picture_gets_a_real_answer(
    variants: dict[str, demo_model.Variant], binary: bool
) -> None:
    here = settings(variants["int8"].folder, model_name="text-detector")
    body, headers = demo_model.request(binary_answer=binary)
    async with serving(here) as live:
        answer = await live.ask("POST", "/v2/models/text-detector/infer", body, headers)
        assert answer.status == 200
        text = demo_model.read_answer(answer.body, answer.headers)
        assert demo_model.explain_answer(text).startswith("3 text boxes found at x ")
