"""A cuDNN that is played on the CPU: the part of the front end that netdsl uses, on addresses of the host.

It keeps the library's rules where a mistake would crash a GPU: strides, types, extents, every address that a graph needs,
alignment; and computes each graph from its definition, in float64, tap after tap.
"""

from __future__ import annotations

import ctypes
from enum import Enum
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np


class Types(Enum):
    FLOAT = "float32"
    HALF = "float16"
    BFLOAT16 = "bfloat16"
    NOT_SET = ""


class Notes(Enum):
    DOWN_CONVERT_INPUTS = 1
    NONDETERMINISTIC = 2
    TENSOR_CORE = 3


class Modes(Enum):
    A = 1
    B = 2
    FALLBACK = 3


class NotSupportedError(Exception):
    pass


PLANS = {"fast_1": {Notes.TENSOR_CORE}, "loose_2": {Notes.NONDETERMINISTIC}, "plain_3": set()}


class Tensor:
    def __init__(self, graph: Any, compute: Any = None, **facts: Any) -> None:
        self.graph, self.compute = graph, compute
        self.dim, self.stride = list(facts.get("dim", [])), list(facts.get("stride", []))
        self.kind, self.uid, self.by_value = (
            facts.get("data_type"),
            facts.get("uid"),
            facts.get("is_pass_by_value", False),
        )

    def set_output(self, yes: bool) -> Tensor:
        assert yes
        self.graph.outputs.append(self)
        return self

    def set_uid(self, uid: int) -> Tensor:
        self.uid = uid
        return self

    def set_data_type(self, kind: Types) -> Tensor:
        self.kind = kind
        return self

    def set_dim(self, dim: list[int]) -> Tensor:
        self.dim = list(dim)
        return self

    def set_stride(self, stride: list[int]) -> Tensor:
        self.stride = list(stride)
        return self


def at(address: int, tensor: Tensor) -> Any:
    """The numbers of a tensor (N, C, H, W) at an address."""
    assert type(address) is int and address, "an address is a Python int"
    kind = np.dtype(ml_dtypes.bfloat16 if tensor.kind is Types.BFLOAT16 else tensor.kind.value)
    assert tensor.by_value or address % 16 == 0
    last = sum((n - 1) * s for n, s in zip(tensor.dim, tensor.stride, strict=True))
    raw = (ctypes.c_uint8 * ((last + 1) * kind.itemsize)).from_address(address)
    flat = np.frombuffer(raw, dtype=np.uint8).view(kind)
    strides = [s * kind.itemsize for s in tensor.stride]
    return np.lib.stride_tricks.as_strided(flat, tensor.dim, strides)


def window(x: Any, before: Any, after: Any, stride: Any, dilation: Any, i: int, j: int, o: Any) -> Any:
    """The part of a padded x that tap (i, j) meets."""
    wide = np.pad(x, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])))
    top, left = i * dilation[0], j * dilation[1]
    return wide[:, :, top : top + stride[0] * o[0] : stride[0], left : left + stride[1] * o[1] : stride[1]][
        :, :, : o[0], : o[1]
    ]


