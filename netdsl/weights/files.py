"""Reading and writing files of weights, whatever their format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.atomic import replacing
from netdsl.weights import npz_file, safetensors_file, torch_file
from netdsl.weights.errors import WeightError
from netdsl.weights.stored import MAX_NAME, Archive, Limits, shown

FORMATS: dict[str, ModuleType] = {
    ".npz": npz_file, ".safetensors": safetensors_file, ".pth": torch_file, ".pt": torch_file,
    ".bin": torch_file, ".ckpt": torch_file, ".tar": torch_file,
}  # fmt: skip
"""Suffix -> the module that has `open_archive` and `write`."""

_FROM_KERAS = "convert it: load the model where it was made, and numpy.savez('weights.npz', **{name: array, ...})"
_FROM_ONNX = (
    "convert it: arrays = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(PATH).graph.initializer}; "
    "numpy.savez('weights.npz', **arrays)"
)
_CONVERT = {
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
    return ".npz, .safetensors and .pth (.pt)"


def open_archive(path: str | os.PathLike[str], limits: Limits | None = None) -> Archive:
    """The arrays that a file offers, by name: headers only; arrays are read on demand. Raises WeightError."""
    path = Path(path)
    form = _format(path)
    try:
        opened = form.open_archive(path, limits or Limits())
        assert isinstance(opened, Archive)
    except (OSError, MemoryError) as error:
        if isinstance(error, MemoryError):
            reason = "there is not enough memory"
        else:
            reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise WeightError("E0701", f"cannot read the weights {path}: {reason}", _nearby(path)) from None
    longest = max(opened.arrays, key=len, default="")
    if len(longest) > MAX_NAME:
        raise WeightError("E0703", f"{path} is damaged: an array has a name of {len(longest):_} characters")
    return opened


def _nearby(path: Path) -> str | None:
    """Files of weights in the same folder, for a name that is not there."""
    if path.exists() or not path.parent.is_dir():
        return None
    others = sorted(other.name for other in path.parent.iterdir() if other.suffix.lower() in FORMATS)
    return f"in that folder: {', '.join(others[:5])}" if others else None


def read(path: str | os.PathLike[str], limits: Limits | None = None) -> dict[str, NDArray[Any]]:
    """All arrays of a file by name, as they are stored (bfloat16 as float32). Raises WeightError.

    They may be views of the mapped file, which are read-only.
    """
    return {name: array.read() for name, array in open_archive(path, limits).arrays.items()}


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name into a file, in full or not at all; the suffix says the format. Raises WeightError."""
    path = Path(path)
    form = _format(path)
    for name in arrays:
        if "\0" in name or name == "__metadata__" or name.encode(errors="replace") != name.encode(errors="ignore"):
            raise WeightError("E0709", f"cannot write {path}: `{shown(name)}` cannot be the name of an array in it")
    try:
        with replacing(path) as temporary:
            form.write(temporary, {name: np.asarray(array) for name, array in arrays.items()})
    except OSError as error:
        raise WeightError("E0709", f"cannot write the weights {path}: {error.strerror or error}") from None
