"""PyTorch's files (`.pth`, `.pt`), read without PyTorch and without running what is in them.

Three forms have been written. Since 1.6: a zip file with a pickle (`data.pkl`), which says what the tensors are, and a
file for each storage (`data/0`, ...). Before: five pickles in a row (a magic number, a version, the byte order of the
writer, the object, the keys of the storages), then each storage with its length in front. Before 0.1.10: a tar file,
which is not read.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.errors import WeightError
from netdsl.weights.mapping import mapped, view
from netdsl.weights.pickle_machine import ForbiddenError, PickleError, Program, TooLongError, run
from netdsl.weights.state_dict import found_in
from netdsl.weights.stored import Archive, Limits, Stored, shown, too_large, widened
from netdsl.weights.torch_values import CONSTRUCTORS, Storage, Tensor, Unreadable, storage, width
from netdsl.weights.torch_writer import write
from netdsl.weights.zip_directory import DAMAGED, Member, members

__all__ = ["FORMAT", "open_archive", "write"]

FORMAT = "PyTorch"
MAGIC = 0x1950A86A20F9469CFC6C
"""The first of the five pickles of the old form."""
VERSION = 1001
"""The second."""

FILES_BESIDE = 20
"""How many files a zip file of PyTorch may hold beside its storages."""

_BYTE = np.dtype(np.uint8)


class Contents(NamedTuple):
    """What the pickle has built, and the bytes of the storages."""

    value: Any
    storages: Mapping[str, Member]
    big_endian: bool
    form: str


def open_archive(path: Path, limits: Limits) -> Archive:
    """The tensors of a file by name. Raises WeightError and OSError."""
    data = mapped(path)
    try:
        contents = (_zip if data[:2] == b"PK" else _pickles)(data, path, limits)
    except ForbiddenError as error:
        raise _forbidden(path, error.name) from None
    except TooLongError as error:
        name = "pickle_bytes" if error.what == "bytes" else "pickle_steps"
        raise too_large(f"the pickle in {path} is too long", error.limit + 1, error.limit, name, error.what) from None
    except DAMAGED as error:
        raise _damaged(path, str(error)) from None
    tensors, where = found_in(contents.value, path)
    arrays = {name: _stored(name, tensor, contents, path) for name, tensor in tensors.items()}
    if len(arrays) > limits.tensors:
        raise too_large(f"{path} holds too many arrays", len(arrays), limits.tensors, "tensors", "arrays")
    total = sum(array.bytes or array.size for array in arrays.values())
    if total > limits.bytes:
        raise too_large(f"{path} holds too much", total, limits.bytes, "bytes")
    return Archive(f"{FORMAT} ({contents.form})", arrays, where)


def _program(limits: Limits) -> Program:
    return Program(CONSTRUCTORS, storage, limits.pickle_bytes, limits.pickle_steps)


def _zip(data: mmap.mmap | bytes, path: Path, limits: Limits) -> Contents:
    files = replace(limits, tensors=limits.tensors + FILES_BESIDE)
    found = members(data, str(path), files, zero_is_unchecked=True)
    roots = [name.removesuffix("data.pkl") for name in found if name.count("/") == 1 and name.endswith("/data.pkl")]
    if not roots:
        kind = "a NumPy archive" if any(name.endswith(".npy") for name in found) else "a zip file of something else"
        raise PickleError(f"it is {kind}: there is no `data.pkl` in it")
    root = roots[0]
    if f"{root}constants.pkl" in found:
        raise WeightError(
            "E0702",
            f"{path} is a TorchScript program, which holds code beside its weights",
            "where you trust it: torch.save(torch.jit.load(PATH).state_dict(), 'weights.pth')",
        )
    member = found[f"{root}data.pkl"]
    if member.size > limits.pickle_bytes:
        raise TooLongError("bytes", limits.pickle_bytes)
    order = found.get(f"{root}byteorder")
    value, _ = run(member.content().tobytes(), 0, _program(limits))
    big = order is not None and order.start(8).strip() == b"big"
    inside = f"{root}data/"
    storages = {
        # Tensors may share a storage: its check sum is computed once.
        name.removeprefix(inside): entry._replace(content=cache(entry.content))
        for name, entry in found.items()
        if name.startswith(inside)
    }
    return Contents(value, storages, big, "zip")


def _pickles(data: mmap.mmap | bytes, path: Path, limits: Limits) -> Contents:
    """The form before 1.6. Its storages are little-endian, whatever the writer was."""
    if len(data) > 262 and data[257:262] == b"ustar":
        raise WeightError(
            "E0702",
            f"{path} was written by a PyTorch before 0.1.10 (2017), as a tar file, which netdsl does not read",
            "where you trust it: torch.save(torch.load(PATH), 'weights.pth')",
        )
    program = _program(limits)
    if data[:1] not in (b"\x80", b"L"):
        raise PickleError("it is neither a zip file nor a pickle")
    magic, place = run(data, 0, program)
    if magic != MAGIC:
        raise PickleError("it is a pickle, and not one that PyTorch wrote")
    version, place = run(data, place, program)
    if version != VERSION:
        raise PickleError("it is of a version that does not exist")
    _, place = run(data, place, program)
    claimed: dict[str, Storage] = {}

    def claim(id: Any) -> Storage:
        found = storage(id)
        if claimed.setdefault(found.key, found).dtype != found.dtype:
            raise PickleError("a storage of two types")
        return found

    value, place = run(data, place, program._replace(persistent=claim))
    keys, place = run(data, place, program)
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise PickleError("the keys of its storages cannot be read")
    return Contents(value, _storages(data, place, [str(key) for key in keys], claimed), False, "before 1.6")


def _storages(
    data: mmap.mmap | bytes, place: int, keys: list[str], claimed: Mapping[str, Storage]
) -> dict[str, Member]:
    """The storages one after the other, each behind the number of its elements."""
    found: dict[str, Member] = {}
    for key in keys:
        if key not in claimed or key in found:
            raise PickleError("a storage that no tensor has")
        count = int.from_bytes(data[place : place + 8], "little")
        size = count * (width(claimed[key].dtype) or 1)
        place += 8
        if place + size > len(data):
            raise PickleError(f"it ends within a storage of {size:_} bytes")
        start = partial(_start, data, place)
        found[key] = Member(key, size, partial(view, data, _BYTE, place, size), start)
        place += size
    return found


def _start(data: mmap.mmap | bytes, place: int, count: int) -> bytes:
    return data[place : place + count]


def _stored(name: str, tensor: Tensor | Unreadable, contents: Contents, path: Path) -> Stored:
    if isinstance(tensor, Unreadable):
        return Stored((), tensor.sort, partial(_refuse, path, name, f"is {tensor.sort}"))
    if tensor.storage.key not in contents.storages:
        raise _damaged(path, f"the values of `{shown(name)}` are missing")
    member = contents.storages[tensor.storage.key]
    per_number = width(tensor.storage.dtype or "uint8")
    if per_number is None or tensor.storage.length * per_number > member.size:
        raise _damaged(
            path,
            f"the storage of `{shown(name)}` claims {tensor.storage.length:_} numbers and has {member.size:_} bytes",
        )
    return Stored(tensor.shape, tensor.dtype, partial(_read, name, tensor, member, contents.big_endian, path))


def _read(name: str, tensor: Tensor, member: Member, big_endian: bool, path: Path) -> NDArray[Any]:
    if tensor.dtype != "bfloat16" and not _known(tensor.dtype):
        return _refuse(path, name, f"has type {tensor.dtype}")
    try:
        values = tensor.array(member.content(), big_endian)
    except DAMAGED as error:
        raise _damaged(path, f"`{shown(name)}`: {error}") from None
    return widened(values) if tensor.dtype == "bfloat16" else values


def _known(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "fiubc"
    except TypeError:
        return False


def _refuse(path: Path, name: str, why: str) -> NDArray[Any]:
    raise WeightError("E0705", f"{path}: `{shown(name)}` {why}, which netdsl does not read")


def _forbidden(path: Path, name: str) -> WeightError:
    return WeightError(
        "E0710",
        f"{path} asks for `{shown(name)}`, which is no part of a tensor; nothing of it was run",
        "a file of weights needs tensors only. If it holds a whole model that you trust: load it where it was made, "
        "and torch.save(model.state_dict(), 'weights.pth'). If you do not know where it comes from, do not load it",
    )


def _damaged(path: Path, reason: str) -> WeightError:
    return WeightError("E0703", f"{path} is damaged or no PyTorch file: {reason}", "fetch or write the file again")
