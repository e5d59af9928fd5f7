"""What may be done to a network that learns: weights change at each step, so that nothing is folded into them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netdsl.ir.network import Network
from netdsl.passes import Bound, Pass, bind, verified
from netdsl.passes.drop_identities import DropIdentities
from netdsl.passes.drop_unused import DropUnused
from netdsl.passes.merge_pad import MergePad
from netdsl.passes.share_subexpressions import ShareSubexpressions

PIPELINE: tuple[Pass, ...] = (
    DropIdentities(training=True),
    ShareSubexpressions(training=True),
    MergePad(),
    DropUnused(),
)


def prepared(network: Network, values: Mapping[str, Any]) -> Bound:
    """A network after the passes that training allows; what its outputs do not need is left out."""
    bound = bind(network, values)
    for each in PIPELINE:
        bound = verified(each, bound)
    return bound
