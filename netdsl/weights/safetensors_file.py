"""safetensors files: 8 bytes of length, a JSON header, then the values of one array after the other.

The header is checked twice: here for what a person can be told (truncated, a length that cannot be), and by the
`safetensors` library for everything else that the format demands (no overlaps, no holes).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from netdsl.weights.errors import WeightError
from netdsl.weights.stored import Limits, Stored, too_large

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""The format's names of types -> NumPy's. Other types (8-bit floats) are listed as they are and cannot be read."""


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[dict[str, Stored]]:
    """The arrays of a file by name; they can be read while the block lasts. Raises WeightError and OSError."""
    with path.open("rb") as file:
        start, header = _header(file, path, limits)
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            raise _damaged(path, str(error)) from None
        yield {name: _entry(file, start, name, entry, path) for name, entry in header.items() if name != "__metadata__"}


def _header(file: IO[bytes], path: Path, limits: Limits) -> tuple[int, dict[str, dict[str, Any]]]:
    """Where the values begin, and the header: name -> {dtype, shape, data_offsets}."""
    size = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8:
        raise _damaged(path, f"it has {size} bytes, less than the 8 that every such file begins with")
    if length > size - 8:
        raise _damaged(path, f"it claims a header of {length:_} bytes and has {size:_} bytes in all")
    if length > limits.header_bytes:
        raise too_large(f"the header of {path} is too long", length, limits.header_bytes, "header_bytes")
    try:
        header = json.loads(file.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read ({type(error).__name__}: {error})") from None
    if len(entries) > limits.tensors:
        raise too_large(f"{path} holds too many arrays", len(entries), limits.tensors, "tensors", "arrays")
    if end > size - 8 - length:
        raise _damaged(path, f"its header speaks of {end:_} bytes of values and {size - 8 - length:_} are there")
    if end > limits.bytes:
        raise too_large(f"{path} holds too much", end, limits.bytes, "bytes")
    return 8 + length, header


def _entry(file: IO[bytes], start: int, name: str, entry: Mapping[str, Any], path: Path) -> Stored:
    dtype = _DTYPES.get(entry["dtype"], entry["dtype"])
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]

    def read() -> NDArray[Any]:
        if entry["dtype"] not in _DTYPES:
            raise WeightError("E0705", f"{path}: `{name}` has type {dtype}, which netdsl does not read")
        file.seek(start + begin)
        data = bytearray(file.read(end - begin))
        if len(data) != end - begin:
            raise _damaged(path, f"it ended within `{name}`: it was changed while it was read")
        if dtype == "bfloat16":  # the upper half of a float32
            wide = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
            return wide.view(np.float32).reshape(shape)
        return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)

    return Stored(shape, dtype, read)


def _damaged(path: Path, reason: str) -> WeightError:
    return WeightError("E0703", f"{path} is damaged or no safetensors file: {reason}", "fetch or write the file again")


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes a safetensors file. Raises OSError."""
    tensors = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        # Some readers refuse a file that does not say whose layouts it has; ours are PyTorch's.
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from None
