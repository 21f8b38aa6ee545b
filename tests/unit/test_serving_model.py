"""Model folders, loading and warm-up, with real ONNX models; and the process from start to SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewise.serving.errors import ModelError, RequestError
from edgewise.serving.model import find, load, warm_up
from tests.unit.serving_support import doubling_model, save_model


def test_the_only_model_of_a_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "extra").mkdir()
    doubling_model(tmp_path / "extra")
    only = doubling_model(tmp_path, "detector.onnx")
    assert find(tmp_path) == only
    assert find(only) == only
    assert find(doubling_model(tmp_path).parent).name == "model.onnx"


@pytest.mark.parametrize("names", [[], ["a.onnx", "b.onnx"], ["README.md"]])
def test_no_or_several_models_are_told(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match="wanted: exactly one") as caught:
        find(tmp_path)
    assert all(name in str(caught.value) for name in names)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a file"):
        find(tmp_path / "nowhere")


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        load(tmp_path, threads=1)


def test_a_real_inference(tmp_path: Path) -> None:
    model = load(doubling_model(tmp_path), threads=1)
    warm_up(model)
    (twice,) = model.run({"x": np.array([[1, 2, 3]], dtype=np.float32)}, ["twice"])
    assert twice.tolist() == [[2, 4, 6]]
    with pytest.raises(RequestError, match="refuses"):
        model.run({"x": np.zeros([1, 4], dtype=np.float32)}, ["twice"])


def reshaping_model(folder: Path, size: int | str) -> Path:
    """A model that fails at run time unless its input has 64 values."""
    shape = onnx.numpy_helper.from_array(np.array([8, 8], dtype=np.int64))
    return save_model(
        folder / "model.onnx",
        [
            helper.make_node("Constant", [], ["shape"], value=shape),
            helper.make_node("Reshape", ["x", "shape"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, [1, size])},
        {"y": (TensorProto.FLOAT, ["a", "b"])},
    )


def test_warm_up_tries_sizes_where_the_model_leaves_them_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load(reshaping_model(tmp_path, "n"), threads=1)
    with caplog.at_level(logging.WARNING):
        warm_up(model)
    assert not caplog.records
    with pytest.raises(ModelError, match="failed on this input"):
        model.run({"x": np.zeros([1, 3], dtype=np.float32)}, ["y"])


def process_environment(folder: Path, **extra: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONWARNINGS": "error",
        "EDGEWISE_MODEL_NAME": "doubler",
        "EDGEWISE_LATENCY_TARGET": "1",
        "EDGEWISE_MODEL_PATH": str(folder),
        "EDGEWISE_HOST": "127.0.0.1",
        "EDGEWISE_PORT": "0",
        "EDGEWISE_DRAIN_SECONDS": "0",
        **extra,
    }


async def start_process(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgewise.serving", env=environment, stderr=asyncio.subprocess.PIPE
    )


@pytest.mark.enable_socket
async def test_the_process_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    process = await start_process(process_environment(doubling_model(tmp_path).parent))
    assert process.stderr is not None
    while b"ready: " not in await process.stderr.readline():
        assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert b"draining" in await process.stderr.read()


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("extra", "words"),
    [({}, "wanted: exactly one"), ({"EDGEWISE_LATENCY_TARGET": "soon"}, "EDGEWISE_LATENCY_TARGET is 'soon'")],
)
async def test_the_process_ends_with_a_reason(tmp_path: Path, extra: dict[str, str], words: str) -> None:
    process = await start_process(process_environment(tmp_path, **extra))
    assert process.stderr is not None
    told = (await process.stderr.read()).decode()
    assert await process.wait() == 1
    assert words in told
    assert "Traceback" not in told


async def test_nothing_is_reported_to_the_maker_of_the_runtime(tmp_path: Path) -> None:
    """ONNX Runtime's wheels do, and keep an identity for it under the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    model = doubling_model(tmp_path / "model")
    # Continuous integration silences it as well; without these two the setting itself is what is tested.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")
    }
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (
        "import pathlib; from edgewise.serving.model import load, warm_up;"
        f"warm_up(load(pathlib.Path({str(model)!r}), 1))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    told = await process.stderr.read()
    assert await process.wait() == 0
    assert b"elemetry" not in told
    assert list(home.iterdir()) == []
