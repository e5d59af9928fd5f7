"""Numbers moved from one order of axes to another, along up to six axes. A unit is one place on the first two."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, field
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target

AXES = 6


@dataclass(frozen=True)
class StridedKernel:
    """A variant: `run` where numbers follow each other along the last axis on both sides."""

    run: bool

    fields: ClassVar[tuple[str, ...]] = (
        "x", "out", *(f"{name}{axis}" for axis in range(AXES) for name in ("extent", "from", "to")),
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as unit, ExitStack() as loops:
            places = [unit // a["extent1"], unit % a["extent1"]]
            places += [loops.enter_context(e.loop(0, a[f"extent{axis}"])) for axis in range(2, AXES - 1)]
            x, out = a["x"], a["out"]
            for axis, place in enumerate(places):
                x, out = x + place * a[f"from{axis}"], out + place * a[f"to{axis}"]
            last = a[f"extent{AXES - 1}"]
            if self.run:
                each_vector(e, last, lambda i, mask: e.store(e.load(x + i * 4, mask), out + i * 4, mask))
            else:
                with e.loop(0, last) as i:
                    value = e.load_scalar(x + i * a[f"from{AXES - 1}"])
                    e.store_scalar(value, out + i * a[f"to{AXES - 1}"])
        return e.finish()