class Graph:
    def __init__(self, module: Any, io_data_type: Any, intermediate_data_type: Any, compute_data_type: Any, handle: Any = None,
                 device_property: Any = None) -> None:  # fmt: skip
        assert compute_data_type is intermediate_data_type is Types.FLOAT
        assert handle in module.handles or device_property is not None
        self.module, self.outputs, self.barred, self.chosen = module, [], set(), None
        self.inputs: list[Tensor] = []
        self.offered: list[str] = []

    def tensor(self, **facts: Any) -> Tensor:
        found = Tensor(self, **facts)
        assert len(found.dim) == len(found.stride) == 4 and found.uid
        self.inputs.append(found)
        return found

    def conv_fprop(
        self, image: Tensor, weight: Tensor, pre_padding: Any, post_padding: Any, stride: Any, dilation: Any
    ) -> Tensor:
        spatial = [
            (image.dim[2 + a] + pre_padding[a] + post_padding[a] - dilation[a] * (weight.dim[2 + a] - 1) - 1)
            // stride[a]
            + 1
            for a in (0, 1)
        ]

        def compute(value: Any) -> Any:
            x, w = value(image), value(weight)
            k, each = w.shape[:2]
            groups = x.shape[1] // each
            y = np.zeros((x.shape[0], k, *spatial))
            for g in range(groups):
                mine, own = slice(g * k // groups, (g + 1) * k // groups), slice(g * each, (g + 1) * each)
                for i in range(w.shape[2]):
                    for j in range(w.shape[3]):
                        part = window(x[:, own], pre_padding, post_padding, stride, dilation, i, j, spatial)
                        y[:, mine] += np.einsum("nchw,kc->nkhw", part, w[mine, :, i, j])
            return y

        return Tensor(self, compute, dim=[image.dim[0], weight.dim[0], *spatial])

    def conv_dgrad(
        self, loss: Tensor, filter: Tensor, pre_padding: Any, post_padding: Any, stride: Any, dilation: Any
    ) -> Tensor:
        def compute(value: Any) -> Any:
            dy, w = value(loss), value(filter)
            k, each = w.shape[:2]
            groups = made.dim[1] // each
            n, c, h, wd = made.dim
            wide = np.zeros((n, c, h + sum((pre_padding[0], post_padding[0])), wd + pre_padding[1] + post_padding[1]))
            for g in range(groups):
                mine, own = slice(g * k // groups, (g + 1) * k // groups), slice(g * each, (g + 1) * each)
                for i in range(w.shape[2]):
                    for j in range(w.shape[3]):
                        top, left = i * dilation[0], j * dilation[1]
                        rows = slice(top, top + stride[0] * (dy.shape[2] - 1) + 1, stride[0])
                        columns = slice(left, left + stride[1] * (dy.shape[3] - 1) + 1, stride[1])
                        wide[:, own, rows, columns] += np.einsum("nkhw,kc->nchw", dy[:, mine], w[mine, :, i, j])
            return wide[:, :, pre_padding[0] : pre_padding[0] + h, pre_padding[1] : pre_padding[1] + wd]

        made = Tensor(self, compute)
        return made

    def conv_wgrad(
        self, image: Tensor, loss: Tensor, pre_padding: Any, post_padding: Any, stride: Any, dilation: Any
    ) -> Tensor:
        def compute(value: Any) -> Any:
            x, dy = value(image), value(loss)
            k, each, fh, fw = made.dim
            groups = x.shape[1] // each
            dw = np.zeros(made.dim)
            for g in range(groups):
                mine, own = slice(g * k // groups, (g + 1) * k // groups), slice(g * each, (g + 1) * each)
                for i in range(fh):
                    for j in range(fw):
                        part = window(x[:, own], pre_padding, post_padding, stride, dilation, i, j, dy.shape[2:])
                        dw[mine, :, i, j] = np.einsum("nchw,nkhw->kc", part, dy[:, mine])
            return dw

        made = Tensor(self, compute)
        return made

    def _point(self, function: Any, *operands: Tensor) -> Tensor:
        dim = [max(sizes) for sizes in zip(*(operand.dim for operand in operands if operand.dim), strict=True)]
        return Tensor(self, lambda value: function(*(value(each) for each in operands)), dim=dim)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return self._point(np.add, a, b)

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return self._point(np.multiply, a, b)

    def min(self, input0: Tensor, input1: Tensor) -> Tensor:
        return self._point(np.minimum, input0, input1)

    def relu(self, input: Tensor) -> Tensor:
        return self._point(lambda x: np.maximum(x, 0), input)

    def leaky_relu(self, input: Tensor, negative_slope: float) -> Tensor:
        return self._point(lambda x: np.where(x > 0, x, negative_slope * x), input)

    def swish(self, input: Tensor, kind: Types, beta: float) -> Tensor:
        assert isinstance(kind, Types)
        return self._point(lambda x: x / (1 + np.exp(-beta * x)), input)

    def sigmoid(self, input: Tensor) -> Tensor:
        return self._point(lambda x: 1 / (1 + np.exp(-x)), input)

    def tanh(self, input: Tensor) -> Tensor:
        return self._point(np.tanh, input)

    def elu(self, input: Tensor) -> Tensor:
        return self._point(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), input)

    def gelu(self, input: Tensor) -> Tensor:
        from math import erf

        return self._point(lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2, input)

    def validate(self) -> None:
        assert len(self.outputs) == 1
        (y,) = self.outputs
        assert y.dim and y.stride and y.uid and y.kind

    def build_operation_graph(self) -> None:
        if self.module.refuses is not None and self.module.refuses(self):
            raise NotSupportedError("No valid engine configs\nReason: not supported\n")

    def create_execution_plans(self, modes: list[Modes]) -> None:
        self.offered = list(PLANS) if Modes.B in modes else ["fast_1", "plain_3"]

    def get_execution_plan_count(self) -> int:
        return len(self.offered)

    def get_plan_name_at_index(self, index: int) -> str:
        return self.offered[index]

    def deselect_numeric_notes(self, notes: list[Notes]) -> None:
        self.barred |= set(notes)

    def deselect_workspace_greater_than(self, size: int) -> None:
        self.most = size

    def check_support(self) -> None:
        if all(PLANS[name] & self.barred for name in self.offered):
            raise NotSupportedError("none left")

    def build_plan_at_index(self, index: int) -> None:
        if PLANS[self.offered[index]] & self.barred or self.offered[index] in self.module.broken:
            raise NotSupportedError("barred")
        self.chosen = self.offered[index]
        self.module.built.append(self.chosen)

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return self.get_workspace_size()

    def get_workspace_size(self) -> int:
        return 100

    def serialize(self) -> list[int]:
        assert self.chosen is not None
        self.module.kept.append(self)
        return list(f"plan {len(self.module.kept) - 1}".encode())

    def deserialize(self, *arguments: Any) -> None:
        *handle, data = arguments
        assert all(each in self.module.handles for each in handle)
        if not data.startswith(b"plan "):
            raise RuntimeError("no plan")
        other = self.module.kept[int(data.split()[1])]
        self.inputs, self.outputs, self.chosen = other.inputs, other.outputs, other.chosen
        self.module.restored += 1

    def execute(self, addresses: dict[int, int], workspace: int, handle: int) -> None:
        assert self.chosen is not None and handle in self.module.handles and workspace % 256 == 0 and workspace
        wanted = {tensor.uid for tensor in (*self.inputs, *self.outputs)}
        assert set(addresses) == wanted, (addresses, wanted)
        kept = {tensor.uid: at(addresses[tensor.uid], tensor) for tensor in self.inputs if tensor.by_value}
        values = {uid: np.array(array, np.float64) for uid, array in kept.items()}

        def run() -> None:
            def value(tensor: Tensor) -> Any:
                if tensor.compute is not None:
                    return tensor.compute(value)
                if tensor.by_value:
                    return values[tensor.uid]
                return at(addresses[tensor.uid], tensor).astype(np.float64)

            (y,) = self.outputs
            made = y.compute(value)
            assert list(made.shape) == y.dim
            at(addresses[y.uid], y)[...] = made

        self.module.device.note(f"cudnn {self.chosen}", run)


class PlayedCudnn:
    """What stands for the module `cudnn`, for one played device."""

    data_type, numerical_note, heur_mode = Types, Notes, Modes

    def __init__(self, device: Any) -> None:
        self.device = device
        self.handles: list[int] = []
        self.built: list[str] = []
        self.kept: list[Graph] = []
        self.restored = 0
        self.refuses: Any = None
        self.broken: set[str] = set()

    def backend_version(self) -> int:
        return 92800

    def backend_version_string(self) -> str:
        return "9.28.0"

    def create_handle(self) -> int:
        self.handles.append(1000 + len(self.handles))
        return self.handles[-1]

    def set_stream(self, handle: int, stream: int) -> None:
        assert handle in self.handles

    def create_device_properties(self, text: Any) -> Any:
        return SimpleNamespace(serialize=lambda: text)

    def pygraph(self, **options: Any) -> Graph:
        return Graph(self, **options)
