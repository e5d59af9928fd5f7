"""Are the gradients right? A check of a layer, or of a whole network, against differences of its own outputs.

With random factors r, f = sum(r * output) is a number whose derivatives the backward pass gives all at once. Each is
compared with the central difference (f(x + h v) - f(x - h v)) / 2 h, in float64: for single elements of every input
and parameter, and for random directions v, which take all elements of one at a time. At a kink, such as that of `relu`
at 0, there is no derivative: a difference whose step jumps over one is wrong, so several steps h are tried, and the one
that agrees best counts. A gradient that is wrong agrees with none of them.

    >>> from netdsl.layers.activation import Silu
    >>> print(gradcheck(Silu(), [(3, 5, 5)]))
    silu: 24 derivatives, largest error ... of 1e-06 allowed: passed
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.analysis.training import default_trainable
from netdsl.ir.layer import Array, Layer, Trained, Weight
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.train.draw import PhiloxDraw
from netdsl.train.losses import Loss
from netdsl.train.one_pass import hollow
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.initial import fresh
from netdsl.weights.store import WeightStore

STEPS = (1e-4, 1e-5, 1e-6)
"""h. The error of a difference is about h^2 times the third derivative, plus 1e-16 / h from rounding."""

Values = NDArray[np.float64]
Direction = tuple[str, Values, Values]
"""What moves: its name, its numbers (which are changed and changed back), and along which direction of their shape."""


class Derivative(NamedTuple):
    """One that was checked."""

    what: str
    """`input 1`, or the name of a parameter; and `[2, 0, 1]` for an element, `along 3` for the third direction."""
    computed: float
    """By the backward pass."""
    measured: float
    """By the difference that is nearest to it."""
    error: float
    """Their distance, relative to the larger of both and to what derivatives of this tensor are like."""


@dataclass(frozen=True)
class GradcheckReport:
    """What `gradcheck` found; its text is one line, and one more for each derivative that is wrong."""

    subject: str
    derivatives: tuple[Derivative, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        return not self.wrong

    @property
    def worst(self) -> float:
        """The largest error; NaN where a derivative is NaN."""
        return float(np.max([derivative.error for derivative in self.derivatives], initial=0.0))

    @property
    def wrong(self) -> tuple[Derivative, ...]:
        return tuple(found for found in self.derivatives if not found.error <= self.tolerance)

    def __str__(self) -> str:
        verdict = "passed" if self.passed else f"{len(self.wrong)} are wrong"
        head = (
            f"{self.subject}: {len(self.derivatives)} derivatives, largest error {self.worst:.2g} "
            f"of {self.tolerance:g} allowed: {verdict}"
        )
        lines = [f"  {d.what}: backward says {d.computed:.9g}, the difference is {d.measured:.9g}" for d in self.wrong]
        return "\n".join([head, *lines])


def gradcheck(
    subject: Layer | Network,
    shapes: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
    *,
    inputs: Sequence[Array] | None = None,
    batch: int = 2,
    elements: int = 8,
    directions: int = 4,
    tolerance: float = 1e-6,
) -> GradcheckReport:
    """Compares the gradients of a layer or of a network, in training mode, with differences.

    `shapes` are those of the inputs without the batch, e.g. [(3, 8, 8)]; for a network they may be left out where the
    spec says them. Inputs are `batch` images of normally distributed numbers, or `inputs` themselves (arrays
    (N, *shape)), for a layer that is defined on some numbers only. Of each input and parameter `elements` elements and
    `directions` directions are checked; of a network only the parameters. What a layer does not name in `keeps` is NaN
    while its backward runs, and no array may be written into.

    Raises LayerError where the shapes do not fit the layer, TypeError for a layer without a gradient, ValueError for
    one that writes into its arguments, TrainError for a network without parameters.
    """
    rng = np.random.default_rng(seed)
    if inputs is None:
        if shapes is None and isinstance(subject, Network):
            shapes = [tuple(extent or 16 for extent in type_.shape) for type_ in subject.input_types().values()]
        inputs = [rng.standard_normal((batch, *shape)) for shape in shapes or ()]
    arrays = [np.array(array, np.float64) for array in inputs]
    if isinstance(subject, Network):
        return _check_network(subject, arrays, rng, seed, elements, directions, tolerance)
    return _check_layer(subject, arrays, rng, seed, elements, directions, tolerance)


def _check_layer(
    layer: Layer,
    arrays: list[Values],
    rng: np.random.Generator,
    seed: int,
    elements: int,
    directions: int,
    limit: float,
) -> GradcheckReport:
    types = [TensorType(tuple(array.shape[1:])) for array in arrays]
    layer.infer(*types)
    owned = layer.weights(*types)
    weights = {weight.name: _values(weight, rng, seed) for weight in owned}
    learned = {weight.name: weights[weight.name] for weight in owned if weight.role == "parameter"}

    def run() -> Trained:
        return layer.train(np, arrays, weights, PhiloxDraw(seed, 0, layer.kind))

    done = run()
    factors = rng.standard_normal(done.output.shape)
    read = arrays[: layer.read]
    wanted = tuple(index < len(read) for index in range(len(arrays)))
    kept = [_locked(array) if "inputs" in layer.keeps else hollow(array) for array in arrays]
    output = _locked(done.output) if "output" in layer.keeps else hollow(done.output)
    extra = [_locked(array) for array in done.extra]
    fixed = {name: _locked(array) for name, array in weights.items()}
    found = layer.backward(np, _locked(factors), kept, output, extra, fixed, wanted, frozenset(learned))
    moved = {f"input {index + 1}": array for index, array in enumerate(read)} | learned
    gradients = {f"input {index + 1}": found.inputs[index] for index in range(len(read))} | {
        name: found.weights[name] for name in learned
    }
    for name, gradient in gradients.items():
        if gradient is None or gradient.shape != moved[name].shape:
            shape = None if gradient is None else gradient.shape
            raise TypeError(f"{layer.kind}: the gradient of {name} has shape {shape}, not {moved[name].shape}")
    scale = float(np.linalg.norm(done.output * factors))
    checks = _checks(moved, gradients, rng, elements, directions, lambda: float((run().output * factors).sum()), scale)
    return GradcheckReport(layer.kind, tuple(checks), limit)


class _Product(Loss):
    """f: the sum of outputs times targets."""

    def value_and_gradient(self, xp: Any, outputs: Array, targets: Array) -> tuple[float, Array]:
        return float((outputs * targets).sum()), xp.broadcast_to(targets, outputs.shape)


def _check_network(
    network: Network,
    arrays: list[Values],
    rng: np.random.Generator,
    seed: int,
    elements: int,
    directions: int,
    limit: float,
) -> GradcheckReport:
    store = WeightStore(network, "float64")
    store.initialize(seed)
    heads = dict.fromkeys(network.auxiliary, 0.5)
    engine = ReferenceEngine(network, store, default_trainable(network, heads), _Product(), heads)
    for name, view in engine.parameters.views.items():
        view[...] += _noise(store.slots[name].weight, rng)
    named = dict(zip(network.inputs, arrays, strict=True))
    # The first step says which shapes the outputs have, which may have been open; its loss is 0.
    zeros = {name: np.zeros(()) for name in engine.plan.heads}
    outputs = engine.step(named, zeros, seed, 0).outputs
    targets = {name: rng.standard_normal(outputs[name].shape) for name in engine.plan.heads}
    engine.step(named, targets, seed, 0)
    gradients = {name: np.array(view) for name, view in engine.gradients.views.items()}
    scale = float(np.linalg.norm([np.linalg.norm(outputs[name] * target) for name, target in targets.items()]))

    def value() -> float:
        return engine.step(named, targets, seed, 0).loss

    checks = _checks(engine.parameters.views, gradients, rng, elements, directions, value, scale)
    return GradcheckReport(network.name, tuple(checks), limit)


def _checks(
    moved: Mapping[str, Values],
    gradients: Mapping[str, Array],
    rng: np.random.Generator,
    elements: int,
    directions: int,
    value: Callable[[], float],
    scale: float,
) -> Iterator[Derivative]:
    for name, array in moved.items():
        gradient = np.asarray(gradients[name])
        typical = float(np.sqrt(np.mean(np.square(gradient)))) if gradient.size else 0.0
        for what, direction in _directions(array, rng, elements, directions):
            computed = float((gradient * direction).sum())
            measured = [_difference(array, direction, step, value) for step in STEPS]
            # Rounding alone makes differences of 1e-10 times the size of what is summed up.
            errors = [abs(m - computed) / max(abs(m), abs(computed), typical, 1e-4 * scale, 1e-12) for m in measured]
            best = int(np.nanargmin(errors)) if not all(np.isnan(errors)) else 0
            yield Derivative(f"{name} {what}", computed, measured[best], errors[best])


def _directions(
    array: Values, rng: np.random.Generator, elements: int, directions: int
) -> Iterator[tuple[str, Values]]:
    """Elements, all of them where there are few, and directions of length 1."""
    for place in rng.permutation(array.size)[:elements]:
        index = np.unravel_index(place, array.shape)
        direction = np.zeros(array.shape)
        direction[index] = 1
        yield str([int(i) for i in index]), direction
    for number in range(directions if array.size > 1 else 0):
        direction = rng.standard_normal(array.shape)
        yield f"along {number + 1}", direction / np.linalg.norm(direction)


def _difference(array: Values, direction: Values, step: float, value: Callable[[], float]) -> float:
    """The central difference of f; `array` is as it was afterwards."""
    before = array.copy()
    array[...] = before + step * direction
    above = value()
    array[...] = before - step * direction
    below = value()
    array[...] = before
    return (above - below) / (2 * step)


def _values(weight: Weight, rng: np.random.Generator, seed: int) -> Array:
    """What a weight starts from, and some noise, so that neither zeros nor ones hide an error."""
    values = fresh(weight.name, weight, seed, "float64")
    return values if weight.dtype == "int64" else np.asarray(values + _noise(weight, rng))


def _noise(weight: Weight, rng: np.random.Generator) -> Values:
    """Normally distributed; above 0 for buffers, among which are variances."""
    return 0.3 * rng.standard_normal(weight.shape) if weight.role == "parameter" else rng.random(weight.shape)


def _locked(array: Array) -> Array:
    """A view that cannot be written into."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
