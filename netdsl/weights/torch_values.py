"""What a pickle of PyTorch may build: tensors, which are views of storages, and what surrounds them.

A storage is a run of numbers in the file; a tensor is a place in it with a shape and strides. Two tensors may share a
storage, overlap, be transposed, or repeat one number (stride 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.weights.pickle_machine import Constructor, Global, Inert, PickleError
from netdsl.weights.stored import item_bytes

MAX_RANK = 32
"""Most axes of a tensor."""

DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8", "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32", "UntypedStorage": "",
}  # fmt: skip
"""PyTorch's classes of storages -> NumPy's names of types; an untyped storage is bytes."""

_TYPES = (
    "float64", "double", "float32", "float", "float16", "half", "bfloat16", "int64", "long", "int32", "int", "int16",
    "short", "int8", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip
_ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
}
_EIGHT_BITS = ("float8", "qint8", "quint8")


class Storage(NamedTuple):
    """A run of `length` numbers of a type, under a key of the file; `first` of them are skipped."""

    key: str
    dtype: str
    length: int
    first: int = 0


class Tensor(NamedTuple):
    """A view of a storage: `shape` and, in numbers, the first place and the stride of each axis."""

    storage: Storage
    dtype: str
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, content: NDArray[np.uint8], big_endian: bool = False) -> NDArray[Any]:
        """The view of the bytes of its storage, not copied. Raises PickleError where it reaches out of them."""
        order: Literal[">", "<"] = ">" if big_endian else "<"
        kind = np.dtype("u2" if self.dtype == "bfloat16" else self.dtype).newbyteorder(order)
        values = content[: len(content) // kind.itemsize * kind.itemsize].view(kind)[self.storage.first :]
        last = self.first + sum((extent - 1) * stride for extent, stride in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape:
            return np.zeros(self.shape, kind)
        if last >= len(values):
            raise PickleError(f"it reaches to number {last:_} of a storage of {len(values):_}")
        if self.strides == rows(self.shape):
            return values[self.first : last + 1].reshape(self.shape)
        steps = [stride * kind.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.first :], self.shape, steps, writeable=False)


def rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in numbers, of an array whose last axis runs fastest."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


class Unreadable(NamedTuple):
    """A tensor of a sort that netdsl does not read."""

    sort: str


def width(dtype: str) -> int | None:
    """Bytes of one number; None for a type without values that can be read."""
    return 1 if dtype.startswith(_EIGHT_BITS) else 4 if dtype == "qint32" else item_bytes(dtype)


def storage(id: Any) -> Storage:
    """The storage that a persistent id stands for: ('storage', class, key, device, count[, view]).

    The device does not matter: what was trained on a GPU is read like everything else.
    """
    if not isinstance(id, tuple) or len(id) not in (5, 6) or id[0] != "storage" or not isinstance(id[1], Global):
        raise PickleError("a reference to something that is no storage")
    kind = id[1].name.rpartition(".")[2]
    key, count = id[2], id[4]
    if kind not in DTYPES or not isinstance(key, str | int) or not _is_count(count):
        raise PickleError("a storage that cannot be right")
    whole = Storage(str(key), DTYPES[kind], count)
    if len(id) == 5 or id[5] is None:
        return whole
    part = id[5]
    if not isinstance(part, tuple) or len(part) != 3 or not _is_count(part[1]) or not _is_count(part[2]):
        raise PickleError("a part of a storage that cannot be right")
    return whole._replace(first=part[1])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _tensor(source: Any, first: Any, shape: Any, strides: Any, *_: Any, dtype: str | None = None) -> Tensor:
    if not isinstance(source, Storage) or not _is_count(first):
        raise PickleError("a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides):
        raise PickleError("a tensor whose shape and strides do not go together")
    if len(shape) > MAX_RANK or not all(map(_is_count, (*shape, *strides, prod(shape)))):
        raise PickleError("a tensor whose shape or strides cannot be right")
    return Tensor(source, source.dtype if dtype is None else dtype, first, shape, strides)


def _tensor_of_type(
    source: Any, first: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    if not isinstance(dtype, Global):
        raise PickleError("a tensor whose type is no type")
    name = dtype.name.removeprefix("torch.")
    return _tensor(source, first, shape, strides, dtype=_ALIASES.get(name, name))


def _parameter(data: Any, *_: Any) -> Any:
    if not isinstance(data, Tensor | Unreadable):
        raise PickleError("a parameter that is no tensor")
    return data


def _ordered(items: Any = (), *_: Any) -> dict[Any, Any]:
    if isinstance(items, dict):
        return dict(items)
    if not isinstance(items, list | tuple) or not all(
        isinstance(item, list | tuple) and len(item) == 2 for item in items
    ):
        raise PickleError("an OrderedDict of what are no pairs")
    if not all(isinstance(key, str | int) for key, _ in items):
        raise PickleError("a key that is neither a number nor text")
    return dict(items)


def _defaults(*_: Any) -> dict[Any, Any]:
    return {}


def _size(extents: Any = (), *_: Any) -> tuple[Any, ...]:
    return tuple(extents) if isinstance(extents, list | tuple) else ()


def _of_type(maker: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor with attributes of its own, which are not kept."""
    if not isinstance(maker, Global) or not isinstance(arguments, tuple):
        raise PickleError("a tensor of what cannot make one")
    constructor = TENSORS.get(maker.name)
    if constructor is None:
        raise PickleError("a tensor of what cannot make one")
    return constructor(*arguments)


