"""Checks what a network is fed: names, shapes, kinds of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.backends.errors import RunError
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.language.diagnostics import did_you_mean


def checked_inputs(
    network: Network, x: object, dtype: str, convert: Callable[[Any], Any] = np.asarray
) -> dict[str, NDArray[Any]]:
    """The arrays by input name, of type `dtype`, each of shape (N, *type.shape) with the same N.

    `x` is one array, or a mapping from input names to arrays. Floats of other widths are converted. `convert` makes
    arrays of things; one that it leaves on a device stays there, and of its type. Raises RunError.
    """
    types = network.input_types()
    given: Mapping[str, object]
    if isinstance(x, Mapping):
        given = x
    elif len(types) == 1:
        given = {next(iter(types)): x}
    else:
        raise RunError(
            "E0712",
            f"{network.name} has {len(types)} inputs and was given one array",
            f"pass a mapping: {{{', '.join(f'{name!r}: ...' for name in types)}}}",
        )
    _check_names(given, types)
    arrays = {name: _checked(network, name, type_, given[name], dtype, convert) for name, type_ in types.items()}
    batches = {name: len(array) for name, array in arrays.items()}
    if len(set(batches.values())) > 1:
        raise RunError("E0712", f"the inputs differ in the number of images: {_pairs(batches)}")
    return arrays


def _check_names(given: Mapping[str, object], types: Mapping[str, TensorType]) -> None:
    for name in given:
        if name not in types:
            raise RunError(
                "E0712", f"there is no input `{name}`", did_you_mean(str(name), types) or f"there is {_pairs(types)}"
            )
    missing = [name for name in types if name not in given]
    if missing:
        raise RunError("E0712", f"no array for the input `{missing[0]}` of shape {_wanted(types[missing[0]])}")


def _checked(
    network: Network, name: str, type_: TensorType, x: object, dtype: str, convert: Callable[[Any], Any]
) -> NDArray[Any]:
    try:
        array = convert(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RunError("E0712", f"the input `{name}` is not an array: {error}") from None
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise RunError(
            "E0712",
            f"the input `{name}` holds {array.dtype}, {network.name} computes with {dtype}",
            f"x.astype('{dtype}'), and / 255 where it is an image of bytes" if array.dtype.kind in "iub" else None,
        )
    if not _fits(array.shape[1:], type_) or array.ndim != type_.rank + 1:
        raise RunError(
            "E0712",
            f"the input `{name}` has shape {_spelled(array.shape)}, {network.name} wants {_wanted(type_)}",
            _hint(array.shape, type_),
        )
    if 0 in array.shape:
        raise RunError("E0712", f"the input `{name}` is empty: its shape is {_spelled(array.shape)}")
    found: NDArray[Any] = np.asarray(array, dtype=dtype) if type(array) is np.ndarray else array
    return found


def _fits(shape: tuple[int, ...], type_: TensorType) -> bool:
    return len(shape) == type_.rank and all(
        wanted in (None, found) for found, wanted in zip(shape, type_.shape, strict=True)
    )


def _hint(shape: tuple[int, ...], type_: TensorType) -> str | None:
    """What was probably meant by an array that does not fit."""
    if _fits(shape, type_):
        return "the batch axis is missing: x[None] is a batch of one"
    if type_.rank != 3:
        return None
    if len(shape) == 4 and _fits((shape[3], shape[1], shape[2]), type_):
        return "the channels come last: x.transpose(0, 3, 1, 2) puts them first"
    if len(shape) == 3 and _fits((shape[2], shape[0], shape[1]), type_):
        return "the channels come last and the batch axis is missing: x.transpose(2, 0, 1)[None]"
    if len(shape) == 2 and _fits((1, *shape), type_):
        return "the batch and channel axes are missing: x[None, None]"
    if len(shape) == 3 and type_.channels == 1 and _fits((1, *shape[1:]), type_):
        return "the channel axis is missing: x[:, None]"
    if len(shape) == 4 and shape[1] == type_.channels:
        return f'the network was compiled for this size; another: shape = "{"x".join(map(str, shape[1:]))}"'
    return None


def _wanted(type_: TensorType) -> str:
    """The shape of a batch, as a person writes it: (N, 3, 224, 224)."""
    return f"({', '.join(['N', *('?' if extent is None else str(extent) for extent in type_.shape)])})"


def _spelled(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`: {value}" for name, value in values.items())
