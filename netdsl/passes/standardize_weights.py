"""Standardised weights are constants once training is over: they are standardised once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from netdsl.ir.layer import Array
from netdsl.layers.conv import AnyConvolution, Conv
from netdsl.layers.std_conv import StdConv
from netdsl.passes.bound import Bound
from netdsl.passes.fold_constants import with_weights
from netdsl.passes.values import Value


@dataclass(frozen=True)
class StandardizeWeights:
    """A convolution with standardised weights (scaled ones too) becomes a `conv` with the weights that it applies.

    Always legal. The arithmetic is the layer's own, in double precision, rounded once, when the weights are asked for;
    those that other nodes share stay as they are.
    """

    name: ClassVar[str] = "standardize_weights"

    def apply(self, bound: Bound) -> Bound:
        values: dict[str, Value] = {}
        nodes = []
        for node in bound.network.nodes():
            layer = node.layer
            if isinstance(layer, StdConv):
                weights = bound.weights(node)
                # Everything but the weight itself is short.
                others = {name: weights[name] for name in weights if name != "weight"}

                def applied(weight: Array, layer: StdConv = layer, others: dict[str, Array] = others) -> Array:
                    exact = {name: array.astype(np.float64) for name, array in {**others, "weight": weight}.items()}
                    return np.asarray(layer._applied(np, exact), dtype=np.float32)

                own: dict[str, Any] = {name: getattr(layer, name) for name in AnyConvolution.model_fields}
                plain = Conv.model_construct(**own | {"weight": None}, filters=layer.filters, groups=layer.groups)
                made: dict[str, Value] = {"weight": weights.derived("weight", weights.shape("weight"), applied)}
                if "bias" in others:
                    made["bias"] = others["bias"]
                node = with_weights(node._replace(layer=plain), f"{node.name}+standardized", made, values)
            nodes.append(node)
        return bound.with_nodes(nodes, values=values)
