"""Resampling: a candidate."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.backends.cupy.kernels.candidates.base import Family, Form, function_of, view, without_residual
from netdsl.backends.cupy.kernels.resample import resample
from netdsl.layers.resample import Resampling
from netdsl.program.ir import Step


class Resamplings(Family):
    name = "resample"
    kinds = frozenset({"upsample", "upsample_like"})

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        (step,) = steps
        without_residual(step)
        if function_of(step.activation) is not None:
            raise ValueError("an activation behind resampling")
        if len(step.output.type.spatial) > 2:
            raise ValueError("more than two spatial axes")
        layer = step.layer
        assert isinstance(layer, Resampling)
        work = resample(
            view(step.inputs[0], storage), view(step.output, storage),
            bilinear=layer.mode == "bilinear", align=layer.align_corners,
        )  # fmt: skip
        return [Form(work, {"x": step.inputs[0], "y": step.output})]


CANDIDATE = Resamplings()
