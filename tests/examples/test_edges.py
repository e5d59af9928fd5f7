"""A filter learned from a photograph and Sobel's answers is Sobel's (examples/edges.net, all of it)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from netdsl.train.trainer import Trainer

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is needed, with the data made."""
    folder = tmp_path_factory.mktemp("edges")
    for name in ("edges.net", "edges.py", "photograph.jpg"):
        shutil.copy(EXAMPLES / name, folder)
    subprocess.run([sys.executable, folder / "edges.py"], cwd=EXAMPLES.parent, check=True, timeout=300)
    return folder


def test_the_data_is_the_photograph_and_its_derivative(folder: Path) -> None:
    """Sobel's filter by shifts: 1, 2, 1 down, left minus right."""
    with np.load(folder / "edges.npz") as found:
        x, y = found["x"].astype(np.float64), found["y"]
    assert x.shape == (1000, 32, 32) and y.shape == (1000, 1, 30, 30)
    down = x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    np.testing.assert_allclose(y[:, 0], down[..., :-2] - down[..., 2:], atol=1e-5)
    assert np.abs(y).max() > 1


def test_sobels_weights_are_found(folder: Path) -> None:
    result = Trainer(folder / "edges.net", run=folder / "run", threads=1).run()
    assert result.done and result.weights is not None
    learned = load_file(result.weights)["filter.weight"]
    np.testing.assert_allclose(learned[0, 0], [[1, 0, -1], [2, 0, -2], [1, 0, -1]], atol=1e-3)
