"""safetensors files: 8 bytes of length, a JSON header, then the values of one array after the other.

The header is checked twice: here for what a person can be told (truncated, a length that cannot be), and by the
`safetensors` library for everything else that the format demands (no overlaps, no holes). Values are views of the
mapped file.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from netdsl.weights.errors import WeightError
from netdsl.weights.mapping import mapped, view
from netdsl.weights.stored import Archive, Limits, Stored, too_large, widened

FORMAT = "safetensors"

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""The format's names of types -> NumPy's. Other types (8-bit floats) are listed as they are and cannot be read."""

_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_CHUNK = 1 << 24
"""Bytes that are written at a time, so that an array of another layout is not copied as a whole."""


def open_archive(path: Path, limits: Limits) -> Archive:
    """The arrays of a file by name. Raises WeightError and OSError."""
    data = mapped(path)
    start, header = _header(data, path, limits)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise _damaged(path, str(error)) from None
    return Archive(FORMAT, {name: _entry(data, start, name, entry, path) for name, entry in header.items()})


def _header(data: mmap.mmap | bytes, path: Path, limits: Limits) -> tuple[int, dict[str, dict[str, Any]]]:
    """Where the values begin, and the header: name -> {dtype, shape, data_offsets}."""
    size = len(data)
    if size < 8:
        raise _damaged(path, f"it has {size} bytes, less than the 8 that every such file begins with")
    length = int.from_bytes(data[:8], "little")
    if length > size - 8:
        raise _damaged(path, f"it claims a header of {length:_} bytes and has {size:_} bytes in all")
    if length > limits.header_bytes:
        raise too_large(f"the header of {path} is too long", length, limits.header_bytes, "header_bytes")
    try:
        header = json.loads(data[8 : 8 + length])
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
    return 8 + length, entries


def _entry(data: mmap.mmap | bytes, start: int, name: str, entry: Mapping[str, Any], path: Path) -> Stored:
    dtype = _DTYPES.get(entry["dtype"])
    shape = tuple(entry["shape"])
    if dtype is None:
        return Stored(shape, entry["dtype"], partial(_unreadable, path, name, entry["dtype"]))
    return Stored(shape, dtype, partial(_read, data, start + entry["data_offsets"][0], shape, dtype))


def _read(data: mmap.mmap | bytes, start: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    kind = np.dtype("<u2") if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<")
    values = view(data, kind, start, prod(shape)).reshape(shape)
    return widened(values) if dtype == "bfloat16" else values


def _unreadable(path: Path, name: str, dtype: str) -> NDArray[Any]:
    raise WeightError("E0705", f"{path}: `{name}` has type {dtype}, which netdsl does not read")


def _damaged(path: Path, reason: str) -> WeightError:
    return WeightError("E0703", f"{path} is damaged or no safetensors file: {reason}", "fetch or write the file again")


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes a safetensors file, one array after the other, without a copy of all of them. Raises OSError.

    The header lists the arrays in the order given. Values of wide types come first, so that each array is aligned.
    """
    # Some readers refuse a file that does not say whose layouts it has; ours are PyTorch's.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}} | dict.fromkeys(arrays)
    place = 0
    ordered = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    for name in ordered:
        array = arrays[name]
        if array.dtype.name not in _NAMES:
            raise WeightError("E0705", f"`{name}` holds {array.dtype}, which the safetensors format does not have")
        end = place + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype.name], "shape": array.shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in ordered:
            for part in _parts(arrays[name]):
                file.write(part)


def _parts(array: NDArray[Any]) -> Iterator[bytes | memoryview]:
    """The values as bytes, little-endian, the last axis running fastest."""
    little = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == little:
        yield array.reshape(-1).view(np.uint8).data
        return
    values = array.reshape(-1) if array.flags.c_contiguous else array.flat
    step = max(1, _CHUNK // array.dtype.itemsize)
    for start in range(0, array.size, step):
        yield np.asarray(values[start : start + step], little).tobytes()
