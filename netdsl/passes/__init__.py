"""Passes: each takes a network with values to another that computes the same, and says when that is legal."""

from __future__ import annotations

from typing import ClassVar, Protocol

from netdsl.passes.bound import Bound, bind, verify
from netdsl.passes.dense_of_map import DenseOfMap
from netdsl.passes.drop_identities import DropIdentities
from netdsl.passes.drop_unused import DropUnused
from netdsl.passes.fold_batch_norm import FoldBatchNorm
from netdsl.passes.fold_constants import FoldConstants
from netdsl.passes.fold_forward import FoldForward
from netdsl.passes.fuse_epilogues import FuseEpilogues
from netdsl.passes.fused import Fused
from netdsl.passes.merge_pad import MergePad
from netdsl.passes.share_subexpressions import ShareSubexpressions
from netdsl.passes.standardize_weights import StandardizeWeights


class Pass(Protocol):
    """A pass: a frozen dataclass in a file of its own."""

    name: ClassVar[str]

    def apply(self, bound: Bound) -> Bound:
        """A network that computes the same outputs. `bound` stays as it is."""
        ...


PIPELINE: tuple[Pass, ...] = (
    DropIdentities(),
    ShareSubexpressions(),
    StandardizeWeights(),
    FoldConstants(),
    FoldBatchNorm(),
    FoldForward(),
    MergePad(),
    FuseEpilogues(),
    DenseOfMap(),
    DropUnused(),
)
"""What is done to every network before it becomes a Program, in this order."""


def verified(each: Pass, bound: Bound) -> Bound:
    """The network after one pass. Raises ValueError where it breaks an invariant (a defect of the pass)."""
    bound = each.apply(bound)
    try:
        verify(bound)
    except ValueError as error:
        raise ValueError(f"after {each.name}: {error}") from None
    return bound


def run(bound: Bound, until: str | None = None) -> Bound:
    """The network after all passes, or after the one called `until`; its invariants are checked after each.

    Raises KeyError for a pass that there is not, ValueError where a pass breaks an invariant (a defect of the pass).
    """
    names = [each.name for each in PIPELINE]
    if until is not None and until not in names:
        raise KeyError(until)
    for each in PIPELINE:
        bound = verified(each, bound)
        if each.name == until:
            break
    return bound


__all__ = ["PIPELINE", "Bound", "Fused", "Pass", "bind", "run", "verify"]
