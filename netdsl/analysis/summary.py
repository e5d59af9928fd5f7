"""The summary of a network: every figure that the tables and the JSON show, as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from netdsl.analysis.cost import Report, Row, Totals, measure, weights
from netdsl.analysis.receptive import Reach, describe, receptive_fields
from netdsl.analysis.tree import Item, tree
from netdsl.ir.network import Network
from netdsl.ir.types import Extent, TensorType

Shape = list[Extent]

COUNTED = (
    "1 MAC = 2 FLOPs. MACs are those of convolution and dense layers for one image; other FLOPs are bias additions, "
    "normalization, activations, pooling and joins.",
    "A scope's line is the sum over the lines in it; `x 3` stands for three equal neighbours, summed, "
    "of which the first is shown.",
)
"""What the tables count, in the words that stand below them."""


@dataclass(frozen=True)
class Summary:
    """A network with its costs, receptive fields, and tree of scopes, each computed when it is asked for."""

    network: Network
    fold: bool = True

    @cached_property
    def report(self) -> Report:
        return measure(self.network)

    @cached_property
    def fields(self) -> dict[str, Reach]:
        return receptive_fields(self.network)

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The lines at the top of the tree."""
        return tree(self.network, self.report.rows, self.fold)

    @property
    def has_auxiliary(self) -> bool:
        return bool(self.network.auxiliary)


def summarize(network: Network, fold: bool = True) -> Summary:
    """The summary of a network. Without `fold`, equal neighbours have lines of their own."""
    return Summary(network, fold)


def summary_json(network: Network) -> dict[str, object]:
    """The summary as plain data that `json.dump` takes. Its names stay stable.

    Shapes are lists without the batch, null for an extent that is only known when the network runs; so are counts that
    depend on one. `input` and `output` are a shape where there is one, and an object name -> shape where there are
    several. Bytes are for float32 and one image. The headline figures leave out heads that run in training only;
    `with_auxiliary` includes them, and so do `layers` (marked `auxiliary`) and `weights`.
    """
    summary = summarize(network)
    report, fields = summary.report, summary.fields
    inputs = {name: _shape(type) for name, type in network.input_types().items()}
    outputs = {name: _shape(network.type_of(node)) for name, node in network.outputs.items()}
    result: dict[str, object] = {
        "name": network.name,
        "description": network.doc,
        "input": _one_or_all(inputs),
        "output": _one_or_all(outputs),
        "inputs": inputs,
        "outputs": outputs,
        **_totals(report.main),
        "with_auxiliary": _totals(report.with_auxiliary),
        "auxiliary_outputs": {name: _shape(network.type_of(node)) for name, node in network.auxiliary.items()},
        "layers": [_layer(row, fields.get(row.name)) for row in report.rows],
        "weights": [
            {
                "name": name,
                "shape": list(weight.shape),
                "trainable": weight.role == "parameter" and weight.trainable,
                "role": weight.role,
                "dtype": weight.dtype,
            }
            for name, weight in weights(network)
        ],
    }
    if report.why_unknown is not None:
        result["unknown"] = report.why_unknown
    return result


def _one_or_all(shapes: dict[str, Shape]) -> Shape | dict[str, Shape]:
    return next(iter(shapes.values())) if len(shapes) == 1 else shapes


def _shape(type: TensorType) -> Shape:
    return list(type.shape)


def _totals(totals: Totals) -> dict[str, object]:
    return {
        "parameters": totals.parameters,
        "trainable_parameters": totals.trainable_parameters,
        "buffers": totals.buffers,
        "macs": totals.macs,
        "other_flops": totals.other_flops,
        "flops": totals.flops,
        "connections": totals.connections,
        "activation_bytes": totals.activation_bytes,
        "parameter_bytes": totals.parameter_bytes,
    }


def _layer(row: Row, reach: Reach | None) -> dict[str, object]:
    return {
        "name": row.name,
        "kind": row.kind,
        "inputs": list(row.inputs),
        "output_shape": _shape(row.type),
        "parameters": row.parameters,
        "trainable_parameters": row.trainable_parameters,
        "buffers": row.buffers,
        "macs": row.macs,
        "other_flops": row.other_flops,
        "flops": row.flops,
        "connections": row.connections,
        "activation_bytes": row.activation_bytes,
        "parameter_bytes": row.parameter_bytes,
        "receptive_field": describe(reach),
        "auxiliary": row.auxiliary,
        "weights_of": row.address,
    }
