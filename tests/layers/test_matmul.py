"""Matrix products against the sum of the definition, attention in PyTorch, and what is said where matrices do not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netdsl.ir.layer import Arity, Cost, Global, LayerError
from netdsl.ir.types import TensorType
from netdsl.layers.activation import Softmax
from netdsl.layers.matmul import Matmul


def t(*shape: int | None) -> TensorType:
    return TensorType(shape)


def multiply(*inputs: np.ndarray) -> np.ndarray:
    before = [x.copy() for x in inputs]
    y = Matmul().forward(np, list(inputs), {})
    assert y.shape == (len(inputs[0]), *Matmul().infer(*(TensorType(x.shape[1:]) for x in inputs)).shape)
    assert y.dtype == inputs[0].dtype
    for x, old in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, old)
    return y


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, *shape))


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4, 5)), ((1, 4), (4, 1)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (1, 4, 5))], ids=str
)
def test_definition(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, z = draw(*a), draw(*b, seed=1)
    y = multiply(x, z)
    for image, *front, i, j in np.ndindex(*y.shape):
        left = x[(image, *(min(p, n - 1) for p, n in zip(front, x.shape[1:-2], strict=True)))]
        right = z[(image, *(min(p, n - 1) for p, n in zip(front, z.shape[1:-2], strict=True)))]
        total = math.fsum(float(left[i, m]) * float(right[m, j]) for m in range(a[-1]))
        assert y[(image, *front, i, j)] == pytest.approx(total, rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(multiply(x.astype(np.float32), z.astype(np.float32)), y, rtol=1e-4, atol=1e-5)


def test_shapes_and_cost() -> None:
    assert Matmul.arity == Arity(2, 2)
    assert Matmul().infer(t(64, None), t(None, 49)) == t(64, 49)
    assert Matmul().infer(t(8, None, 64), t(8, 64, None)) == t(8, None, None)
    # (49, 64) by (64, 49): 49 * 49 outputs of 64 products and 63 additions.
    a, b = t(49, 64), t(64, 49)
    assert Matmul().cost([a, b], t(49, 49)) == Cost(flops=49 * 49 * 127)
    # An extent that is open in one tensor is known from the other.
    assert Matmul().cost([t(49, None), b], t(49, 49)) == Cost(flops=49 * 49 * 127)
    assert Matmul().cost([t(49, None), t(None, 49)], t(49, 49)) is None
    assert Matmul().window([a, b]) == Global()
    assert Matmul().board([a, b], t(49, 49)) == {
        "output": ["rows of the first = 49, columns of the second = 49"],
        "flops": ["49 * 49 outputs * (64 products + 63 additions) = 304,927"],
    }


@pytest.mark.parametrize(
    ("a", "b", "code", "help"),
    [
        ((64, 49), (64, 49), "E0311", "turn the first around: permute((1, 0))"),
        ((49, 64), (32, 64), "E0311", "turn the second around: permute((1, 0))"),
        ((8, 49, 64), (8, 32, 64), "E0311", "turn the second around: permute((0, 2, 1))"),
        ((49, 64), (32, 49), "E0311", "the other way round they fit: 32x49 by 49x64"),
        ((3, 4), (5, 6), "E0311", "the last extent of the first tensor is the last but one of the second"),
        ((2, 3, 4), (4, 5), "E0311", "same number of axes"),
        ((2, 3, 4), (3, 4, 5), "E0311", "both have as many matrices"),
        ((7,), (7, 2), "E0303", "reshape((1, 7)) a row"),
    ],
)
def test_matrices_that_do_not_fit(a: tuple[int, ...], b: tuple[int, ...], code: str, help: str) -> None:
    with pytest.raises(LayerError) as caught:
        Matmul().infer(t(*a), t(*b))
    assert caught.value.code == code
    assert caught.value.help is not None and help in caught.value.help


@pytest.mark.peer
def test_attention_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    q, k, v = (draw(3, 7, 4, seed=seed) for seed in range(3))  # (heads, length, width)
    scores = multiply(q / 2, np.ascontiguousarray(k.swapaxes(-1, -2)))  # 2 is the root of the width
    found = multiply(Softmax(axis=2).forward(np, [scores], {}), v)
    peer = torch.nn.functional.scaled_dot_product_attention(*(torch.from_numpy(x) for x in (q, k, v)))
    np.testing.assert_allclose(found, peer, rtol=1e-10, atol=1e-12)
