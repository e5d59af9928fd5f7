"""CONTRIBUTING's "add a layer" is true: its code is the repository's, and a layer made from it works."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netdsl
from netdsl.layers import lenet, vocabulary

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]

SPEC = """
network pooled() {
  input image: 2x4x6
  s: subsample(2x3)
  expect 2x2x2, params == 4
}
"""


def test_the_code_is_the_repository_s() -> None:
    assert inspect.getsource(lenet.Subsample) in CODE


def test_a_layer_made_from_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vocabulary.LAYERS, "subsample")
    with pytest.raises(netdsl.SpecError, match="no layer or block called `subsample`"):
        netdsl.loads(SPEC)

    names: dict[str, Any] = {"__name__": "contributed"}
    exec(compile(CODE, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    made = names["Subsample"]
    assert made is not lenet.Subsample
    monkeypatch.setitem(vocabulary.LAYERS, made.kind, made)

    net = netdsl.loads(SPEC)
    assert type(net.node("s").layer) is made
    model = net.compile()
    weight, bias = np.array([0.5, -2.0], np.float32), np.array([1.0, 3.0], np.float32)
    model.load({"s.weight": weight, "s.bias": bias})
    image = np.random.default_rng(0).normal(size=(3, 2, 4, 6)).astype(np.float32)
    expected = np.empty((3, 2, 2, 2))
    for n, c, i, j in np.ndindex(expected.shape):
        total = sum(float(image[n, c, 2 * i + a, 3 * j + b]) for a in range(2) for b in range(3))
        expected[n, c, i, j] = weight[c] * total + bias[c]
    np.testing.assert_allclose(model(image), expected, rtol=1e-5, atol=1e-5)


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:netdsl|tests|tools|specs|docs|grammars)/[\w./]*)`", TEXT))
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]
