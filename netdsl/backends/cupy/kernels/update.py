"""One step of an optimiser in three launches: the squares of the gradients, what follows from them, the update.

Parameters, their state and their moving average are flat float32 vectors; gradients may have any type, and a copy of
the parameters in the type that they are computed with is written in the same sweep. What changes from step to step
lies on the device: `given` (the learning rate, float32), `state` (float64, by `STATE`), `scalars` (float32). A captured
graph of these launches is replayed as it is.

Where a gradient is infinite or NaN nothing is updated, `state[SKIPPED]` is 1, and with a loss scale that is halved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from netdsl.backends.cupy.kernels.functions import literal
from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, blocks, specialised
from netdsl.backends.cupy.kernels.view import ITEM_BYTES

STATE = ("STEPS", "NORM", "SKIPPED", "LOSS_SCALE", "GOOD_STEPS")
"""Places in `state`: steps that were taken; the norm of the last gradients, unscaled, before clipping; whether the last
step was left out; the loss scale; good steps since it changed."""
SCALARS = ("FACTOR", "LR", "FIRST", "SECOND", "KEEP", "SKIP")
"""Places in `scalars`, which the second launch fills: what gradients are multiplied by; the rate; with Adam
lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t); how much the moving average keeps; whether to skip."""
GROWTH_STEPS = 2000
GROWTH = 2.0
BACKOFF = 0.5
FIRST_SCALE = 65536.0
MOST_SCALE = 2.0**24
"""The loss scale of float16: torch.amp.GradScaler's numbers, and a ceiling."""
THREADS = 256
_BLOCKS = 1056
"""Eight blocks for each processor of an H200; a smaller device takes them in turns."""
_KINDS = ("sgd", "rmsprop", "adam", "adamw")


@dataclass(frozen=True)
class Update:
    """An optimiser's numbers, by the names of a recipe, and what is asked for besides its step."""

    kind: str
    """sgd, rmsprop, adam or adamw."""
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    alpha: float = 0.0
    eps: float = 0.0
    centered: bool = False
    tensorflow: bool = False
    """Whose RMSProp."""
    betas: tuple[float, float] = (0.0, 0.0)
    clip_norm: float | None = None
    clip_value: float | None = None
    average: float | None = None
    """The decay of a moving average, if one is kept."""
    scaled: bool = False
    """Whether gradients carry a loss scale."""

    @staticmethod
    def of(optimizer: Any, clip: Any = None, average: float | None = None, scaled: bool = False) -> Update:
        """That of a recipe's parts. Raises ValueError for an optimiser without a kernel."""
        if optimizer.kind not in _KINDS:
            raise ValueError(f"no kernel updates by {optimizer.kind}")
        known = {field.name for field in fields(Update)} & set(type(optimizer).model_fields)
        return Update(
            optimizer.kind,
            **{name: getattr(optimizer, name) for name in known},
            tensorflow=getattr(optimizer, "style", "") == "tensorflow",
            clip_norm=clip.most if clip is not None and clip.kind == "norm" else None,
            clip_value=clip.most if clip is not None and clip.kind == "value" else None,
            average=average,
            scaled=scaled,
        )

    @property
    def letters(self) -> tuple[str, str, str]:
        """The state vectors, by the letters of netdsl/train/optimizers.py, in the order of the kernel's arguments
        `first`, `second` and `third`; `-` is one that it does without."""
        moving = self.momentum > 0
        if self.kind == "sgd":
            return ("v" if moving else NONE, NONE, NONE)
        if self.kind == "rmsprop":
            return ("s", "c" if self.centered else NONE, "m" if moving else NONE)
        return ("m", "v", NONE)


def update(
    wanted: Update, count: int, *, gradients: str = "float32", copy: str | None = None, undecayed: bool = False
) -> Work:
    """The whole step over `count` numbers.

    Arguments: `weights`, `gradients`, the letters of the optimiser, `average`, `copy` (parameters as type `copy`),
    `undecayed` (a byte for each parameter: 1 is not decayed), `given`, `state`, `scalars`.
    """
    first = _squares(count, gradients)
    squares = first.grid
    second = Kernel(
        "update_ready",
        specialised(
            "update_ready.cu", {"THREADS": THREADS, "PARTS": squares, "SCALED": wanted.scaled}, {}, _numbers(wanted)
        ),
        ("squares", "given", "state", "scalars"), 1, (THREADS, 1, 1), writes=("state", "scalars"),
    )  # fmt: skip
    third = step(wanted, count, gradients=gradients, copy=copy, undecayed=undecayed, skip=True)
    moved = third.bytes + count * ITEM_BYTES[gradients]
    return Work((first, second, *third.kernels), {"squares": 8 * squares}, moved, third.flops + 2 * count)


