"""The vocabulary of recipes: optimisers, schedules, and the small entries beside them, as frozen models.

The models say what is meant; `optimizers`, `schedules`, `clip` and `ema` do it, so that a recipe is checked without an
array library. Losses are in `netdsl.train.losses`, data and augmentation in `netdsl.data`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from netdsl.data.called import Called

MAX_EPOCHS = 1_000_000
"""Most epochs that a phase may last."""

MAX_BATCH = 1_048_576
"""Most images in a batch."""

MAX_VIEWS = 1_000
"""Most augmented views of an image that are cached."""

MAX_SEED = 2**63 - 1

Rate = Annotated[FiniteFloat, Field(gt=0)]
Unit = Annotated[FiniteFloat, Field(ge=0, le=1)]
BelowOne = Annotated[FiniteFloat, Field(ge=0, lt=1)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Decayed = Literal["all", "weights"]


class Part(Called):
    """Base of everything that an entry of a recipe may call: a frozen model whose fields are its arguments."""

    reference: ClassVar[str]
    """Where the exact definition comes from."""


# --------------------------------------------------------------------------------------------------------- optimisers


class Optimizer(Part):
    """Base of the optimisers. `lr` may also be an entry of its own, in the recipe or in a phase."""

    positional: ClassVar[tuple[str, ...]] = ("lr",)

    lr: Rate | None = Field(None, description="Learning rate; also as the entry `lr`.")
    weight_decay: NotNegative = Field(0.0, description="How strongly parameters are pulled to 0.")
    decay: Decayed = Field("all", description="What decays: all, or weights (not biases, norms and other vectors).")


class Sgd(Optimizer):
    """Stochastic gradient descent: v = momentum v + g, w = w - lr v; with Nesterov's, w = w - lr (g + momentum v).

    g is the gradient plus weight_decay w. The first step takes v = g.
    """

    kind: ClassVar[str] = "sgd"
    reference: ClassVar[str] = "torch.optim.SGD; Sutskever et al. 2013, section 2"

    momentum: BelowOne = Field(0.0, description="How much of the last step goes on.")
    nesterov: bool = Field(False, description="Look ahead along the momentum (Nesterov's).")

    @model_validator(mode="after")
    def _momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true looks ahead along the momentum: give momentum, e.g. momentum = 0.9")
        return self


class RmsProp(Optimizer):
    """RMSProp: s = alpha s + (1 - alpha) g^2, and a step along g over the root of s, with momentum.

    `style = tensorflow`, as EfficientNet and MobileNet were trained: s starts at 1, eps is inside the root, and the
    rate is inside the momentum: m = momentum m + lr g / sqrt(s + eps), w = w - m. `style = pytorch`: s starts at 0,
    m = momentum m + g / (sqrt(s) + eps), w = w - lr m. `centered` takes the square of the mean gradient from s.
    """

    kind: ClassVar[str] = "rmsprop"
    reference: ClassVar[str] = "Tan & Le 2019, section 5; tf.train.RMSPropOptimizer; torch.optim.RMSprop"

    alpha: BelowOne = Field(0.9, description="How slowly the mean square forgets.")
    eps: Rate = Field(1e-3, description="Keeps the quotient finite.")
    momentum: BelowOne = Field(0.9, description="How much of the last step goes on.")
    centered: bool = Field(False, description="Divide by the deviation of the gradient instead of its mean square.")
    style: Literal["tensorflow", "pytorch"] = Field("tensorflow", description="Whose formula: tensorflow or pytorch.")


class Adam(Optimizer):
    """Adam: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w - lr m' / (sqrt(v') + eps), m', v' unbiased.

    g is the gradient plus weight_decay w.
    """

    kind: ClassVar[str] = "adam"
    reference: ClassVar[str] = "Kingma & Ba 2015, algorithm 1; torch.optim.Adam"

    betas: tuple[BelowOne, BelowOne] = Field((0.9, 0.999), description="How slowly the two means forget.")
    eps: Rate = Field(1e-8, description="Keeps the quotient finite.")


class AdamW(Adam):
    """Adam with decoupled weight decay: w = (1 - lr weight_decay) w, then Adam's step on the bare gradient."""

    kind: ClassVar[str] = "adamw"
    reference: ClassVar[str] = "Loshchilov & Hutter 2019, algorithm 2; torch.optim.AdamW"

    weight_decay: NotNegative = Field(0.01, description="How strongly parameters are pulled to 0, by lr weight_decay.")


# ---------------------------------------------------------------------------------------------------------- schedules


