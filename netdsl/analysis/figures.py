"""Every figure of a network, each computed when it is asked for."""

from __future__ import annotations

from functools import cached_property

from netdsl.analysis.cost import Report, measure
from netdsl.analysis.receptive import Reach, receptive_fields
from netdsl.analysis.tree import Item, tree
from netdsl.ir.network import Network


class Figures:
    """A network with its costs, receptive fields, and tree of scopes. Without `fold`, equal neighbours of the tree
    have lines of their own."""

    def __init__(self, network: Network, report: Report | None = None, fold: bool = True) -> None:
        self.network = network
        self.fold = fold
        self._report = report

    @cached_property
    def report(self) -> Report:
        return self._report or measure(self.network)

    @cached_property
    def fields(self) -> dict[str, Reach]:
        """Receptive fields by the name of the node."""
        return receptive_fields(self.network)

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The lines at the top of the tree."""
        return tree(self.network, self.report.rows, self.fold)