def _unreadable(sort: str) -> Constructor:
    return lambda *_: Unreadable(sort)


def _inert(name: str) -> Constructor:
    return lambda *_: Inert(name)


TENSORS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_qtensor": _unreadable("quantized"),
    "torch._utils._rebuild_sparse_tensor": _unreadable("sparse"),
    "torch._utils._rebuild_sparse_csr_tensor": _unreadable("sparse"),
    "torch._utils._rebuild_nested_tensor": _unreadable("nested"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unreadable("without values (on the device `meta`)"),
    "torch._utils._rebuild_device_tensor_from_numpy": _unreadable("of a device with a format of its own"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _parameter,
}

# Training scripts put these beside the weights: options, counters, dates of NumPy. Nothing of them is kept.
_BESIDE = (
    "argparse.Namespace", "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "_codecs.encode", "torch.device", "torch.serialization._get_layout", "builtins.set", "__builtin__.set",
    "builtins.frozenset", "__builtin__.frozenset", "builtins.bytearray", "__builtin__.bytearray", "builtins.complex",
    "__builtin__.complex", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath", "torch.Generator", "datetime.datetime", "datetime.timedelta", "datetime.date",
)  # fmt: skip

_MENTIONED = (
    "torch.Tensor", "torch._tensor.Tensor", "torch.tensor.Tensor", "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer", "torch.nn.Parameter", "builtins.list", "builtins.dict", "builtins.int",
    "builtins.float", "builtins.str", "torch.per_tensor_affine", "torch.per_channel_affine", "torch.strided",
    "torch.sparse_coo",
)  # fmt: skip

CONSTRUCTORS: Mapping[str, Constructor | None] = {
    **TENSORS,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _defaults,
    "collections.Counter": _ordered,
    "torch.Size": _size,
    **{name: _inert(name) for name in _BESIDE},
    # Mentioned as types, and never called.
    **{f"torch.{name}": None for name in (*DTYPES, *_TYPES)},
    **{f"torch.storage.{name}": None for name in ("UntypedStorage", "_UntypedStorage", "TypedStorage")},
    **{f"torch.cuda.{name}": None for name in DTYPES},
    **dict.fromkeys(_MENTIONED),
}  # fmt: skip
"""Everything that a pickle of weights may name. Nothing behind these names is imported."""
