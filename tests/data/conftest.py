"""Folders of small images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Make = Callable[..., Path]


@pytest.fixture
def pets(tmp_path: Path) -> Make:
    """Makes a folder of classes; the image number n of a class of number c is filled with 10 * c + n."""

    def make(
        classes: dict[str, int], size: tuple[int, int] = (12, 10), name: str = "pets", suffix: str = ".png"
    ) -> Path:
        root = tmp_path / name
        for number, (label, count) in enumerate(classes.items()):
            (root / label).mkdir(parents=True)
            for n in range(count):
                values = np.full((*size, 3), 10 * number + n, np.uint8)
                Image.fromarray(values).save(root / label / f"{n:03}{suffix}")
        return root

    return make
