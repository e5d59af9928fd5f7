"""Writes PyTorch's files (`.pth`, since 1.6) without PyTorch: an OrderedDict of tensors, which `torch.load` reads.

The pickle is written step by step, so nothing but tensors can get into it.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError
from netdsl.weights.torch_values import DTYPES, rows

_STORAGES = {dtype: name for name, dtype in DTYPES.items() if dtype}
_ALIGNMENT = 64
"""Where storages begin in the file, as PyTorch does it, so that they can be mapped."""
_CHUNK = 1 << 24
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Equal arrays give equal bytes: no time is stored. Raises OSError; WeightError for a type PyTorch lacks."""
    for name, array in arrays.items():
        if array.dtype.name not in _STORAGES:
            raise WeightError("E0705", f"`{name}` holds {array.dtype}, which PyTorch's files do not have")
    root = "archive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        _add(archive, f"{root}/data.pkl", pickled(arrays))
        _add(archive, f"{root}/byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            _add(archive, f"{root}/data/{key}", little.reshape(-1).view(np.uint8).data)
        _add(archive, f"{root}/version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    member = zipfile.ZipInfo(name, date_time=_EPOCH)
    large = len(content) >= zipfile.ZIP64_LIMIT // 2
    assert archive.fp is not None
    begin = archive.fp.tell() + 30 + len(name) + (20 if large else 0)
    gap = -(begin + 4) % _ALIGNMENT
    member.extra = struct.pack("<2sH", b"FB", gap) + b"Z" * gap
    member.file_size = len(content)
    with archive.open(member, "w", force_zip64=large) as file:
        for start in range(0, len(content), _CHUNK):
            file.write(content[start : start + _CHUNK])


def pickled(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The pickle (protocol 2) of OrderedDict(name -> tensor), each tensor with a storage of its own."""
    ordered = b"ccollections\nOrderedDict\n)R"
    parts = [b"\x80\x02", ordered, b"("]
    for key, (name, array) in enumerate(arrays.items()):
        storage = f"ctorch\n{_STORAGES[array.dtype.name]}\n".encode()
        parts += [
            _text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            _text("storage"), storage, _text(str(key)), _text("cpu"), _integer(array.size), b"tQ",
            _integer(0), _tuple(array.shape), _tuple(rows(array.shape)), b"\x89", ordered, b"tR",
        ]  # fmt: skip
    return b"".join([*parts, b"u."])


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
    if number < 2**31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x08" + struct.pack("<q", number)


def _tuple(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"
