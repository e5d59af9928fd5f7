"""Arrays of a device that is played: NumPy's, where CuPy's rules hold.

What belongs to the device never meets an array of the host by itself, every computation is a launch, reading a number
waits for all of them, and what is captured is not computed before the graph is launched. A test that passes here has
used no more than CuPy can do.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.backends.cupy.errors import CannotCaptureError

CAPTURED = frozenset({"matmul", "dot", "einsum", "tensordot", "vdot", "inner"})
"""What CuPy computes by cuBLAS, and refuses while a stream is captured."""

_NAMES = """
    abs add all amax amin any arange argmax asarray ascontiguousarray broadcast_to ceil clip concatenate copysign copyto
    cos divide dot einsum empty empty_like equal exp expand_dims expm1 eye flip floor full full_like greater
    greater_equal hypot isfinite isinf isnan less less_equal log log1p logical_and logical_not logical_or max maximum
    mean min minimum moveaxis multiply negative not_equal ones ones_like pad power prod reciprocal repeat reshape rint
    round sign sin sqrt square squeeze stack std subtract sum swapaxes take tanh tensordot tile transpose true_divide
    var where zeros zeros_like matmul
"""
_CONSTANTS = """
    float16 float32 float64 int8 int32 int64 uint8 uint64 bool_ inf pi newaxis dtype ndarray finfo
"""
NAMES, CONSTANTS = frozenset(_NAMES.split()), frozenset(_CONSTANTS.split())
"""What NumPy and CuPy 14 both have, with the arguments that are used here."""
MAKERS = frozenset({"asarray", "ascontiguousarray", "arange", "empty", "eye", "full", "ones", "zeros"})
"""What makes an array of things of the host."""


class DeviceArray(np.ndarray[Any, Any]):
    """An array of a played device. Operators and methods launch; it never becomes an array of the host by itself."""

    _owner: Recorder

    def __array_finalize__(self, other: Any) -> None:
        owner = getattr(other, "_owner", None)
        if owner is not None:
            self._owner = owner

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        return self._owner.call(name, getattr(ufunc, method), inputs, options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} of an array of the device: take it from `xp`")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._owner.indexed(key)
        self._owner.call("copy", _set, (self, key, value), {}, writes=self)

    def __getitem__(self, key: Any) -> Any:
        self._owner.indexed(key)
        return self._owner.call("take", _get, (self, key), {})

    def astype(self, dtype: Any, order: Any = "K", *ignored: Any, copy: bool = True) -> Any:  # type: ignore[override]
        if not copy and self.dtype == dtype:
            return self
        return self._owner.call("astype", lambda x: x.astype(dtype, order=order), (self,), {})

    def copy(self, order: Any = "C") -> Any:
        return self._owner.call("copy", lambda x: x.copy(order=order), (self,), {})

    def fill(self, value: Any) -> None:
        self._owner.call("fill", lambda x, number: x.fill(number), (self, value), {}, writes=self)

    def reshape(self, *shape: Any, order: Any = "C") -> Any:  # type: ignore[override]
        return self._owner.call("reshape", lambda x: x.reshape(*shape, order=order), (self,), {})

    def item(self, *index: Any) -> Any:
        self._owner.wait()
        return plain(self).item(*index)

    def tolist(self) -> Any:
        self._owner.wait()
        return plain(self).tolist()

    def get(self) -> Any:
        """CuPy's copy to the host."""
        self._owner.wait()
        return plain(self).copy()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __dlpack__(self, **options: Any) -> Any:
        self._owner.wait()
        return plain(self).__dlpack__()

    def __dlpack_device__(self) -> Any:
        return (2, self._owner.number)


def _method(name: str) -> Any:
    def call(self: DeviceArray, *inputs: Any, **options: Any) -> Any:
        return self._owner.call(name, getattr(np.ndarray, name), (self, *inputs), options)

    return call


# Methods that are no functions of each element, nor views: NumPy would compute them behind our back.
for _name in ("argmax", "argmin", "cumsum", "dot", "flatten", "ravel", "repeat", "sort", "take"):
    setattr(DeviceArray, _name, _method(_name))


def _set(array: Any, key: Any, value: Any) -> None:
    array[key] = value


def _get(array: Any, key: Any) -> Any:
    return array[key]


def plain(value: Any) -> Any:
    """What lies behind arrays of the device, in tuples and lists too."""
    if isinstance(value, DeviceArray):
        return value.view(np.ndarray)
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    return value


