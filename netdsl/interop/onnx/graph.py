"""An ONNX graph while it grows: operators, constants, names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from netdsl.interop.errors import ExportError
from netdsl.ir.network import Node
from netdsl.ir.types import TensorType

Array = NDArray[Any]


class Graph:
    """Operators in execution order and the constants that they read.

    While a rule runs, `node` is the layer that it writes down. Values are called as the nodes of the network are.
    """

    def __init__(self, types: Mapping[str, TensorType]) -> None:
        self.types = types
        self.operators: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.node: Node
        self.weights: Mapping[str, Array] = {}
        self._parts = 0

    def begin(self, node: Node, weights: Mapping[str, Array]) -> None:
        self.node, self.weights, self._parts = node, weights, 0

    def end(self, value: str) -> None:
        """Gives what the rule returned the name of the node."""
        last = self.operators[-1] if self.operators else None
        if last is None or value not in last.output or not value.startswith(f"{self.node.name}/"):
            last = helper.make_node("Identity", [value], [value], name=self.node.name)
            self.operators.append(last)
        last.output[:] = [self.node.name]

    def x(self, number: int = 0) -> TensorType:
        """The type of an input of the layer at hand."""
        return self.types[self.node.inputs[number]]

    @property
    def y(self) -> TensorType:
        """The type of its output."""
        return self.node.type

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operator with one output; returns the name of that."""
        self._parts += 1
        name = f"{self.node.name}/{operator}_{self._parts}"
        self.operators.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str, change: Callable[[Array], Array] | None = None) -> str:
        """A weight of the layer as float32; with `change`, what that makes of it."""
        array = np.asarray(self.weights[name], np.float32)
        own = f"{self.node.address}.{name}" if name else self.node.address
        if change is None:
            return self._constant(own, array)
        self._parts += 1
        return self._constant(f"{own}/{self._parts}", np.asarray(change(array), np.float32))

    def has(self, name: str) -> bool:
        return name in self.weights

    def floats(self, values: Any) -> str:
        """A constant of float32."""
        return self._own(np.asarray(values, np.float32))

    def whole(self, values: Sequence[int] | Array) -> str:
        """A constant vector of int64: shapes, axes, indices."""
        return self._own(np.asarray(values, np.int64))

    def _own(self, array: Array) -> str:
        self._parts += 1
        return self._constant(f"{self.node.name}/constant_{self._parts}", array)

    def _constant(self, name: str, array: Array) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """(N, *shape)"""
        return self.op("Reshape", x, self.whole([0, *shape]))

    def known(self, type_: TensorType) -> tuple[int, ...]:
        """The extents of a tensor. Raises ExportError for one that is not known."""
        if None in type_.shape:
            raise ExportError(
                f"error: `{self.node.name}` ({self.node.layer.kind}) needs {type_}, whose size is not known"
            )
        return tuple(extent or 0 for extent in type_.shape)


Rule = Callable[[Graph, Any, Sequence[str]], str]
"""Writes a layer down: (graph, layer, names of the inputs) -> name of the output."""


def value_info(name: str, type_: TensorType) -> Any:
    """An input or output of the model: float32 (N, *shape), the batch left open."""
    shape = ["N", *(f"{name}_{axis}" if extent is None else extent for axis, extent in enumerate(type_.shape))]
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