class Schedule(Part):
    """Base of the schedules. Each is evaluated at every step; epochs may be fractions of one.

    During warm-up the rate grows in equal steps: step t of w takes (t + 1) / (w + 1) of it.
    """

    warmup: NotNegative = Field(0.0, description="Epochs of warm-up.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps of warm-up, instead of epochs.")

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup and self.warmup_steps:
            raise ValueError("either warmup (epochs) or warmup_steps")
        return self


class Constant(Schedule):
    """The same rate throughout."""

    kind: ClassVar[str] = "constant"
    reference: ClassVar[str] = "torch.optim.lr_scheduler.ConstantLR with factor 1"


class Step(Schedule):
    """The rate times `factor` after every `every` epochs, or at each of the epochs `at`."""

    kind: ClassVar[str] = "step"
    positional: ClassVar[tuple[str, ...]] = ("every", "factor")
    reference: ClassVar[str] = "torch.optim.lr_scheduler.StepLR, MultiStepLR; He et al. 2015, section 3.4"

    every: Rate | None = Field(None, description="Epochs between two steps.")
    factor: Rate = Field(0.1, description="What the rate is multiplied by.")
    at: tuple[Rate, ...] = Field((), description="The epochs behind which the rate falls, e.g. [30, 60, 80].")

    @model_validator(mode="after")
    def _when(self) -> Self:
        if (self.every is None) == (not self.at):
            raise ValueError("either every = EPOCHS or at = [EPOCHS, ...]")
        if list(self.at) != sorted(set(self.at)):
            raise ValueError("at = [...] lists epochs in rising order")
        return self


class Cosine(Schedule):
    """Half a cosine from the rate down to `final`: final + (lr - final) (1 + cos(pi t / T)) / 2, t from the end of
    warm-up."""

    kind: ClassVar[str] = "cosine"
    positional: ClassVar[tuple[str, ...]] = ("warmup",)
    reference: ClassVar[str] = "Loshchilov & Hutter 2017, eq. 5; torch.optim.lr_scheduler.CosineAnnealingLR"

    final: NotNegative = Field(0.0, description="The rate that the curve goes to.")


class Linear(Schedule):
    """A straight line from the rate, at the end of warm-up, down to `final`."""

    kind: ClassVar[str] = "linear"
    reference: ClassVar[str] = "torch.optim.lr_scheduler.LinearLR"

    final: NotNegative = Field(0.0, description="The rate that the line goes to.")


class Exponential(Schedule):
    """The rate times factor^(epoch / every); with `staircase` it falls in steps, at whole multiples of `every`."""

    kind: ClassVar[str] = "exponential"
    positional: ClassVar[tuple[str, ...]] = ("factor", "every")
    reference: ClassVar[str] = "tf.train.exponential_decay; Tan & Le 2019, section 5 (0.97 every 2.4 epochs)"

    factor: Annotated[FiniteFloat, Field(gt=0, le=1)] = Field(description="What the rate is multiplied by.")
    every: Rate = Field(1.0, description="Epochs until the rate has fallen by the factor.")
    staircase: bool = Field(False, description="In steps instead of smoothly.")


# -------------------------------------------------------------------------------------------------------------- others


class ClipNorm(Part):
    """Gradients g become g min(1, norm / (|g| + 1e-6)), |g| the Euclidean norm of all of them together."""

    kind: ClassVar[str] = "norm"
    positional: ClassVar[tuple[str, ...]] = ("most",)
    reference: ClassVar[str] = "torch.nn.utils.clip_grad_norm_; Pascanu et al. 2013, section 3.2"

    most: Rate = Field(description="Largest norm.")


class ClipValue(Part):
    """Each element of the gradient is kept within [-most, most]."""

    kind: ClassVar[str] = "value"
    positional: ClassVar[tuple[str, ...]] = ("most",)
    reference: ClassVar[str] = "torch.nn.utils.clip_grad_value_"

    most: Rate = Field(description="Largest absolute value.")


class Features(Part):
    """Keeps the activations of the frozen part on disk. `views` augmented versions of each image are kept, and the
    epochs take them in turn; without it each image has one, and nothing may be random."""

    kind: ClassVar[str] = "features"
    positional: ClassVar[tuple[str, ...]] = ("views",)
    reference: ClassVar[str] = "Donahue et al. 2014, section 3"

    views: Annotated[int, Field(ge=1, le=MAX_VIEWS)] | None = Field(None, description="Augmented views of each image.")


OPTIMIZERS: dict[str, type[Part]] = {cls.kind: cls for cls in (Sgd, RmsProp, Adam, AdamW)}
SCHEDULES: dict[str, type[Part]] = {cls.kind: cls for cls in (Constant, Step, Cosine, Linear, Exponential)}
CLIPS: dict[str, type[Part]] = {cls.kind: cls for cls in (ClipNorm, ClipValue)}
CACHES: dict[str, type[Part]] = {Features.kind: Features}
