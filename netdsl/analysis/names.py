"""Names of tensors as people ask for them."""

from __future__ import annotations

from netdsl.ir.network import Network
from netdsl.language.diagnostics import did_you_mean


def help_with(name: str, network: Network) -> str:
    """What to say about a name that the network does not have."""
    known = [*network.table, *network.tensors, *network.outputs, *network.auxiliary]
    return did_you_mean(name, known) or "`netdsl summary SPEC` lists the names"
