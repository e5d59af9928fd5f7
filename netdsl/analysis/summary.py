"""The summary of a network: its figures as a table of text, Markdown, CSV or HTML, and as plain data for JSON."""

from __future__ import annotations

from netdsl.analysis import tables
from netdsl.analysis.cost import Report, Row, Totals, weights
from netdsl.analysis.figures import Figures
from netdsl.analysis.receptive import Reach, describe
from netdsl.ir.network import Network
from netdsl.ir.types import Extent, TensorType

Shape = list[Extent]


class Summary(Figures):
    """The figures of a network and the forms they can be shown in.

    With `depth`, tables show the tree of scopes down to that level: 1 is the top level only. Without `fold`, equal
    neighbours have lines of their own. CSV and JSON hold every layer, whatever the depth.
    """

    def __init__(
        self, network: Network, report: Report | None = None, depth: int | None = None, fold: bool = True
    ) -> None:
        super().__init__(network, report, fold)
        self.depth = depth

    def text(self) -> str:
        """A table in plain characters, columns aligned."""
        return tables.text(self, self.depth)

    def markdown(self) -> str:
        """A table in GitHub's Markdown."""
        return tables.markdown(self, self.depth)

    def html(self) -> str:
        """A table for a notebook."""
        return tables.html(self, self.depth)

    def csv(self) -> str:
        """A line for each layer, nothing folded, plain numbers; empty where a number is not known."""
        return tables.csv_text(self)

    def json(self) -> dict[str, object]:
        """Plain data that `json.dump` takes, see `summary_json`."""
        return _plain(self)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()


def summary_json(network: Network) -> dict[str, object]:
    """The summary as plain data that `json.dump` takes. Its names stay stable.

    Shapes are lists without the batch, null for an extent that is only known when the network runs; so are counts that
    depend on one. `input` and `output` are a shape where there is one, and an object name -> shape where there are
    several. Bytes are for float32 and one image. The headline figures leave out heads that run in training only;
    `with_auxiliary` includes them, and so do `layers` (marked `auxiliary`) and `weights`.
    """
    return _plain(Figures(network))


def _plain(figures: Figures) -> dict[str, object]:
    network, report, fields = figures.network, figures.report, figures.fields
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
