"""The model: found in its folder, loaded into ONNX Runtime, warmed up, run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from edgewise.serving.errors import ModelError, RequestError
from edgewise.serving.tensors import Array, Tensor, declared

log = logging.getLogger(__name__)

WARM_UP_SIZES = (1, 32, 64, 224)
"""What is tried where the model leaves a size open; the first dimension is the batch and stays 1."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `run` may be called from several threads at once.

    Attributes:
        file: where it came from.
        inputs: by name.
        outputs: by name.
        session: ONNX Runtime's session.
    """

    file: Path
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    session: Any

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Infer once.

        Raises:
            RequestError: ONNX Runtime refuses the inputs.
            ModelError: the model fails on them.
        """
        try:
            arrays: list[Array] = self.session.run(list(outputs), dict(inputs))
        except InvalidArgument as error:
            raise RequestError(f"the model refuses this input: {error}") from error
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise ModelError(f"the model failed on this input: {error}") from error
        return arrays


def find(path: Path) -> Path:
    """The one .onnx file of a model folder: `model.onnx`, else the only one at its top.

    Raises:
        ModelError: none, or several of them; with what was found.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelError(f"{path} is neither a folder nor a file; wanted: the folder with the model")
    names = sorted(entry.name for entry in path.iterdir())
    models = [name for name in names if name.endswith(".onnx")]
    if "model.onnx" in models:
        return path / "model.onnx"
    if len(models) == 1:
        return path / models[0]
    found = ", ".join(names[:20]) or "nothing"
    raise ModelError(
        f"{path} holds {len(models)} .onnx files (found: {found});"
        " wanted: exactly one, or one named model.onnx"
    )


def load(path: Path, threads: int) -> Model:
    """Load the model under `path`; one inference uses `threads` threads.

    Raises:
        ModelError: no file, a broken one, or one with types that the protocol does not know.
    """
    file = find(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the processor from the other services of a small device.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ModelError(f"{file} cannot be loaded: {error}") from error
    inputs = [declared(item.name, item.type, item.shape) for item in session.get_inputs()]
    outputs = [declared(item.name, item.type, item.shape) for item in session.get_outputs()]
    return Model(
        file=file,
        inputs={tensor.name: tensor for tensor in inputs},
        outputs={tensor.name: tensor for tensor in outputs},
        session=session,
    )


def warm_up(model: Model) -> None:
    """Run once on zeros, so that the first caller does not wait for buffers and kernels to be set up.

    Raises:
        ModelError: a model that fixes every size fails on zeros of just these sizes.
    """
    open_sizes = any(-1 in tensor.shape[1:] for tensor in model.inputs.values())
    failure: ModelError | RequestError | None = None
    for zeros in _zeros(model, WARM_UP_SIZES if open_sizes else WARM_UP_SIZES[:1]):
        try:
            model.run(zeros, list(model.outputs))
        except (ModelError, RequestError) as error:
            failure = error
        else:
            return
    if not open_sizes:
        raise ModelError(f"{model.file} fails on a first inference with zeros: {failure}")
    # The model's own sizes are unknown here; it may well be sound for those that callers use.
    log.warning("no warm-up: %s takes none of the sizes %s: %s", model.file, WARM_UP_SIZES, failure)


def _zeros(model: Model, sizes: Sequence[int]) -> Iterator[dict[str, Array]]:
    for size in sizes:
        yield {
            tensor.name: np.full(
                [1 if n == -1 and i == 0 else size if n == -1 else n for i, n in enumerate(tensor.shape)],
                "" if tensor.datatype == "BYTES" else 0,
                dtype=tensor.dtype,
            )
            for tensor in model.inputs.values()
        }
