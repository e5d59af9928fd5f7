"""NumPy archives (`.npz`): a zip file with one `.npy` file for each array.

The headers are read first and checked against the sizes that the zip directory states, so nothing is unpacked on the
word of a header alone. Pickled objects are never loaded.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError
from netdsl.weights.stored import Limits, Stored, too_large

MAX_NPY_HEADER_BYTES = 10_000
"""Longest header of one array: it is Python text that NumPy has to parse."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError)


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[dict[str, Stored]]:
    """The arrays of an archive by name; they can be read while the block lasts. Raises WeightError."""
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise _damaged(path, f"it is not a zip file ({error})") from None
    with archive:
        yield _index(archive, path, limits)


def _index(archive: zipfile.ZipFile, path: Path, limits: Limits) -> dict[str, Stored]:
    members = archive.infolist()
    if len(members) > limits.tensors:
        raise too_large(f"{path} holds too many arrays", len(members), limits.tensors, "tensors", "arrays")
    total = sum(member.file_size for member in members)
    if total > limits.bytes:
        raise too_large(f"{path} unpacks to too much", total, limits.bytes, "bytes")
    stored: dict[str, Stored] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            raise _damaged(path, f"it holds `{name}`, which is not a .npy array")
        if name in stored:
            raise _damaged(path, f"it holds `{name}` twice")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _damaged(path, f"`{name}` is packed by a method that NumPy does not write")
        stored[name] = _entry(archive, member, name, path)
    return stored


def _entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, path: Path) -> Stored:
    try:
        with archive.open(member) as file:
            shape, dtype = read_header(file)
            expected = file.tell() + _product(shape) * dtype.itemsize
    except _DAMAGED as error:
        raise _damaged(path, f"`{name}`: {error}") from None
    if dtype.hasobject or dtype.names is not None:
        raise WeightError(
            "E0705",
            f"{path}: `{name}` holds Python objects, which netdsl does not unpickle",
            "save plain arrays of numbers: numpy.savez(path, **{name: array})",
        )
    if expected != member.file_size:
        raise _damaged(
            path, f"`{name}` should take {expected:_} bytes for shape {shape} of {dtype}, it has {member.file_size:_}"
        )

    def read() -> NDArray[Any]:
        try:
            with archive.open(member) as file:
                return npy.read_array(file, allow_pickle=False, max_header_size=MAX_NPY_HEADER_BYTES)
        except _DAMAGED as error:
            raise _damaged(path, f"`{name}`: {error}") from None

    return Stored(shape, str(dtype.newbyteorder("=")), read)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that the header of a `.npy` file claims; leaves the file at its first value. Raises ValueError."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is not supported")
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, _, dtype = reader(file, max_header_size=MAX_NPY_HEADER_BYTES)
    except OSError:
        raise
    except Exception as error:  # NumPy evaluates the header as Python text, so nonsense raises errors of many classes
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from None
    if any(extent < 0 for extent in shape):
        raise ValueError(f"negative extent in shape {shape}")
    return shape, dtype


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for extent in shape:
        product *= extent
    return product


def _damaged(path: Path, reason: str) -> WeightError:
    return WeightError("E0703", f"{path} is damaged or no .npz archive: {reason}", "fetch or write the file again")


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an archive that `numpy.load` reads. Equal arrays give equal bytes: no time is stored. Raises OSError."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as file:
                npy.write_array(file, np.asarray(array, order="C"), allow_pickle=False)
