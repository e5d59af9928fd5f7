"""From a network with values to an ONNX model, and to a file.

Batch norm and scales are folded into the convolutions before, as by the passes of the same names, and what acts in
training only is left out; activations and joins stay operators of their own, which every engine fuses as it likes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import helper

from netdsl import __version__
from netdsl.atomic import replacing
from netdsl.interop.errors import ExportError
from netdsl.interop.onnx import channels, elements, shapes, windows
from netdsl.interop.onnx.graph import Graph, Rule, value_info
from netdsl.ir.network import Network
from netdsl.passes import bind, run

OPSET = 20
"""The version of the operators that is written: the first that has GELU."""
IR_VERSION = 9
"""The version of the format that belongs to it."""
LAST_PASS = "merge_pad"
"""What follows makes layers that ONNX does not have."""
MOST_BYTES = 2**31 - 2**20
"""What a file of this format can hold."""

RULES: dict[str, Rule] = {**windows.RULES, **elements.RULES, **channels.RULES, **shapes.RULES}
"""How each kind of layer is written."""


def model(network: Network, values: Mapping[str, Any]) -> Any:
    """The network as an `onnx.ModelProto`: float32, the batch left open. Raises ExportError."""
    bound = run(bind(network, values), LAST_PASS)
    found = bound.network
    graph = Graph({node.name: node.type for node in found.nodes()})
    for node in found.nodes():
        if not node.inputs:
            continue
        rule = RULES.get(node.layer.kind)
        if rule is None:
            raise ExportError(f"error: `{node.name}` is a {node.layer.kind}, which ONNX has no operator for")
        graph.begin(node, bound.weights(node))
        graph.end(rule(graph, node.layer, node.inputs))
    outputs = []
    for name, source in found.outputs.items():
        # Two outputs may be one tensor, and an input may be an output.
        label = name if name not in found.table else f"{name}_output"
        graph.operators.append(helper.make_node("Identity", [source], [label], name=label))
        outputs.append(value_info(label, found.type_of(source)))
    size = sum(constant.ByteSize() for constant in graph.constants.values())
    if size > MOST_BYTES:
        raise ExportError(f"error: {network.name} has {size:,} bytes of weights, an ONNX file holds {MOST_BYTES:,}")
    made = helper.make_model(
        helper.make_graph(
            graph.operators,
            network.name,
            [value_info(name, found.type_of(name)) for name in found.inputs],
            outputs,
            list(graph.constants.values()),
            doc_string=network.doc,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="netdsl",
        producer_version=__version__,
    )
    try:
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"error: ONNX does not take what {network.name} became: {error}") from None
    return made


def save(network: Network, values: Mapping[str, Any], path: str | os.PathLike[str]) -> int:
    """Writes the network into an ONNX file; how many bytes that has. Raises ExportError, OSError."""
    data: bytes = model(network, values).SerializeToString()
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return len(data)
