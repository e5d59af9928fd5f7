"""Reading and writing files of weights, whatever their format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.atomic import replacing
from netdsl.weights import npz_file, safetensors_file
from netdsl.weights.errors import WeightError
from netdsl.weights.stored import Limits, Stored

FORMATS: dict[str, ModuleType] = {".npz": npz_file, ".safetensors": safetensors_file}
"""Suffix -> the module that has `opened` and `write`."""

_FROM_PYTORCH = (
    "a PyTorch file is a pickle, which can run any code; convert it once, where you trust it: "
    "state = torch.load(PATH, weights_only=True); safetensors.torch.save_file(state, 'weights.safetensors')"
)
_FROM_KERAS = "convert it: load the model where it was made, and numpy.savez('weights.npz', **{name: array, ...})"
_FROM_ONNX = (
    "convert it: arrays = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(PATH).graph.initializer}; "
    "numpy.savez('weights.npz', **arrays)"
)
_CONVERT = {
    ".pt": _FROM_PYTORCH, ".pth": _FROM_PYTORCH, ".bin": _FROM_PYTORCH, ".ckpt": _FROM_PYTORCH, ".tar": _FROM_PYTORCH,
    ".h5": _FROM_KERAS, ".hdf5": _FROM_KERAS, ".keras": _FROM_KERAS, ".onnx": _FROM_ONNX,
    ".npy": "a .npy file holds one array without a name; write numpy.savez('weights.npz', **{name: array, ...})",
}  # fmt: skip


def _format(path: Path) -> ModuleType:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        found = f"a {suffix} file" if suffix else "a file without a suffix"
        hint = _CONVERT.get(suffix, "the suffix says the format: rename the file, or convert it")
        raise WeightError("E0702", f"{path} is {found}; weights are read from and written to {_known()}", hint)
    return FORMATS[suffix]


def _known() -> str:
    return " and ".join(FORMATS)


@contextmanager
def opened(path: str | os.PathLike[str], limits: Limits | None = None) -> Iterator[dict[str, Stored]]:
    """The arrays that a file offers, by name: headers only; arrays are read on demand while the block lasts.

    Raises WeightError.
    """
    path = Path(path)
    form = _format(path)
    try:
        if path.is_dir():
            raise WeightError("E0701", f"{path} is a folder; weights are one file ({_known()})")
        with form.opened(path, limits or Limits()) as stored:
            yield stored
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise WeightError("E0701", f"cannot read the weights {path}: {reason}", _nearby(path)) from None


def _nearby(path: Path) -> str | None:
    """Files of weights in the same folder, for a name that is not there."""
    if path.exists() or not path.parent.is_dir():
        return None
    others = sorted(other.name for other in path.parent.iterdir() if other.suffix.lower() in FORMATS)
    return f"in that folder: {', '.join(others[:5])}" if others else None


def read(path: str | os.PathLike[str], limits: Limits | None = None) -> dict[str, NDArray[Any]]:
    """All arrays of a file by name, as they are stored (bfloat16 as float32). Raises WeightError."""
    with opened(path, limits) as stored:
        return {name: array.read() for name, array in stored.items()}


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name into a `.npz` or `.safetensors` file, in full or not at all. Raises WeightError."""
    path = Path(path)
    form = _format(path)
    try:
        with replacing(path) as temporary:
            form.write(temporary, {name: np.asarray(array) for name, array in arrays.items()})
    except OSError as error:
        raise WeightError("E0709", f"cannot write the weights {path}: {error.strerror or error}") from None