def norm(count: int, gradients: str = "float32") -> Work:
    """`square`, a float32: the squares of `gradients` added up in double precision."""
    first = _squares(count, gradients)
    second = Kernel(
        "norm_end",
        specialised("norm_end.cu", {"THREADS": THREADS, "PARTS": first.grid}, {}),
        ("squares", "square"), 1, (THREADS, 1, 1), writes=("square",),
    )  # fmt: skip
    return Work((first, second), {"squares": 8 * first.grid}, count * ITEM_BYTES[gradients], 2 * count)


def _squares(count: int, gradients: str) -> Kernel:
    grid = min(_BLOCKS // 2, blocks(count, THREADS * 16))
    return Kernel(
        "norm_of",
        specialised("norm_of.cu", {"THREADS": THREADS, "BLOCKS": grid}, {"G": gradients}),
        ("gradients", "squares"), grid, (THREADS, 1, 1), (count,), writes=("squares",),
    )  # fmt: skip


def step(
    wanted: Update,
    count: int,
    *,
    gradients: str = "float32",
    copy: str | None = None,
    undecayed: bool = False,
    skip: bool = False,
) -> Work:
    """The last launch alone, by `scalars` that somebody else has filled; with `skip` their last place is looked at."""
    kernel = _step(wanted, count, gradients, copy, undecayed, skip)
    vectors = sum(letter != NONE for letter in wanted.letters) + 1 + (wanted.average is not None)
    moved = count * (8 * vectors + ITEM_BYTES[gradients] + (ITEM_BYTES[copy] if copy else 0) + undecayed)
    return Work((kernel,), {}, moved, 10 * count)


def _step(wanted: Update, count: int, gradients: str, copy: str | None, undecayed: bool, skip: bool) -> Kernel:
    first, second, third = wanted.letters
    grid = min(_BLOCKS, blocks(count, THREADS * 4))
    constants: dict[str, int | bool] = {kind.upper(): number for number, kind in enumerate(_KINDS)}
    constants |= {
        "KIND": _KINDS.index(wanted.kind), "THREADS": THREADS, "BLOCKS": grid,
        "HAS_FIRST": first != NONE, "HAS_SECOND": second != NONE, "HAS_THIRD": third != NONE,
        "HAS_AVERAGE": wanted.average is not None, "HAS_COPY": copy is not None, "HAS_UNDECAYED": undecayed,
        "HAS_SKIP": skip, "NESTEROV": wanted.nesterov, "TENSORFLOW": wanted.tensorflow,
    }  # fmt: skip
    alpha, beta = wanted.betas if wanted.kind.startswith("adam") else (wanted.alpha, 0.0)
    floats = {
        "MOMENTUM": wanted.momentum, "ALPHA": alpha, "BETA": beta, "EPS": wanted.eps, "DECAY": wanted.weight_decay,
        "CLIP_VALUE": wanted.clip_value or 0.0,
    }  # fmt: skip
    return Kernel(
        "update",
        specialised(
            "update.cu",
            constants,
            {"G": gradients, "T": copy or "float32"},
            [*_places(SCALARS), *(f"constexpr float {name} = {literal(value)};" for name, value in floats.items())],
        ),
        ("weights", "gradients", first, second, third, "average" if wanted.average is not None else NONE,
         "copy" if copy else NONE, "undecayed" if undecayed else NONE, "scalars"),
        grid, (THREADS, 1, 1), (count,), writes=("weights", first, second, third, "average", "copy"),
    )  # fmt: skip


def _numbers(wanted: Update) -> Sequence[str]:
    doubles = {
        "CLIP_NORM": wanted.clip_norm or 0.0, "BETA1": wanted.betas[0], "BETA2": wanted.betas[1],
        "EMA_DECAY": wanted.average or 0.0, "GROWTH": GROWTH, "BACKOFF": BACKOFF,
        "GROWTH_STEPS": float(GROWTH_STEPS), "MOST_SCALE": MOST_SCALE,
    }  # fmt: skip
    values = [f"constexpr double {name} = {float(value)!r};" for name, value in doubles.items()]
    return [*_places(STATE), *_places(SCALARS), *values]


def _places(names: Sequence[str]) -> list[str]:
    return [f"constexpr int {name} = {number};" for number, name in enumerate(names)]