class Recorder:
    """What is launched on a played device, and who may touch what."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.launches: list[str] = []
        """The names of what has been launched, in order."""
        self.waits = 0
        """How often the host waited for the device."""
        self.capturing: list[tuple[str, Callable[[], None]]] | None = None
        self.used = 0
        """Bytes in arrays of the device."""

    def check(self) -> None:
        """Raises where the device cannot work."""

    def charge(self, size: int) -> None:
        """Takes memory. May raise DeviceMemoryError."""
        self.used += size

    def _release(self, size: int) -> None:
        self.used -= size

    def wait(self) -> None:
        """The host reads a number."""
        self.check()
        if self.capturing is not None:
            raise CannotCaptureError("a number is read while launches are captured")
        self.waits += 1

    def indexed(self, key: Any) -> None:
        """A list of numbers is an array of the host, which is copied before it can be an index."""
        if self.capturing is not None and any(isinstance(each, list) for each in (*_tuple(key), key)):
            raise CannotCaptureError("a list of places is copied while launches are captured")

    def adopt(self, array: Any) -> DeviceArray:
        """An array of NumPy as one of the device. It takes memory as long as its numbers live, unless it is a view."""
        array = np.asarray(array)
        if array.base is None:
            self.charge(array.nbytes)
            weakref.finalize(array, self._release, array.nbytes)
        return self.view_of(array)

    def view_of(self, array: Any) -> DeviceArray:
        """The same memory as an array of the device."""
        found: DeviceArray = array.view(DeviceArray)
        found._owner = self
        return found

    def call(self, name: str, function: Any, inputs: Any, options: Any, writes: Any = None) -> Any:
        """Computes, or notes what is to be computed."""
        self.check()
        _only_of_device(name, (inputs, tuple(options.values())))
        arguments, named = plain(tuple(inputs)), {key: plain(value) for key, value in options.items()}
        out = named.get("out")
        target = plain(writes) if writes is not None else (out[0] if isinstance(out, tuple) else out)
        if self.capturing is not None and name.partition(".")[0] in CAPTURED:
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        if self.capturing is not None and target is not None:
            self.capturing.append((name, lambda: function(*arguments, **named)))
            return writes if writes is not None else _first(options["out"])
        result = function(*arguments, **named)
        if target is not None:
            self.launches.append(name)
            return writes if writes is not None else _first(options["out"])
        if not isinstance(result, np.ndarray | np.generic):
            return result
        found = np.asarray(result)
        if any(isinstance(each, np.ndarray) and np.may_share_memory(found, each) for each in _arrays(arguments)):
            return self.adopt(found)
        if self.capturing is None:
            self.launches.append(name)
        else:
            self.capturing.append((name, lambda: np.copyto(found, function(*arguments, **named))))
            # Nothing has been computed yet: who uses these numbers sees it.
            found.fill(np.nan if found.dtype.kind not in "iub" else 0)
        return self.adopt(found)


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def _arrays(value: Any) -> list[Any]:
    found: list[Any] = []
    for each in value:
        found += _arrays(each) if isinstance(each, tuple | list) else [each]
    return found


def _only_of_device(name: str, values: Any) -> None:
    for value in _arrays(values):
        if isinstance(value, np.ndarray) and not isinstance(value, DeviceArray):
            raise TypeError(f"Unsupported type {type(value)} in {name}: an array of the host on the device")


class Library:
    """What stands for the module cupy: functions of NumPy that CuPy has too, on arrays of a played device."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.lib = self
        self.stride_tricks = self

    def __getattr__(self, name: str) -> Any:
        if name in CONSTANTS:
            return getattr(np, name)
        if name not in NAMES:
            raise AttributeError(f"cupy has no `{name}` that this package relies on")
        function = getattr(np, name)

        def call(*inputs: Any, **options: Any) -> Any:
            if name in MAKERS and not any(isinstance(each, DeviceArray) for each in inputs):
                return self._made(name, function(*inputs, **options))
            if name == "copyto":
                return self._recorder.call(name, function, inputs, options, writes=inputs[0])
            return self._recorder.call(name, function, inputs, options)

        call.__name__ = name
        return call

    def _made(self, name: str, array: Any) -> Any:
        """An array that is made of nothing, or of one of the host: that is copied."""
        recorder = self._recorder
        recorder.check()
        if recorder.capturing is not None:
            if name in ("asarray", "ascontiguousarray"):
                raise CannotCaptureError("an array of the host is copied while launches are captured")
            kept = array.copy()
            recorder.capturing.append((name, lambda: np.copyto(array, kept)))
        else:
            recorder.launches.append(name)
        return recorder.adopt(array.copy() if array.base is not None or name.startswith("as") else array)

    def as_strided(self, x: Any, shape: Any = None, strides: Any = None) -> Any:
        found = np.lib.stride_tricks.as_strided(plain(x), shape, strides)
        return self._recorder.view_of(found)

    def sliding_window_view(self, x: Any, window_shape: Any, axis: Any = None) -> Any:
        return self._recorder.view_of(np.lib.stride_tricks.sliding_window_view(plain(x), window_shape, axis=axis))

    def from_dlpack(self, value: Any) -> Any:
        """An array of another library on the same device, without a copy."""
        if isinstance(value, DeviceArray):
            return value
        return self._recorder.view_of(np.from_dlpack(value))
