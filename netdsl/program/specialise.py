"""The types of a network for inputs of known sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netdsl.ir.layer import LayerError
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.language.diagnostics import Diagnostic, SpecError


def types_for(network: Network, nodes: Iterable[Node], inputs: Mapping[str, TensorType]) -> dict[str, TensorType]:
    """The type of each of `nodes`: extents that were open take the sizes that have come.

    Raises SpecError, with the place in the spec, where a layer does not accept them.
    """
    types: dict[str, TensorType] = {}
    for node in nodes:
        if node.name in inputs:
            types[node.name] = inputs[node.name]
        elif None not in node.type.shape and not any(None in network.type_of(name).shape for name in node.inputs):
            types[node.name] = node.type
        else:
            try:
                types[node.name] = node.layer.infer(*(types[source] for source in node.inputs))
            except LayerError as error:
                fed = ", ".join(f"{name} of {types[name]}" for name in network.inputs)
                raise SpecError(
                    [
                        Diagnostic(
                            error.code,
                            f"{node.name}: {error.message}",
                            node.span,
                            error.help,
                            tuple((call.block, call.span) for call in node.calls),
                            (f"the extents come from the input {fed}",),
                        )
                    ]
                ) from None
    return types
