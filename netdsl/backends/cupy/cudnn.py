"""cuDNN, through NVIDIA's Python front end to its graph API (`nvidia-cudnn-frontend`). No other module knows it.

An operation is a convolution in one of its three directions, with what is done to its sums on their way to memory:

    forward   y  = activation(conv(x, w) + residual + bias)      in this order, for which most engines are ready
    data      dx = transposed conv(dy, w) + plus
    weights   dw = correlation(x, dy)

It becomes a graph of cuDNN; the heuristics of the library name the **plans** (an engine with its settings) that compute
it, the best guess first; one is built and run on addresses in the device's memory. Tensors lie with their channels last
and may have gaps; weights are packed as (K, H, W, C / groups). Products are added up in float32.

What the library was found to have (9.28, asked for sm_90 without a device, as `tests/cupy/test_cudnn_plans.py` does): a
bias of another type than the tensors, relu with a ceiling, or the bias in front of the residual leave few engines or
none; a ceiling by `min` and SiLU are compiled when the plan is built (half a second each); gradients of weights in half
precision are written in half precision.

References: cuDNN documentation, Graph API; nvidia-cudnn-frontend 1.18.
"""

from __future__ import annotations

import glob
import importlib
import logging
import os
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

LEAST_VERSION = 90_000
"""cuDNN 9.0: the first whose libraries the front end loads."""
TYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
X, W, Y, RESIDUAL, BIAS, CONSTANT = 1, 2, 3, 4, 5, 16
"""The numbers by which tensors of a graph are known: operands, the result, and from CONSTANT on numbers of the host."""
MAPS = "/proc/self/maps"
"""Where Linux says which libraries a process has loaded."""

Pair = tuple[int, int]


class CudnnError(ValueError):
    """cuDNN is not there, or has no plan for an operation; one line."""


@dataclass(frozen=True)
class Place:
    """A tensor (N, H, W, C) in memory; strides in numbers, that of the channels is 1."""

    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]

    @classmethod
    def dense(cls, n: int, h: int, w: int, c: int) -> Place:
        return cls((n, h, w, c), (h * w * c, w * c, c, 1))

    @property
    def dims(self) -> list[int]:
        """As cuDNN counts: (N, C, H, W)."""
        n, h, w, c = self.shape
        return [n, c, h, w]

    @property
    def steps(self) -> list[int]:
        n, h, w, c = self.strides
        return [n, c, h, w]


@dataclass(frozen=True)
class Operation:
    """A convolution in one direction. `a` and `out` are what it reads beside the weights and what it writes: x and y
    forward, dy and dx for the data; for the weights `a` is x, `b` is dy, and `out` the packed weights."""

    way: Literal["forward", "data", "weights"]
    a: Place
    filter: tuple[int, int, int, int]
    """(K, H, W, C / groups)"""
    out: Place
    b: Place | None = None
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    before: Pair = (0, 0)
    after: Pair = (0, 0)
    storage: str = "float32"
    tf32: bool = False
    bias: bool = False
    residual: Place | None = None
    """Forward: added to the sums; data: the gradient that is there already."""
    activation: tuple[str | float, ...] = ()
    """Its kind, and what it is given."""

    @property
    def name(self) -> str:
        """For people: `conv+residual+bias+relu`."""
        first = {"forward": "conv", "data": "dx", "weights": "dw"}[self.way]
        parts = [
            first,
            "residual" if self.residual else "",
            "bias" if self.bias else "",
            *map(str, self.activation[:1]),
        ]
        return "+".join(part for part in parts if part)


# ------------------------------------------------------------------------------------------------------ the library


def library_folders(maps: str) -> set[str]:
    """The folders from which a process has loaded libcudnn, as /proc/self/maps tells it."""
    paths = (line.split(maxsplit=5)[-1].strip() for line in maps.splitlines() if "libcudnn" in line)
    return {str(Path(path).parent) for path in paths if path.startswith("/")}


