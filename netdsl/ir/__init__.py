"""The intermediate representation: tensor types, the contract of a layer, and the network."""

from netdsl.ir.layer import (
    MANY,
    ONE,
    Arity,
    Array,
    Cost,
    Global,
    Layer,
    LayerError,
    Nested,
    Weight,
    Window,
)
from netdsl.ir.network import Call, Network, Node, verify
from netdsl.ir.types import BYTES_PER_ELEMENT, Extent, TensorType, unify

__all__ = [
    "BYTES_PER_ELEMENT",
    "MANY",
    "ONE",
    "Arity",
    "Array",
    "Call",
    "Cost",
    "Extent",
    "Global",
    "Layer",
    "LayerError",
    "Nested",
    "Network",
    "Node",
    "TensorType",
    "Weight",
    "Window",
    "unify",
    "verify",
]
