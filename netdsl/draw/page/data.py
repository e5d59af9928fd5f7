"""What the explorer knows of a network, as plain data: layers, scopes, wires, costs, arithmetic, places in the source.

A column for each field, and everything that many layers have in common once, named by its position. The page reads this
and nothing else; `tools/page/src/model.ts` has the same names.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from netdsl.analysis.board import explain_row
from netdsl.analysis.cost import Report, Row, measure
from netdsl.analysis.receptive import Field, Reach, receptive_fields
from netdsl.draw.errors import DrawError
from netdsl.draw.page.places import Places
from netdsl.draw.page.scopes import Scope, followers, scopes
from netdsl.ir.network import Network

MAX_LAYERS = 50_000
"""Layers of a page: a browser reads and lays out as many in some seconds."""

FORMAT = 1
"""Counts up when the page would misread older data."""

_DRAWN = frozenset({"Input"})
"""Steps of the arithmetic that the page shows in another way."""

T = TypeVar("T", bound=Hashable)


class _Pool(Generic[T]):
    """Values, each once, by their position."""

    def __init__(self) -> None:
        self._positions: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        return self._positions.setdefault(value, len(self._positions))

    def values(self) -> list[T]:
        return list(self._positions)


def page_data(network: Network, *, fold: bool = True, limit: int = MAX_LAYERS) -> dict[str, object]:
    """The network as plain data that `json.dump` takes. Raises DrawError for more than `limit` layers.

    Layers are numbered in execution order. Inputs of layers and parts of scopes are these numbers; a scope among the
    parts is -1 - its own number. Counts that depend on an unknown extent are null. Bytes are for float32, one image.
    """
    if len(network.table) > limit:
        help = "a variant with fewer blocks makes a page; callers in Python can raise the limit"
        raise DrawError("E0804", f"{network.name} has {len(network.table):,} layers, more than {limit:,}", help)
    report = measure(network)
    return _Writer(network, report, scopes(network, report.rows, fold)).data()


class _Writer:
    """Numbers layers and scopes, and collects what they have in common."""

    def __init__(self, network: Network, report: Report, all_scopes: dict[str, Scope]) -> None:
        self._network = network
        self._report = report
        self._scopes = all_scopes
        self._numbers = {name: number for number, name in enumerate(network.table)}
        self._scope_numbers = {name: number for number, name in enumerate(all_scopes)}
        self._texts: _Pool[str] = _Pool()
        self._boards: _Pool[tuple[tuple[int, tuple[int, ...]], ...]] = _Pool()
        self._weights: _Pool[tuple[tuple[str, str, int, str], ...]] = _Pool()
        self._reaches: _Pool[tuple[int, tuple[tuple[float, ...], ...]]] = _Pool()
        self._places = Places()
        self._fields, self._origins = _fields(network)

    def data(self) -> dict[str, object]:
        network, numbers = self._network, self._numbers
        for name in network.inputs:
            # The file of the network comes first: its inputs stand in it.
            self._places.span(network.node(name).span)
        columns = self._columns()
        return {
            "format": FORMAT,
            "name": network.name,
            "doc": network.doc,
            "totals": self._totals(),
            "unknown": self._report.why_unknown,
            "inputs": [numbers[name] for name in network.inputs],
            "outputs": [
                [name, numbers[node], training]
                for outputs, training in ((network.outputs, False), (network.auxiliary, True))
                for name, node in outputs.items()
            ],
            "nodes": columns,
            "scopes": [self._scope(scope) for scope in self._scopes.values()],
            "texts": self._texts.values(),
            "boards": self._boards.values(),
            "weights": self._weights.values(),
            "reaches": self._reaches.values(),
            "spans": self._places.spans,
            "chains": self._places.chains,
            "files": self._places.files(),
        }

    def _totals(self) -> dict[str, object]:
        report = self._report
        return {
            "layers": len(report.rows),
            "parameters": report.parameters,
            "trainable": report.trainable_parameters,
            "macs": report.macs,
            "flops": report.flops,
            "memory": report.activation_bytes,
            "with_auxiliary": report.with_auxiliary.parameters,
        }

    def _scope(self, scope: Scope) -> dict[str, object]:
        made = self._network.tensors.get(scope.name)
        return {
            "name": scope.name,
            "block": scope.block,
            "parts": [
                -1 - self._scope_numbers[part.name] if part.is_scope else self._numbers[part.name]
                for part in scope.parts
            ],
            "folds": [list(fold) for fold in scope.folds],
            "made": -1 if made is None else self._numbers[made],
        }

    def _columns(self) -> dict[str, list[object]]:
        shared_boxes = followers(self._network, self._report.rows, self._scopes)
        lines = [self._line(row, row.name in shared_boxes) for row in self._report.rows]
        return {name: [line[name] for line in lines] for name in (lines[0] if lines else {})}

    def _line(self, row: Row, follows: bool) -> dict[str, object]:
        node = self._network.node(row.name)
        explanation = explain_row(row, self._fields)
        text = self._texts
        return {
            "name": row.name,
            "kind": text(row.kind),
            "category": text(row.layer.category),
            "caption": text(explanation.operation),
            "about": text(explanation.about),
            "type": text(str(row.type)),
            "inputs": [self._numbers[source] for source in row.inputs],
            "follows": int(follows),
            "auxiliary": int(row.auxiliary),
            "parameters": row.parameters,
            "macs": row.macs,
            "flops": row.flops,
            "memory": row.activation_bytes,
            "board": self._boards(
                tuple(
                    (text(step.title), tuple(text(line) for line in step.lines))
                    for step in explanation.steps
                    if step.title not in _DRAWN
                )
            ),
            "weights": self._weights(
                tuple((w.name, "x".join(map(str, w.shape)) or "scalar", w.size, w.role) for w in row.weights)
            ),
            "address": text(row.address),
            "reach": self._reach(row.name),
            "span": self._places.span(node.span),
            "chain": self._places.chain(node.calls),
        }

    def _reach(self, name: str) -> int:
        """The number of a receptive field: the input it lies on, and start, stride and extent along each axis; no axes
        where every position sees the whole input. -1: the layer depends on no input."""
        reach = self._fields.get(name)
        if reach is None:
            return -1
        axes = reach.axes if isinstance(reach, Field) else ()
        plain = tuple(tuple(_plain(number) for number in (a.start, a.stride, a.extent)) for a in axes)
        return self._reaches((self._numbers[self._origins[name]], plain))


def _plain(number: object) -> float:
    """A whole number or a fraction as JSON has it."""
    return number if isinstance(number, int) else float(number)  # type: ignore[arg-type]


def _fields(network: Network) -> tuple[dict[str, Reach], Mapping[str, str]]:
    """Each node's receptive field, and the input that it lies on: the first declared of those that reach the node."""
    fields: dict[str, Reach] = {}
    origins: dict[str, str] = {}
    for source in reversed(network.inputs):
        found = receptive_fields(network, source)
        fields |= found
        origins |= dict.fromkeys(found, source)
    return fields, origins
