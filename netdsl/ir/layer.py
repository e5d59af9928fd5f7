"""The contract of a layer: everything that the mathematics of one operation fixes, in one place.

A layer is a frozen pydantic model. Its fields are its attributes as they are written in a spec; its methods say which
type comes out, which weights it owns, what it costs, how far it sees, and what it computes. A layer knows nothing of
the network around it: every method is given the types (or arrays) of its inputs.

Adding a layer is one class in `netdsl/layers/` and one line in its vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from netdsl.ir.types import TensorType

Array = Any
"""An array of whichever library runs the layer (NumPy, CuPy); layers are handed the library as `xp`."""

Nested = float | int | tuple["Nested", ...]


class LayerError(Exception):
    """A layer does not accept its inputs.

    `code` is a diagnostic code (see `netdsl/language/codes.py`), `message` says what was found and what was expected
    with the numbers filled in, `help` suggests a mend that would fit.
    """

    def __init__(self, code: str, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor that a layer owns, named and laid out as PyTorch does.

    A parameter is learned (or, with `trainable` false, fixed by the spec); a buffer is state that is not learned, such
    as a running mean. `initial` says how a fresh one is made: `zeros`, `ones`, `kaiming` (uniform, scaled by the
    fan-in: the product of the axes behind the first), or the values themselves, as one number for all of them or as
    nested tuples that broadcast to this shape. Its full name is the address of the layer, a dot and `name`; where
    `name` is empty it is the address itself, as for a parameter that belongs to no module (ConvNeXt's
    `features.1.0.layer_scale`).
    """

    name: str
    shape: tuple[int, ...]
    role: Literal["parameter", "buffer"] = "parameter"
    trainable: bool = True
    initial: Literal["zeros", "ones", "kaiming"] | Nested = "zeros"
    dtype: Literal["float32", "int64"] = "float32"

    @property
    def size(self) -> int:
        product = 1
        for extent in self.shape:
            product *= extent
        return product


class Cost(NamedTuple):
    """What one image costs.

    `macs` are the multiply-accumulates of convolution and dense layers (the headline; 1 MAC = 2 FLOPs). `flops` are
    all other arithmetic operations: bias additions, activations, normalisation, pooling, joins; one for each addition,
    multiplication, comparison or evaluation of a function. `connections` counts inputs (and biases) of units, as
    LeCun et al. 1998 do; it is 0 for layers that have no units.
    """

    macs: int = 0
    flops: int = 0
    connections: int = 0


class Window(NamedTuple):
    """Which inputs an output position sees along each spatial axis (Araujo et al. 2019, distill.pub, eq. 1-3).

    `size` counts inputs from the first to the last seen (dilation included), `stride` is the step between neighbouring
    outputs, in inputs (below 1 where a layer enlarges: a Fraction), `padding` is how far the first window begins
    before the input.
    """

    size: tuple[int, ...]
    stride: tuple[Any, ...]
    padding: tuple[Any, ...]


class Global(NamedTuple):
    """Every output sees the whole input: a dense layer, a global pool."""


class Draw(Protocol):
    """The random numbers of one node in one training step (see `netdsl/train/draw.py`)."""

    def uniform(self, shape: Sequence[int]) -> Array:
        """Numbers in [0, 1) of the given shape, float32 whatever the network computes in; other ones at each call."""


_NONE: Mapping[str, Array] = MappingProxyType({})


class Trained(NamedTuple):
    """What a layer computes in training."""

    output: Array
    extra: tuple[Array, ...] = ()
    """What `backward` gets back as it is: a mask, the statistics of the batch."""
    buffers: Mapping[str, Array] = _NONE
    """New values of buffers, by `Weight.name`."""


class Passed(NamedTuple):
    """A forward pass, as the way back sees it, and what is asked for; see `Layer.backward`."""

    inputs: tuple[Array, ...]
    output: Array
    extra: tuple[Array, ...]
    weights: Mapping[str, Array]
    wanted: tuple[bool, ...]
    wanted_weights: frozenset[str]

    @property
    def x(self) -> Array:
        """The first input."""
        return self.inputs[0]


