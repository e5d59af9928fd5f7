"""A contact sheet: one image, and what a pipeline makes of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from netdsl.atomic import replacing
from netdsl.data.augment.apply import augment
from netdsl.data.augment.pipeline import Pipeline
from netdsl.data.dataset import pixels
from netdsl.data.inputs import plan
from netdsl.images.apply import run_steps
from netdsl.images.errors import ImageError
from netdsl.images.load import decode
from netdsl.images.steps import Step

MAX_VIEWS = 10_000
"""Most pictures on a sheet."""

LEAST_TILE, MOST_TILE = 96, 256
"""Pictures whose longer side is smaller are enlarged by a whole factor, larger ones are made smaller."""

_GAP, _MARGIN, _TEXT = 10, 16, 13
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)


class View(NamedTuple):
    """A picture, float32 (C, H, W) with black at 0 and white at 1, and what stands below it."""

    pixels: NDArray[np.float32]
    caption: str


def views_of(
    path: str | os.PathLike[str],
    pipeline: Pipeline,
    preprocess: Sequence[Step] = (),
    *,
    channels: int = 3,
    count: int = 16,
    seed: int = 0,
) -> list[View]:
    """The image as it is decoded, then `count` views: what a training with this seed reads of it in each epoch.

    They are as in front of `normalize`, and as for the first image of the data. Steps that mix a batch are left out.
    Raises ImageError and DataError.
    """
    picture = decode(path, gray=channels == 1)
    original = pixels(picture)
    prefix = plan(preprocess, pipeline)
    try:
        prepared = pixels(run_steps(picture, prefix.before))
    except ImageError as error:
        raise ImageError(error.code, f"{path}: {error.message}", error.help) from None
    number = np.zeros(1, np.int64)
    views = [
        View(augment(original[None], Pipeline(()), number)[:, 0], f"original, {original.shape[1]}x{original.shape[0]}")
    ]
    for epoch in range(count):
        made = augment(prepared[None], pipeline, number, seed, epoch, view=prefix.view_size, name=lambda _: str(path))
        views.append(View(made[:, 0], f"epoch {epoch}"))
    return views


def contact_sheet(views: Sequence[View], title: str, subtitle: str = "") -> Image.Image:
    """The views in rows, each with its caption, under a title."""
    side = max(max(view.pixels.shape[1:]) for view in views[1:] or views)
    zoom = -(-LEAST_TILE // side) if side < LEAST_TILE else min(1.0, MOST_TILE / side)
    height = max(round(view.pixels.shape[1] * zoom) for view in views[1:] or views)
    width = max(round(view.pixels.shape[2] * zoom) for view in views[1:] or views)
    columns = _columns(len(views))
    rows = -(-len(views) // columns)
    font = _font(_TEXT)
    # A small picture stands over a caption that is broader.
    cell = max(width, *(math.ceil(font.getlength(view.caption)) for view in views)) + _GAP
    wide = max(2 * _MARGIN + columns * cell - _GAP, 360)
    lines = wrap(title, max(20, int((wide - 2 * _MARGIN) / font.getlength("x" * 10) * 10)))
    top = _MARGIN + (len(lines) + bool(subtitle)) * (_TEXT + 5) + 8
    sheet = Image.new("RGB", (wide, top + rows * (height + _TEXT + 6 + _GAP) + _MARGIN - _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + place * (_TEXT + 5)), line, _INK, font)
    if subtitle:
        draw.text((_MARGIN, _MARGIN + len(lines) * (_TEXT + 5)), subtitle, _FAINT, font)
    for place, view in enumerate(views):
        row, column = divmod(place, columns)
        left, upper = _MARGIN + column * cell, top + row * (height + _TEXT + 6 + _GAP)
        tile = _tile(view, (width, height), zoom)
        sheet.paste(tile, (left + (width - tile.width) // 2, upper + (height - tile.height) // 2))
        draw.text((left, upper + height + 3), view.caption, _FAINT, font)
    return sheet


def _columns(count: int) -> int:
    """Somewhat wider than high, with few places left empty."""
    root = math.sqrt(count)

    def cost(columns: int) -> float:
        return (-count % columns) / columns + abs(columns - 1.3 * root) / root

    return min(range(math.ceil(root), math.ceil(2 * root) + 1), key=cost)


def _tile(view: View, most: tuple[int, int], zoom: float) -> Image.Image:
    """A picture as large as it is shown: views all by the same factor, a larger original as far as it fits."""
    values = np.rint(view.pixels.clip(0, 1) * 255).astype(np.uint8)
    image = (
        Image.fromarray(values[0])
        if len(values) == 1
        else Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0)))
    )
    factor = min(zoom, most[0] / image.width, most[1] / image.height)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(size, how)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def save_sheet(path: str | os.PathLike[str], sheet: Image.Image) -> None:
    """Writes a .png or .jpg file, in full or not at all. Raises ImageError."""
    path = Path(path)
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
    if path.suffix.lower() not in formats:
        raise ImageError("E0727", f"cannot write {path}: the suffix says the format, .png or .jpg")
    try:
        with replacing(path) as temporary:
            sheet.save(
                temporary,
                format=formats[path.suffix.lower()],
                **({} if path.suffix.lower() == ".png" else {"quality": 92}),
            )
    except OSError as error:
        raise ImageError("E0727", f"cannot write {path}: {error.strerror or error}") from None
