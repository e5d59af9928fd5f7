"""What CONTRIBUTING shows is true: its code is the repository's, and what is made from it works."""

from __future__ import annotations
import __future__

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import netdsl
from netdsl.backends import registry
from netdsl.backends.native.kernels import distance
from netdsl.backends.native.lower import sums
from netdsl.layers import lenet, vocabulary
from netdsl.passes import bind, standardize_weights
from netdsl.train.gradcheck import gradcheck

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE, PASS, KERNEL, BACKEND = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

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
    assert gradcheck(net.network).passed


def made_from(code: str, name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the code of the page defines; annotations stay text, as in the repository's files."""
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    future = __future__.annotations.compiler_flag
    exec(compile(code, "CONTRIBUTING.md", "exec", flags=future, dont_inherit=True), vars(module))
    return vars(module)


def test_the_code_of_the_pass_and_the_kernel_is_the_repository_s() -> None:
    assert inspect.getsource(standardize_weights).endswith(PASS)
    assert inspect.getsource(distance).endswith(KERNEL)


def test_a_pass_made_from_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_from(PASS, "contributed_pass", monkeypatch)["StandardizeWeights"]()
    network = netdsl.loads("network n() { input x: 3x5x5\n std_conv(4, 3x3) }").network
    model = netdsl.loads("network n() { input x: 3x5x5\n std_conv(4, 3x3) }").compile("float64")
    model.initialize(0)
    passed = made.apply(bind(network, model.weights))
    (node,) = [node for node in passed.network.nodes() if node.inputs]
    assert node.layer.kind == "conv"
    weight = passed.values[f"{node.address}.weight"]
    flat = weight.reshape(4, -1).astype(np.float64)
    np.testing.assert_allclose(flat.mean(axis=1), 0, atol=1e-7)
    np.testing.assert_allclose(flat.var(axis=1), 1, rtol=1e-4)


def test_a_kernel_made_from_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_from(KERNEL, "contributed_kernel", monkeypatch)["DistanceKernel"]
    monkeypatch.setattr(sums, "DistanceKernel", made)
    model = netdsl.loads("network n() { input x: 19\n rbf(5, trainable = true) }").compile(backend="native")
    model.initialize(0)
    x = np.random.default_rng(0).normal(size=(3, 19)).astype(np.float32)
    (centers,) = model.weights.values()
    expected = [
        [sum((float(a) - float(b)) ** 2 for a, b in zip(row, center, strict=True)) for center in centers] for row in x
    ]
    np.testing.assert_allclose(model(x), expected, rtol=1e-5)
    assert model.backend.build(model.program(), 1, {}).kernels == ["distance"]


def test_a_back_end_made_from_the_page_works(monkeypatch: pytest.MonkeyPatch) -> None:
    made_from(BACKEND, "contributed_backend", monkeypatch)
    monkeypatch.setitem(registry.BACKENDS, "plain", "contributed_backend")
    net = netdsl.load("resnet20")
    model, reference = net.compile(backend="plain"), net.compile(backend="reference")
    for each in (model, reference):
        each.initialize(0)
    x = np.random.default_rng(0).normal(size=(2, *net.inputs["image"].shape)).astype(np.float32)
    expected = reference(x)
    np.testing.assert_allclose(model(x), expected, atol=1e-4 * expected.std())


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:netdsl|tests|tools|specs|docs|grammars)/[\w./]*)`", TEXT))
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]
