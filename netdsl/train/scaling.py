"""Loss scaling: small gradients survive in float16 when the loss is large.

The loss, and with it every gradient, is multiplied by a scale; the optimiser divides by it. A gradient that overflows
is no reason to stop: that step is left out and the scale made smaller. It grows again after many good steps
(Micikevicius et al. 2018, Mixed precision training, section 3.2; the numbers are those of PyTorch's GradScaler).
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SCALE = 2.0**16
LEAST_SCALE = 1.0
"""Gradients that overflow even so are too large for float16."""
MOST_SCALE = 2.0**24
GROWTH, BACKOFF, GROWTH_STEPS = 2.0, 0.5, 2000


@dataclass
class LossScale:
    """The scale, and how many good steps there have been since it changed. `fixed` stays as it is."""

    value: float = FIRST_SCALE
    good: int = 0
    fixed: bool = False

    def good_step(self) -> None:
        """Every gradient of a step was finite."""
        self.good += 1
        if self.good >= GROWTH_STEPS and not self.fixed:
            self.value, self.good = min(MOST_SCALE, self.value * GROWTH), 0

    def overflow(self) -> bool:
        """A gradient was not finite: whether the next step may try with a smaller scale."""
        self.good = 0
        if self.fixed or self.value <= LEAST_SCALE:
            return False
        self.value = max(LEAST_SCALE, self.value * BACKOFF)
        return True


def scale_for(precision: str) -> LossScale:
    """The scale to begin with: only float16 needs one, other types reach as far down as float32."""
    return LossScale() if precision == "float16" else LossScale(1.0, fixed=True)