def _loaded() -> set[str]:
    try:
        return library_folders(Path(MAPS).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return set()


def own_folder() -> str | None:
    """The folder of the wheel that the front end would take cuDNN from."""
    pattern = os.path.join(sysconfig.get_path("purelib"), "nvidia", "cudnn", "lib", "libcudnn.so.*[0-9]")  # noqa: PTH118
    found = glob.glob(pattern)  # noqa: PTH207
    return os.path.realpath(Path(found[0]).parent) if found else None


def clash(loaded: Iterable[str], own: str | None) -> str | None:
    """Why the cuDNN that is loaded already and the one of the front end cannot live in one process."""
    folders = {os.path.realpath(folder) for folder in loaded} | ({own} if own else set())
    if len(folders) < 2:
        return None
    return f"two libcudnn would be in one process: {' and '.join(sorted(folders))}; load one, or keep torch out"


@cache
def load() -> Any:
    """The module `cudnn`. Raises CudnnError where it is not there, too old, or would be the second of its kind."""
    reason = clash(_loaded(), own_folder())
    if reason is not None:
        raise CudnnError(reason)
    try:
        found = importlib.import_module("cudnn")
        version = int(found.backend_version())
    except ImportError:
        raise CudnnError("nvidia-cudnn-frontend is not installed: pip install 'netdsl[cuda13]'") from None
    except Exception as error:  # the front end raises whatever the loader does
        raise CudnnError(f"cuDNN cannot be loaded: {_line(error)}") from None
    if version < LEAST_VERSION:
        raise CudnnError(f"cuDNN {found.backend_version_string()} is too old: 9 or later is needed")
    reason = clash(_loaded(), None)
    if reason is not None:
        raise CudnnError(reason)
    return found


def missing() -> str | None:
    """Why cuDNN cannot be used here, in one line; None where it can."""
    try:
        load()
    except CudnnError as error:
        return str(error)
    return None


def version() -> str:
    """`cudnn 9.28.0`. Raises CudnnError."""
    return f"cudnn {load().backend_version_string()}"


def _line(error: BaseException) -> str:
    """The first line of an error that says something."""
    text = str(error).split("Reason:")[-1].strip()
    return (text.splitlines() or [type(error).__name__])[0][:200]


# -------------------------------------------------------------------------------------------------------------- plans


@dataclass(frozen=True)
class Target:
    """What plans are for: the handle of a device, or a description of one that is not there."""

    handle: int | None = None
    properties: Any = None

    def graph(self, cudnn: Any, storage: str) -> Any:
        kind = getattr(cudnn.data_type, TYPES[storage])
        wide = cudnn.data_type.FLOAT
        where = {"handle": self.handle} if self.properties is None else {"device_property": self.properties}
        return cudnn.pygraph(io_data_type=kind, intermediate_data_type=wide, compute_data_type=wide, **where)


def described(text: str) -> Target:
    """A device that is not there, from the description that `describe` gave of it. Plans can be asked for, and those
    that are not compiled be built. Raises CudnnError."""
    try:
        return Target(properties=load().create_device_properties(text))
    except RuntimeError as error:
        raise CudnnError(f"no description of a device: {_line(error)}") from None


def describe(number: int) -> str:
    """The description of a device (JSON), as `described` reads it."""
    return str(load().create_device_properties(number).serialize())


@dataclass
class Plan:
    """A plan that has been built. Runs on addresses; the same ones give the same launches, so it may be captured."""

    operation: Operation
    name: str
    workspace: int
    """Bytes of scratch memory, at a multiple of 256."""
    graph: Any
    constants: Mapping[int, Any]

    def __call__(self, handle: int, stream: int, addresses: Mapping[int, int], workspace: int) -> None:
        """Queues it on `stream`. `addresses` of X, W, Y, RESIDUAL, BIAS, as far as the operation has them."""
        cudnn = load()
        cudnn.set_stream(handle=handle, stream=stream)
        pointers = dict(addresses)
        for number, value in self.constants.items():
            pointers[number] = int(value.ctypes.data)
        self.graph.execute(pointers, workspace, handle=handle)

    def serialized(self) -> bytes:
        """The plan with its compiled kernels, for the same device and library."""
        return bytes(self.graph.serialize())


def names(operation: Operation, target: Target, *, full: bool = False) -> list[str]:
    """The plans that the heuristics offer, the best guess first. Empty where there is none."""
    cudnn = load()
    try:
        graph, _ = _graph(cudnn, operation, target)
        _offered(cudnn, graph, full)
    except Exception as error:  # the front end has errors of its own for what is not supported
        logging.getLogger("netdsl").debug("no cuDNN plan for %s: %s", operation.name, _line(error))
        return []
    return list(dict.fromkeys(graph.get_plan_name_at_index(i) for i in range(graph.get_execution_plan_count())))


def build(
    operation: Operation, target: Target, name: str = "", *, deterministic: bool = True, workspace: int | None = None
) -> Plan:
    """The plan called `name`, or without one the first that can be built. Raises CudnnError.

    With `deterministic` none may give other bits from one run to the next. `workspace`: bytes that it may want.
    """
    cudnn = load()
    try:
        graph, constants = _graph(cudnn, operation, target)
        _offered(cudnn, graph, bool(name))
        notes = cudnn.numerical_note
        barred = [notes.DOWN_CONVERT_INPUTS]
        barred += [notes.NONDETERMINISTIC] if deterministic else []
        barred += [notes.TENSOR_CORE] if operation.storage == "float32" and not operation.tf32 else []
        graph.deselect_numeric_notes(barred)
        if workspace is not None:
            graph.deselect_workspace_greater_than(workspace)
        graph.check_support()
    except Exception as error:
        raise CudnnError(f"cuDNN has no plan for {operation.name}: {_line(error)}") from None
    reason = "it offers none"
    for index in range(graph.get_execution_plan_count()):
        found = graph.get_plan_name_at_index(index)
        if name and found != name:
            continue
        try:
            graph.build_plan_at_index(index)
        except Exception as error:
            reason = _line(error)
            continue
        return Plan(operation, found, int(graph.get_workspace_size_plan_at_index(index)), graph, constants)
    raise CudnnError(f"cuDNN has no plan {name or 'that may be taken'} for {operation.name}: {reason}")


def restored(operation: Operation, target: Target, name: str, data: bytes) -> Plan:
    """A plan from what `serialized` gave. Raises CudnnError where the library does not take it."""
    cudnn = load()
    try:
        _, constants = _graph(cudnn, operation, target)
        graph = target.graph(cudnn, operation.storage)
        if target.handle is None:
            graph.deserialize(data)
        else:
            graph.deserialize(target.handle, data)
        return Plan(operation, name, int(graph.get_workspace_size()), graph, constants)
    except Exception as error:
        raise CudnnError(f"a plan of {operation.name} that was kept is void: {_line(error)}") from None


def _offered(cudnn: Any, graph: Any, full: bool) -> None:
    graph.validate()
    graph.build_operation_graph()
    modes = [cudnn.heur_mode.A, *([cudnn.heur_mode.B] if full else []), cudnn.heur_mode.FALLBACK]
    graph.create_execution_plans(modes)


# -------------------------------------------------------------------------------------------------------------- graphs


def _graph(cudnn: Any, operation: Operation, target: Target) -> tuple[Any, dict[int, Any]]:
    """The graph of an operation, and the numbers of the host that it is given when it runs."""
    graph = target.graph(cudnn, operation.storage)
    kind = getattr(cudnn.data_type, TYPES[operation.storage])
    k, h, w, c = operation.filter
    weights = Place.dense(k, h, w, c)

    def tensor(place: Place, number: int) -> Any:
        return graph.tensor(dim=place.dims, stride=place.steps, data_type=kind, uid=number)

    window = {
        "pre_padding": list(operation.before), "post_padding": list(operation.after),
        "stride": list(operation.stride), "dilation": list(operation.dilation),
    }  # fmt: skip
    a = tensor(operation.a, X)
    constants: dict[int, Any] = {}
    if operation.way == "forward":
        made = graph.conv_fprop(image=a, weight=tensor(weights, W), **window)
    elif operation.way == "data":
        made = graph.conv_dgrad(loss=a, filter=tensor(weights, W), **window)
        # Where the stride is not 1, several extents of dx lead to one of dy.
        made.set_dim(operation.out.dims).set_stride(operation.out.steps)
    else:
        assert operation.b is not None
        made = graph.conv_wgrad(image=a, loss=tensor(operation.b, W), **window)
    if operation.residual is not None:
        made = graph.add(a=made, b=tensor(operation.residual, RESIDUAL))
    if operation.bias:
        made = graph.add(a=made, b=tensor(Place.dense(1, 1, 1, operation.out.shape[3]), BIAS))
    if operation.activation:
        made = _activated(cudnn, graph, made, operation.activation, constants)
    made.set_output(True).set_uid(Y).set_data_type(kind)
    made.set_dim(operation.out.dims).set_stride(operation.out.steps)
    return graph, constants


def _activated(cudnn: Any, graph: Any, y: Any, activation: Sequence[Any], constants: dict[int, Any]) -> Any:
    def number(value: float) -> Any:
        uid = CONSTANT + len(constants)
        constants[uid] = np.full(1, value, np.float32)
        return graph.tensor(
            dim=[1, 1, 1, 1], stride=[1, 1, 1, 1], data_type=cudnn.data_type.FLOAT, is_pass_by_value=True, uid=uid
        )

    return ACTIVATIONS[activation[0]](cudnn, graph, y, number, *activation[1:])


def _relu6(cudnn: Any, graph: Any, y: Any, number: Callable[[float], Any]) -> Any:
    return graph.min(input0=graph.relu(input=y), input1=number(6.0))


def _gate(cudnn: Any, graph: Any, y: Any, number: Callable[[float], Any]) -> Any:
    """relu6(y + 3) / 6"""
    return graph.mul(a=_relu6(cudnn, graph, graph.add(a=y, b=number(3.0)), number), b=number(1 / 6))


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": lambda cudnn, graph, y, number: graph.relu(input=y),
    "relu6": _relu6,
    "leaky_relu": lambda cudnn, graph, y, number, slope: graph.leaky_relu(input=y, negative_slope=slope),
    # The names of these operands are interchanged in 1.18: by position they are right.
    "silu": lambda cudnn, graph, y, number: graph.swish(y, cudnn.data_type.FLOAT, 1.0),
    "sigmoid": lambda cudnn, graph, y, number: graph.sigmoid(input=y),
    "tanh": lambda cudnn, graph, y, number: graph.tanh(input=y),
    "gelu": lambda cudnn, graph, y, number: graph.gelu(input=y),
    "elu": lambda cudnn, graph, y, number: graph.elu(input=y),
    "hard_sigmoid": _gate,
    "hard_swish": lambda cudnn, graph, y, number: graph.mul(a=y, b=_gate(cudnn, graph, y, number)),
}
"""How an activation is written as nodes of a graph, by its kind."""
