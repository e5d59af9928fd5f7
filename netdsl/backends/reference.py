"""The reference executor: every layer's own `forward` in NumPy, one node after the other.

It is the yardstick that other back-ends are measured against: no fusion, no layout tricks, nothing reordered.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from netdsl.analysis.names import help_with
from netdsl.backends.errors import RunError
from netdsl.backends.inputs import checked_inputs
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.program.specialise import types_for
from netdsl.weights.inventory import full_name, weights_of
from netdsl.weights.patterns import Patterns
from netdsl.weights.report import LoadReport
from netdsl.weights.rules import Rules
from netdsl.weights.store import Source, WeightStore
from netdsl.weights.stored import Limits

Array = NDArray[Any]
Outputs = Array | dict[str, Array]
"""One array where a network has one output, else arrays by output name."""


class Model:
    """A network that can run: its graph and values for its weights.

    model = Model(network)
    model.load("resnet50.safetensors")        # or model.initialize(seed=0)
    logits = model(images)                    # images of shape (N, 3, 224, 224), float32

    Evaluation mode: batch normalization uses its running statistics, dropout does nothing, auxiliary heads do not run.
    """

    def __init__(self, network: Network, dtype: Literal["float32", "float64"] = "float32") -> None:
        self.network = network
        self.dtype = dtype
        self.store = WeightStore(network, dtype)

    @property
    def weights(self) -> Mapping[str, Array]:
        """All weights that have values, by full name."""
        return self.store.values

    def load(
        self,
        source: Source,
        *,
        except_: Patterns = (),
        rules: Rules | str | os.PathLike[str] | None = None,
        by_position: bool = False,
        limits: Limits | None = None,
    ) -> LoadReport:
        """Takes weights from a file (`.safetensors`, `.npz`, `.pth`) or a mapping of arrays; see `WeightStore.load`."""
        return self.store.load(source, except_=except_, rules=rules, by_position=by_position, limits=limits)

    def initialize(self, seed: int, *, everything: bool = False) -> tuple[str, ...]:
        """Gives random values to the parameters that were not loaded; see `WeightStore.initialize`."""
        return self.store.initialize(seed, everything=everything)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all weights into a file: `.safetensors`, `.npz`, `.pth`. Raises WeightError."""
        self.store.save(path)

    @overload
    def __call__(self, x: object, *, tap: None = None) -> Outputs: ...

    @overload
    def __call__(self, x: object, *, tap: str | Sequence[str]) -> tuple[Outputs, dict[str, Array]]: ...

    def __call__(
        self, x: object, *, tap: str | Sequence[str] | None = None
    ) -> Outputs | tuple[Outputs, dict[str, Array]]:
        """Runs the network on a batch.

        `x` is an array of shape (N, C, H, W), or (N, *shape) as the input was declared, or a mapping of arrays by input
        name where there are several. Returns the output, or outputs by name where there are several. With `tap`, names
        of nodes, scopes or outputs, returns a pair: the output and the tapped tensors by name.

        Raises RunError for an input that does not fit and for parameters without values, SpecError where extents that
        were open (`?`) turn out not to fit a layer.
        """
        outputs, taps = self.run(x, [tap] if isinstance(tap, str) else tap or ())
        result = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return result if tap is None else (result, taps)

    def run(self, x: object, tap: Sequence[str] = ()) -> tuple[dict[str, Array], dict[str, Array]]:
        """Like calling the model, but always returns outputs by name and taps by name."""
        tapped = {name: self._resolve(name) for name in tap}
        wanted = {*self.network.outputs.values(), *tapped.values()}
        nodes = needed(self.network, wanted)
        self._require_weights(nodes)
        inputs = checked_inputs(self.network, x, self.dtype)
        types = types_for(self.network, nodes, {name: TensorType(array.shape[1:]) for name, array in inputs.items()})
        values = self._execute(nodes, inputs, types, wanted)
        outputs = {name: values[node] for name, node in self.network.outputs.items()}
        return outputs, {name: values[node] for name, node in tapped.items()}

    def _resolve(self, name: str) -> str:
        network = self.network
        try:
            return network.resolve(name)
        except KeyError:
            raise RunError("E0713", f"{network.name} has no tensor `{name}`", help_with(name, network)) from None

    def require_weights(self) -> None:
        """Raises RunError where the outputs need parameters that have no values yet."""
        self._require_weights(needed(self.network, set(self.network.outputs.values())))

    def _require_weights(self, nodes: Sequence[Node]) -> None:
        """Refuses to compute with parameters that nobody has given."""
        names = [
            full_name(node.address, weight.name)
            for node in nodes
            for weight in weights_of(self.network, node)
            if weight.role == "parameter"
        ]
        empty = list(dict.fromkeys(self.store.without_values(names)))
        if empty:
            listed = ", ".join(f"`{name}`" for name in empty[:3]) + (", ..." if len(empty) > 3 else "")
            raise RunError(
                "E0711",
                f"{len(empty)} of {len(set(names))} parameters of {self.network.name} have no values: {listed}",
                "load them: --weights FILE, model.load(FILE); or ask for random ones: --random-weights SEED, "
                "model.initialize(SEED)",
            )

    def _execute(
        self, nodes: Sequence[Node], inputs: Mapping[str, Array], types: Mapping[str, TensorType], wanted: set[str]
    ) -> dict[str, Array]:
        """Runs `nodes` in order and returns the `wanted` tensors; others are dropped after their last reader."""
        readers = Counter(source for node in nodes for source in set(node.inputs))
        values: dict[str, Array] = {}
        for node in nodes:
            if node.name in inputs:
                values[node.name] = inputs[node.name]
                continue
            values[node.name] = self._apply(node, [values[source] for source in node.inputs], types[node.name])
            for source in set(node.inputs):
                readers[source] -= 1
                if not readers[source] and source not in wanted:
                    del values[source]
        # What is handed out is never the caller's own array: an identity network returns a copy.
        return {
            name: array.copy() if any(np.may_share_memory(array, given) for given in inputs.values()) else array
            for name, array in values.items()
            if name in wanted
        }

    def _apply(self, node: Node, arrays: Sequence[Array], type_: TensorType) -> Array:
        """One node: (N, *input shapes) -> (N, *type.shape), as this model's type of numbers."""
        stored = self.store.values
        weights = {
            weight.name: stored[full_name(node.address, weight.name)] for weight in weights_of(self.network, node)
        }
        batch = len(arrays[0]) if arrays else 1
        try:
            with np.errstate(over="ignore", under="ignore"):
                result = np.asarray(node.layer.forward(np, arrays, weights), dtype=self.dtype)
        except MemoryError:
            raise RunError(
                "E0714",
                f"not enough memory for `{node.name}` ({node.layer.kind}, output {batch} x {type_})",
                "run fewer images at a time",
            ) from None
        expected = (batch, *type_.shape)
        if result.shape != expected:
            raise RunError(
                "E0715",
                f"`{node.name}` ({node.layer.kind}) computed shape {result.shape}, its rule says {expected}",
                "this is a defect of the layer",
            )
        return result


def needed(network: Network, wanted: set[str]) -> list[Node]:
    """The nodes that `wanted` depend on, in execution order; inputs are always among them."""
    found = network.needed(wanted)
    return [node for node in network.nodes() if node.name in found]
