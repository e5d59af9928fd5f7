"""NumPy archives (`.npz`): a zip file with one `.npy` file for each array.

The headers are read first and checked against the sizes that the zip directory states, so nothing is unpacked on the
word of a header alone. Pickled objects are never loaded. Arrays that are not compressed are views of the mapped file.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError
from netdsl.weights.mapping import mapped
from netdsl.weights.stored import Archive, Limits, Stored
from netdsl.weights.zip_directory import DAMAGED, Member, members

MAX_NPY_HEADER_BYTES = 10_000
"""Longest header of one array: it is Python text that NumPy has to parse."""

FORMAT = "NumPy archive"


def open_archive(path: Path, limits: Limits) -> Archive:
    """The arrays of an archive by name. Raises WeightError and OSError."""
    data = mapped(path)
    try:
        found = members(data, str(path), limits)
    except DAMAGED as error:
        raise _damaged(path, f"as a zip file: {error}") from None
    stored: dict[str, Stored] = {}
    for member in found.values():
        name = member.name.removesuffix(".npy")
        if name == member.name:
            raise _damaged(path, f"it holds `{name}`, which is not a .npy array")
        stored[name] = _entry(member, name, path)
    return Archive(FORMAT, stored)


def _entry(member: Member, name: str, path: Path) -> Stored:
    try:
        shape, fortran, dtype, start = read_header(io.BytesIO(member.start(MAX_NPY_HEADER_BYTES + 16)))
    except DAMAGED as error:
        raise _damaged(path, f"`{name}`: {error}") from None
    if dtype.hasobject or dtype.names is not None:
        raise WeightError(
            "E0705",
            f"{path}: `{name}` holds Python objects, which netdsl does not unpickle",
            "save plain arrays of numbers: numpy.savez(path, **{name: array})",
        )
    expected = start + prod(shape) * dtype.itemsize
    if expected != member.size:
        raise _damaged(
            path, f"`{name}` should take {expected:_} bytes for shape {shape} of {dtype}, it has {member.size:_}"
        )
    return Stored(
        shape, str(dtype.newbyteorder("=")), partial(_read, member, name, path, (shape, fortran, dtype, start))
    )


def _read(
    member: Member, name: str, path: Path, header: tuple[tuple[int, ...], bool, np.dtype[Any], int]
) -> NDArray[Any]:
    shape, fortran, dtype, start = header
    try:
        values = member.content()[start:]
    except DAMAGED as error:
        raise _damaged(path, f"`{name}`: {error}") from None
    if 0 in shape or not dtype.itemsize:
        return np.zeros(shape, dtype)
    return values.view(dtype).reshape(shape, order="F" if fortran else "C")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """What the header of a `.npy` file claims: shape, whether the first axis runs fastest, type, and where it ends.

    Raises ValueError.
    """
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is not supported")
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, fortran, dtype = reader(file, max_header_size=MAX_NPY_HEADER_BYTES)
    except OSError:
        raise
    except Exception as error:  # NumPy evaluates the header as Python text, so nonsense raises errors of many classes
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from None
    if any(extent < 0 for extent in shape):
        raise ValueError(f"negative extent in shape {shape}")
    return shape, fortran, dtype, file.tell()


def _damaged(path: Path, reason: str) -> WeightError:
    return WeightError("E0703", f"{path} is damaged or no .npz archive: {reason}", "fetch or write the file again")


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an archive that `numpy.load` reads. Equal arrays give equal bytes: no time is stored. Raises OSError."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as file:
                npy.write_array(file, np.asarray(array, order="C"), allow_pickle=False)
