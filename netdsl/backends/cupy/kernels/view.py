"""How a tensor lies in the memory of the device, as kernels see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import gcd, prod

from netdsl.program.ir import Tensor

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}
C_TYPES = {"float32": "float", "float16": "half_t", "bfloat16": "bfloat_t", "uint8": "unsigned char"}
STORAGE = ("float32", "float16", "bfloat16")
"""What numbers of a network may be stored as."""
MAX_VECTOR = 8
"""Numbers that a thread reads at once: 16 bytes of half precision."""
WORD_BYTES = 16


@dataclass(frozen=True)
class View:
    """N images of H x W positions of C channels: number (n, h, w, c) at n sn + h sh + w sw + c.

    `offset` counts the numbers from a multiple of 64 bytes to the first: kernels get the address of the first, and only
    its alignment matters.
    """

    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int]
    dtype: str = "float32"
    offset: int = 0

    @property
    def positions(self) -> int:
        """Positions of one image."""
        return self.shape[1] * self.shape[2]

    @property
    def channels(self) -> int:
        return self.shape[3]

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * ITEM_BYTES[self.dtype]

    @property
    def reach(self) -> int:
        """Numbers from the first to behind the last."""
        return sum((n - 1) * s for n, s in zip(self.shape, (*self.strides, 1), strict=True)) + 1

    @property
    def dense(self) -> bool:
        """Whether there are no gaps."""
        return self.strides == dense(self.shape).strides

    @property
    def even(self) -> bool:
        """Whether the positions of an image are all equally far apart."""
        return self.shape[1] == 1 or self.strides[1] == self.shape[2] * self.strides[2]

    @property
    def step(self) -> int:
        """Numbers from a position to the next, where these are even."""
        return self.strides[2] if self.shape[2] > 1 or self.shape[1] == 1 else self.strides[1]

    def flat(self) -> View:
        """All images as one row of positions, where these are even across images too; else the same view."""
        n, h, w, c = self.shape
        if not self.even or (n > 1 and self.strides[0] != h * w * self.step):
            return self
        long = n * h * w
        return replace(self, shape=(1, 1, long, c), strides=(long * self.step, long * self.step, self.step))

    def of(self, dtype: str) -> View:
        return replace(self, dtype=dtype)


def dense(shape: tuple[int, ...], dtype: str = "float32") -> View:
    """A view of an array (N, H, W, C) without gaps; (N, C) and (N, W, C) have a single position or row."""
    n, *spatial, c = shape
    h, w = (1, prod(spatial)) if len(spatial) > 2 else (1, 1, *spatial)[-2:]
    return View((n, h, w, c), (h * w * c, w * c, c), dtype)


def view_of(tensor: Tensor, dtype: str) -> View | None:
    """The view of a Program's tensor; None where it has three spatial axes that are no even row of positions."""
    n, *spatial, c = tensor.shape
    first, *strides, _ = (*tensor.strides[:1], *tensor.strides[1:-1], 1)
    if not spatial:
        return View((n, 1, 1, c), (first, c, c), dtype, tensor.offset)
    if len(spatial) == 1:
        return View((n, 1, spatial[0], c), (first, spatial[0] * strides[0], strides[0]), dtype, tensor.offset)
    if len(spatial) == 2:
        return View((n, spatial[0], spatial[1], c), (first, strides[0], strides[1]), dtype, tensor.offset)
    if any(outer != inner * extent for outer, inner, extent in zip(strides, strides[1:], spatial[1:], strict=False)):
        return None
    long = prod(spatial)
    return View((n, 1, long, c), (first, long * strides[-1], strides[-1]), dtype, tensor.offset)


def vector(views: Iterable[View], most: int = MAX_VECTOR) -> int:
    """How many channels a thread may read and write at once in all of these: a power of two."""
    common, item = 0, WORD_BYTES
    for view in views:
        # A stride over a single index is never walked.
        walked = [s for n, s in zip(view.shape, view.strides, strict=False) if n > 1]
        common = gcd(common, view.channels, view.offset, *walked)
        item = min(item, ITEM_BYTES[view.dtype])
    width = 1
    while width * 2 <= most and width * 2 * item <= WORD_BYTES and common % (width * 2) == 0:
        width *= 2
    return width


def index_type(views: Iterable[View]) -> str:
    """The integer that counts the numbers of each of these."""
    return "int" if all(view.reach < 2**31 - 2**16 for view in views) else "long long"
