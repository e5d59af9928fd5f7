"""Normalisations and softmax, both ways, against the layers in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from host_kernels import Host, array_of, close, empty, first, last, needs_compiler, read

from netdsl.backends.cupy.kernels import layer_norm, norm, softmax
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.norm import Sets
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.ir.layer import Layer, Passed
from netdsl.layers.activation import LogSoftmax, Relu, Silu, Softmax
from netdsl.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm

pytestmark = needs_compiler

EPS = 1e-3


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    layer: Any
    dtype: str = "float32"
    activation: Layer | None = None
    residual: bool = False
    gap: int = 0
    mean: float = 0.0
    """About which the numbers lie."""

    @property
    def x(self) -> View:
        _, h, w, c = self.shape
        c += self.gap
        return View(self.shape, (h * w * c, w * c, c), self.dtype)

    @property
    def sets(self) -> Sets:
        c = self.shape[3]
        if isinstance(self.layer, GroupNorm):
            return Sets(True, self.layer.groups)
        return Sets(isinstance(self.layer, InstanceNorm), c)

    @property
    def row(self) -> bool:
        return isinstance(self.layer, LayerNorm)


CASES = [
    Case((4, 5, 3, 8), BatchNorm(eps=EPS, momentum=0.3), activation=Relu()),
    Case((2, 1, 1, 13), BatchNorm(eps=EPS), residual=False),
    Case((17, 3, 2, 1), BatchNorm(eps=EPS, affine=False), residual=True, activation=Relu()),
    Case((3, 4, 5, 16), BatchNorm(eps=EPS), dtype="bfloat16", activation=Silu()),
    Case((2, 9, 11, 264), BatchNorm(eps=EPS), dtype="float16", gap=8),
    Case((2, 40, 41, 4), BatchNorm(eps=EPS), mean=3000.0),
    Case((3, 4, 5, 12), GroupNorm(groups=3, eps=EPS), activation=Silu()),
    Case((2, 3, 3, 8), GroupNorm(groups=1, eps=EPS), dtype="float16"),
    Case((2, 5, 7, 5), InstanceNorm(eps=EPS)),
    Case((3, 4, 4, 4), InstanceNorm(eps=EPS, affine=True), mean=100.0),
    Case((2, 3, 5, 8), LayerNorm(eps=EPS)),
    Case((1, 1, 1, 768), LayerNorm(eps=EPS), dtype="bfloat16"),
    Case((5, 1, 3, 13), LayerNorm(eps=EPS), gap=3),
    Case((2, 7, 7, 100), LayerNorm(eps=EPS, affine=False), dtype="float16", activation=Relu()),
    Case((1, 2, 2, 2048), LayerNorm(eps=EPS)),
    Case((3, 1, 1, 1), LayerNorm(eps=EPS)),
]
SOFTMAX = [
    ((2, 3, 5, 8), Softmax(), "float32"),
    ((3, 1, 1, 1000), Softmax(), "float16"),
    ((17, 1, 1, 1), Softmax(), "float32"),
    ((2, 2, 2, 13), LogSoftmax(), "bfloat16"),
    ((1, 1, 3, 1536), LogSoftmax(), "float32"),
]
STRIDED = [((2, 3, 5, 4), 1), ((2, 3, 5, 4), 2), ((1, 1, 7, 3), 2)]


def statistics(case: Case) -> Work:
    affine = case.layer.affine
    momentum = case.layer.momentum if isinstance(case.layer, BatchNorm) else None
    return norm.statistics(case.x, case.sets, EPS, weight=affine, bias=affine, momentum=momentum)


def forward(case: Case) -> Work:
    if case.row:
        return layer_norm.layer_norm(case.x, case.x, EPS, affine=case.layer.affine, activation=case.activation)
    residual = case.x if case.residual else None
    return norm.normalise(
        case.x, case.x, case.sets, bias=case.layer.affine, activation=case.activation, residual=residual
    )


def backward(case: Case) -> Work:
    affine, plus = case.layer.affine, (case.x if case.residual else None)
    if case.row:
        return layer_norm.layer_norm_gradient(case.x, case.x, case.x, EPS, affine=affine, wanted=affine, plus=plus)
    activation = None if case.residual else case.activation
    return norm.gradient(
        case.x, case.x, case.x, case.sets,
        weight=affine, bias=affine, wanted=affine, activation=activation, plus=plus, add=(True, False),
    )  # fmt: skip


def soft(shape: tuple[int, ...], layer: Layer, dtype: str, back: bool) -> Work:
    x = dense(shape, dtype)
    return softmax.rows(x, x, logarithm=isinstance(layer, LogSoftmax), dy=x if back else None)


def strided(shape: tuple[int, ...], axis: int) -> Work:
    outer, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    return softmax.strided(outer, shape[axis], inner, "float32", logarithm=axis == 1)


@pytest.fixture(scope="module")
def host() -> Host:
    works = [work for case in CASES for work in (forward(case), backward(case))]
    works += [statistics(case) for case in CASES if not case.row]
    works += [soft(*case, back) for case in SOFTMAX for back in (False, True)]
    works += [strided(*case) for case in STRIDED]
    return Host(kernel for work in works for kernel in work.kernels)


def drawn(case: Case) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What kernels get, and the weights as the layer takes them."""
    draw = np.random.default_rng([*case.shape, len(case.dtype)])
    c = case.shape[3]
    given = {
        "x": array_of(case.x, case.mean + draw.standard_normal(case.shape) * draw.uniform(0.5, 2, c)),
        "dy": array_of(case.x, draw.standard_normal(case.shape)),
        "residual": array_of(case.x, draw.standard_normal(case.shape)),
        "plus": array_of(case.x, draw.standard_normal(case.shape)),
        "weight": draw.uniform(0.5, 1.5, c).astype(np.float32),
        "bias": draw.standard_normal(c).astype(np.float32),
        "running_mean": draw.standard_normal(c).astype(np.float32),
        "running_var": draw.uniform(0.5, 1.5, c).astype(np.float32),
        "tracked": np.array([3], np.int64),
    }
    weights = {name: given[name].astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")}
    return given, weights | {"num_batches_tracked": np.array(3)}


def moments(host: Host, case: Case, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    work = statistics(case)
    made = {"moments": np.full(norm.moment_bytes(case.x, case.sets) // 4, np.nan, np.float32)}
    made |= {name: given[name] for name in work.arguments if name.startswith("running") or name == "tracked"}
    inputs = {name: given[name] for name in work.arguments if name in given and name not in made}
    return host.run(work, inputs, made)


def reference(case: Case, given: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> Any:
    """(normalised, extra, running)"""
    x = first(read(case.x, given["x"]))
    if isinstance(case.layer, BatchNorm):
        return case.layer.train(np, [x], weights, lambda *_: None)
    return case.layer.forward(np, [x], weights), (), {}


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_forward(host: Host, case: Case) -> None:
    given, weights = drawn(case)
    wanted, _, running = reference(case, given, weights)
    work = forward(case)
    if not case.row:
        found = moments(host, case, given)
        given["moments"] = found["moments"]
        for name in ("running_mean", "running_var"):
            if name in running:
                np.testing.assert_allclose(found[name], running[name], rtol=2e-6 * (1 + case.mean / 300), atol=1e-6)
                assert found["tracked"].tolist() == [4]
    if case.residual:
        wanted = wanted + first(read(case.x, given["residual"]))
    if case.activation is not None:
        wanted = case.activation.forward(np, [wanted], {})
    found = host.run(work, {name: given[name] for name in work.arguments if name in given}, {"y": empty(case.x)})
    close(read(case.x, found["y"]), last(wanted), case.dtype, 1 + case.mean / 10)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_backward(host: Host, case: Case) -> None:
    given, weights = drawn(case)
    x, dy = first(read(case.x, given["x"])), first(read(case.x, given["dy"]))
    normal, extra, _ = reference(case, given, weights)
    if not case.row:
        given["moments"] = moments(host, case, given)["moments"]
    if case.activation is not None and not case.residual and not case.row:
        y = case.activation.forward(np, [normal], {})
        (dy,) = case.activation.derive(np, dy, Passed((normal,), y, (), {}, (True,), frozenset())).inputs
    names = frozenset({"weight", "bias"} if case.layer.affine else ())
    wanted = case.layer.derive(np, dy, Passed((x,), normal, extra, weights, (True,), names))
    work = backward(case)
    made = {"dx": empty(case.x)}
    if case.layer.affine:
        made |= {"dweight": np.ones(case.shape[3], np.float32), "dbias": np.ones(case.shape[3], np.float32)}
    found = host.run(work, {name: given[name] for name in work.arguments if name in given}, made)
    dx = last(wanted.inputs[0]) + (read(case.x, given["plus"]) if case.residual else 0)
    close(read(case.x, found["dx"]), dx, case.dtype, (20 if case.shape[0] == 2 else 3) + case.mean / 30)
    if case.layer.affine:
        dweight = found["dweight"].astype(np.float64) - (0 if case.row else 1)  # it is added to
        close(dweight, wanted.weights["weight"], "float32", 20 + case.mean / 10)
        close(found["dbias"].astype(np.float64), wanted.weights["bias"], "float32", 20)


@pytest.mark.parametrize("case", SOFTMAX, ids=range(len(SOFTMAX)))
def test_softmax(host: Host, case: Any) -> None:
    shape, layer, dtype = case
    x = dense(shape, dtype)
    draw = np.random.default_rng(2)
    given = array_of(x, 8 * draw.standard_normal(shape))
    wanted = layer.forward(np, [first(read(x, given))], {})
    found = host.run(soft(*case, False), {"x": given}, {"y": empty(x)})
    close(read(x, found["y"]), last(wanted), dtype, 2)
    dy = array_of(x, draw.standard_normal(shape))
    output = read(x, found["y"])
    slopes = layer.derive(np, first(read(x, dy)), Passed((first(output),), first(output), (), {}, (True,), frozenset()))
    back = host.run(soft(*case, True), {"output": found["y"], "dy": dy}, {"dx": empty(x)})
    close(read(x, back["dx"]), last(slopes.inputs[0]), dtype, 4)


def test_softmax_of_large_numbers_is_finite(host: Host) -> None:
    work = soft((2, 3, 5, 8), Softmax(), "float32", False)
    x = np.tile(np.array([1e30, -1e30, 3e38, 0, 3e38, 1, 2, 3], np.float32), 30)
    found = host.run(work, {"x": x}, {"y": np.zeros_like(x)})["y"].reshape(-1, 8)
    np.testing.assert_allclose(found, np.tile([0, 0, 0.5, 0, 0.5, 0, 0, 0], (30, 1)))


@pytest.mark.parametrize("case", STRIDED)
def test_softmax_along_another_axis(host: Host, case: Any) -> None:
    shape, axis = case
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    e = np.exp(x.astype(np.float64))
    wanted = e / e.sum(axis, keepdims=True)
    found = host.run(strided(*case), {"x": x.ravel()}, {"y": np.zeros(x.size, np.float32)})["y"].reshape(shape)
    close(found.astype(np.float64), np.log(wanted) if axis == 1 else wanted, "float32")


def test_a_row_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="channels"):
        layer_norm.layer_norm(dense((1, 1, 1, 4099)), dense((1, 1, 1, 4099)), EPS, affine=False)
