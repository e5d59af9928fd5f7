"""Nearest and bilinear resampling, both ways."""

from __future__ import annotations

from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, blocks, specialised
from netdsl.backends.cupy.kernels.view import View, index_type, vector

THREADS = 128


def resample(
    x: View, y: View, *, bilinear: bool, align: bool = False, backward: bool = False, plus: View | None = None
) -> Work:
    """y = x at the size of y. With `backward`, x is the gradient of the output and y that of the input, plus `plus`."""
    v = vector([x, y, *([plus] if plus else [])])
    given, made = (y, x) if backward else (x, y)
    constants: dict[str, int | bool] = {
        "N": x.shape[0], "H": given.shape[1], "W": given.shape[2], "C": x.channels, "OH": made.shape[1],
        "OW": made.shape[2], "V": v, "THREADS": THREADS, "BILINEAR": bilinear, "ALIGN": align, "BACKWARD": backward,
        "HAS_PLUS": plus is not None,
    }  # fmt: skip
    for letter, view in (("X", x), ("Y", y), ("P", plus or y)):
        constants |= {f"{letter}_{axis}": stride for axis, stride in zip("NHW", view.strides, strict=True)}
    kernel = Kernel(
        "resample",
        specialised("resample.cu", constants, {"T": x.dtype}, [f"typedef {index_type([x, y, plus or y])} INDEX;"]),
        ("dy" if backward else "x", "plus" if plus else NONE, "dx" if backward else "y"),
        blocks(y.size // v, THREADS),
        (THREADS, 1, 1),
        writes=("y", "dx"),
    )
    return Work((kernel,), {}, x.bytes + y.bytes, (8 if bilinear else 0) * made.size, str(v))