class Gradients(NamedTuple):
    """The derivatives of the loss.

    Any of them may be the gradient that came in or a view of it: who wants to write into one copies it.
    """

    inputs: tuple[Array | None, ...]
    """One for each input, with its shape; may be None where it is not wanted."""
    weights: Mapping[str, Array] = _NONE
    """By `Weight.name`, with the shape of the weight; holds at least those that are wanted."""


class Arity(NamedTuple):
    """How many tensors a layer takes. `most` is None where there is no bound."""

    least: int
    most: int | None


ONE = Arity(1, 1)
MANY = Arity(1, None)


class Layer(BaseModel):
    """Base of all layers. Subclasses fill in the class variables and `infer`; the rest has defaults for a layer
    without weights that works on each element by itself."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)

    kind: ClassVar[str]
    """The name of the layer in a spec, e.g. `conv`."""
    positional: ClassVar[tuple[str, ...]] = ()
    """Attributes that may be given by position, in this order."""
    arity: ClassVar[Arity] = ONE
    read: ClassVar[int | None] = None
    """Of how many of its inputs, the first ones, it reads the numbers; of the others only the shape. None: of all."""
    category: ClassVar[str]
    """What a diagram colours by: conv, dense, pool, norm, activation, join, reshape, regularisation, fixed."""
    reference: ClassVar[str]
    """Paper and section, or the ONNX operator."""
    keeps: ClassVar[frozenset[str]] = frozenset()
    """Whose numbers `backward` reads again, of {"inputs", "output"}. Of the others only the shape is there."""
    stochastic: ClassVar[bool] = False
    """Whether it draws random numbers in training."""

    @abstractmethod
    def infer(self, *inputs: TensorType) -> TensorType:
        """The type of the output. Raises LayerError where the inputs do not fit."""

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        """The tensors this layer owns, in PyTorch's order."""
        return ()

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        """What one image costs; None while an extent is unknown. Default: one FLOP for each output element."""
        elements = output.elements
        return None if elements is None else Cost(flops=elements)

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        """What an output position sees; None where it sees just its own position."""
        return None

    def board(self, inputs: Sequence[TensorType], output: TensorType) -> Mapping[str, Sequence[str]]:
        """How its figures come about, with the numbers filled in: lines under `output`, `parameters`, `macs`, `flops`.

        What is left out is explained from the figures alone (see `netdsl/analysis/board.py`).
        """
        return {}

    def forward(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array]) -> Array:
        """The output for a batch, in evaluation mode.

        `xp` is the array library, `inputs` have shape (N, *type.shape), `weights` are keyed by `Weight.name`.
        """
        raise TypeError(f"{self.kind} has no forward")

    def frozen(self) -> Layer:
        """The layer as it is in training while none of its weights is: itself, unless it would learn all the same
        (a batch normalization then keeps its running statistics)."""
        return self

    def train(self, xp: Any, inputs: Sequence[Array], weights: Mapping[str, Array], draw: Draw) -> Trained:
        """The output for a batch, in training mode; like `forward`, which is the default. Writes into no argument."""
        return Trained(self.forward(xp, inputs, weights))

    def backward(
        self,
        xp: Any,
        dy: Array,
        inputs: Sequence[Array],
        output: Array,
        extra: Sequence[Array],
        weights: Mapping[str, Array],
        wanted: Sequence[bool],
        wanted_weights: frozenset[str],
    ) -> Gradients:
        """The derivatives of the loss, given that in the output, `dy`, of the output's shape and type.

        `inputs`, `output`, `weights` and `extra` are those of `train`, but the numbers of `inputs` and of `output` may
        be anything unless `keeps` names them: their shapes and types always are as they were. `wanted` says for each
        input, and `wanted_weights` by `Weight.name`, which derivatives are asked for. Writes into no argument. A layer
        that cannot be differentiated raises TypeError.
        """
        passed = Passed(tuple(inputs), output, tuple(extra), weights, tuple(wanted), wanted_weights)
        return self.derive(xp, dy, passed)

    def derive(self, xp: Any, dy: Array, passed: Passed) -> Gradients:
        """What `backward` computes: the one of both that a layer defines."""
        raise TypeError(f"{self.kind} has no gradient")

    @property
    def differentiable(self) -> bool:
        """Whether it has a gradient."""
        return type(self).derive is not Layer.derive
