"""The recipes of examples/transfer.net on a few images: the cache changes nothing, and the trunk stays as it is."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file

from netdsl.train.trainer import Trainer

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
FEW = "data=digits(classes = [5, 6, 7, 8, 9], validation = 20%, per_class = 8)"

pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the digits")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the recipes beside a trunk that has seen a few images."""
    folder = tmp_path_factory.mktemp("transfer")
    spec = Path(shutil.copy(EXAMPLES / "transfer.net", folder))
    settings = ["epochs=2", "data=digits(classes = [0, 1, 2, 3, 4], validation = 20%, per_class = 8)"]
    result = Trainer(spec, "trunk", settings=settings, run=folder / "trunk", threads=1).run()
    assert result.weights is not None
    shutil.copy(result.weights, folder / "trunk.safetensors")
    return spec


def test_the_cache_changes_no_bit_and_the_trunk_stays(spec: Path) -> None:
    ends = {}
    for recipe in ("head", "uncached"):
        folder = spec.parent / recipe
        result = Trainer(spec, recipe, settings=["epochs=3", FEW], run=folder, threads=1).run()
        assert result.weights is not None
        assert (folder / "features").is_dir() == (recipe == "head")
        ends[recipe] = load_file(result.weights)
    trunk = load_file(spec.parent / "trunk.safetensors")
    assert set(ends["head"]) == set(trunk)
    for name, values in ends["head"].items():
        np.testing.assert_array_equal(values, ends["uncached"][name], err_msg=name)
        assert np.array_equal(values, trunk[name]) == (not name.startswith("fc.")), name


def test_the_script_measures_and_draws(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = _module(EXAMPLES / "transfer.py")
    monkeypatch.setattr(script, "SPEC", spec)
    monkeypatch.setattr(script, "RECIPES", {"head": "frozen trunk, new head"})
    found = script.measure([3, 5], seeds=1)
    assert [list(by_count) for by_count in found.values()] == [[3, 5]]
    assert all(0 <= value <= 1 for by_count in found.values() for values in by_count.values() for value in values)
    assert "  5 of each digit, frozen trunk, new head" in capsys.readouterr().out
    pytest.importorskip("matplotlib")
    script.draw(found, str(tmp_path / "transfer.png"))
    assert (tmp_path / "transfer.png").read_bytes().startswith(b"\x89PNG")


def _module(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
