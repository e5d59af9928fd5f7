"""The front door in Python: load a spec, ask it for its numbers, draw it, run it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from netdsl.analysis.cost import Report, measure
from netdsl.analysis.names import help_with
from netdsl.elaborate import Found, Limits, Loader, build, choose, find, shape_of
from netdsl.ir import Extent, Network, Node, TensorType
from netdsl.language.diagnostics import CodedError
from netdsl.language.source import Source

if TYPE_CHECKING:
    from netdsl.analysis.summary import Summary
    from netdsl.backends.reference import Model
    from netdsl.ir.network import Graph

Shape = str | int | tuple[int | None, ...] | list[int | None]


class UnknownTensorError(CodedError, KeyError):
    """A network has no tensor of this name."""


class Net:
    """A checked network with its numbers, its picture and its executor."""

    def __init__(self, network: Network, found: Found | None = None) -> None:
        self.network = network
        self.found = found

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def doc(self) -> str:
        """The comment above the network in its spec."""
        return self.network.doc

    @property
    def graph(self) -> Graph:
        """The graph: a plain networkx.MultiDiGraph whose nodes carry layer, name, inputs, type and span."""
        return self.network.graph

    @cached_property
    def report(self) -> Report:
        """What every node costs, and the totals."""
        return measure(self.network)

    @property
    def parameters(self) -> int:
        """Numbers in all parameters, without heads that run in training only."""
        return self.report.parameters

    @property
    def trainable_parameters(self) -> int:
        return self.report.trainable_parameters

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of convolution and dense layers for one image; None while an extent is unknown."""
        return self.report.macs

    @property
    def flops(self) -> int | None:
        """2 * macs + all other operations, for one image."""
        return self.report.flops

    @property
    def buffers(self) -> int:
        """How many buffer tensors there are (running means and variances, numbers of batches)."""
        return self.report.buffers

    @property
    def inputs(self) -> dict[str, TensorType]:
        return self.network.input_types()

    @property
    def outputs(self) -> dict[str, TensorType]:
        return {name: self.network.type_of(node) for name, node in self.network.outputs.items()}

    def node(self, name: str) -> Node:
        """The node that makes the tensor called `name`. Raises KeyError."""
        return self.network.node(self._resolve(name))

    def _resolve(self, name: str) -> str:
        try:
            return self.network.resolve(name)
        except KeyError:
            message = f"{self.name} has no tensor called `{name}`"
            raise UnknownTensorError("E0211", message, help_with(name, self.network)) from None

    def summary(self, depth: int | None = None) -> Summary:
        """The table of layers, by scope; `str()` of it is text, and it has `json`, `csv` and `markdown`."""
        from netdsl.analysis.summary import Summary

        return Summary(self.network, self.report, depth)

    def explain(self, name: str) -> str:
        """The arithmetic of one layer with its numbers, as a lecturer writes it on the board. Raises KeyError."""
        from netdsl.analysis.board import explain_layer

        return str(explain_layer(self.network, self._resolve(name)))

    def svg(self, **options: Any) -> str:
        """The drawing as an SVG document. Options are those of `netdsl.draw.Options`, and `style`. Raises DrawError."""
        from netdsl.draw import svg

        return svg(self.network, **options)

    def dot(self, **options: Any) -> str:
        """The drawing as DOT source."""
        from netdsl.draw import dot

        return dot(self.network, **options)

    def draw(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Draws the architecture into a file: .svg, .png, .pdf, .html, .dot, .txt.

        `style` is graph, volumes or board, `theme` light, dark or print; `width` (mm), `dpi`, `depth`, `expand`,
        `fold`, `direction`, `labels`, `heat` and `title` are those of `netdsl.draw.Options`. Raises DrawError.
        """
        from netdsl.draw import render

        render(self.network, path, **options)

    def compile(
        self,
        dtype: Literal["float32", "float64"] = "float32",
        *,
        backend: str = "auto",
        threads: int | None = None,
        precision: Literal["float32", "tf32", "float16", "bfloat16"] | None = None,
        device: int | None = None,
        autotune: Literal["off", "quick", "full"] | None = None,
        deterministic: bool = True,
    ) -> Model:
        """A model of this network: it takes weights and runs.

        `backend` is `auto` (a GPU where there is one, else native code, else NumPy; the reference in float64), `cupy`,
        `native`, `numpy`, `reference` (each layer by itself, nothing reordered; the only one in float64), or another of
        `netdsl.backends.registry`. `threads` is how many a back-end on the CPU may use.

        On a GPU (see docs/gpu.md): `precision` says in which numbers tensors lie and products are taken, `device` which
        GPU, `autotune` whether kernels are timed first, `deterministic` whether only those may be taken that give the
        same bits each time.

        Raises RunError (E0716) for a back-end that cannot run here, or not so.
        """
        from netdsl.backends.compiled import model

        return model(
            self.network, dtype, backend, threads, precision=precision, device=device, autotune=autotune,
            deterministic=deterministic,
        )  # fmt: skip

    def __repr__(self) -> str:
        inputs = ", ".join(str(type) for type in self.inputs.values())
        outputs = ", ".join(str(type) for type in self.outputs.values())
        return f"<Net {self.name}: {inputs} -> {outputs}, {self.parameters:,} parameters>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """In a notebook a network shows its picture and its table."""
        bundle = {"text/plain": repr(self), "text/markdown": self.summary().markdown()}
        picture = self._repr_svg_()
        if picture is None:
            return bundle | {"text/html": self.summary().html()}
        # A deep network is a long picture: it scrolls in a window of its own.
        window = f'<div style="max-height: 46em; overflow: auto">{picture}</div>'
        return bundle | {"image/svg+xml": picture, "text/html": window + self.summary().html()}

    def _repr_svg_(self) -> str | None:
        """The picture; None where there is nothing to draw it with."""
        from netdsl.draw import DrawError

        try:
            return self.svg()
        except DrawError:
            return None


def load(
    spec: str | os.PathLike[str],
    /,
    *,
    shape: Shape | Mapping[str, Shape] | None = None,
    limits: Limits | None = None,
    **parameters: Any,
) -> Net:
    """Loads a network: a path, `path@name` for one network or variant in it, or a name from the library.

    `shape` replaces the shape of the input (a mapping by name where there are several); `parameters` bind the
    parameters of the network. Raises SpecError for what is wrong in the spec, FileError where there is none.
    """
    return _net(find(spec), shape, limits, parameters)


def loads(
    text: str,
    /,
    name: str | None = None,
    *,
    shape: Shape | Mapping[str, Shape] | None = None,
    limits: Limits | None = None,
    **parameters: Any,
) -> Net:
    """Loads a network from the text of a spec; `name` chooses one of several networks or variants in it."""
    return _net(choose(Loader().source(Source(text), None), name), shape, limits, parameters)


def _net(
    found: Found, shape: Shape | Mapping[str, Shape] | None, limits: Limits | None, parameters: Mapping[str, Any]
) -> Net:
    shapes: dict[str, tuple[Extent, ...]] = {}
    if isinstance(shape, Mapping):
        shapes = {name: shape_of(value, "shape") for name, value in shape.items()}
    elif shape is not None:
        shapes = {"": shape_of(shape, "shape")}
    plain = {name: _plain(value, name) for name, value in parameters.items()}
    return Net(build(found, parameters=plain, shapes=shapes, limits=limits), found)


def _plain(value: Any, name: str) -> Any:
    """A parameter as the language has it; NumPy's numbers and arrays become Python's. Raises TypeError."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, name) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name} is {value!r}: parameters are numbers, strings, truth values, None, and lists of them")
