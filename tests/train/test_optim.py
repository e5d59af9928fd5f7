"""Optimisers, clipping and the moving average against a naive reference: one parameter at a time, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.train import recipe_parts as parts
from netdsl.train.clip import clip, norm
from netdsl.train.ema import Average
from netdsl.train.optimizers import BLOCK, updater

Naive = Callable[[float, Iterator[float], float, parts.Part], float]


def naive_sgd(w: float, gradients: Iterator[float], lr: float, m: Any) -> float:
    v = None
    for g in gradients:
        g = g + m.weight_decay * w
        v = g if v is None else m.momentum * v + g
        w = w - lr * ((g + m.momentum * v) if m.nesterov else v)
    return w


def naive_rmsprop(w: float, gradients: Iterator[float], lr: float, m: Any) -> float:
    s, c, buffer = (1.0 if m.style == "tensorflow" else 0.0), 0.0, 0.0
    for g in gradients:
        g = g + m.weight_decay * w
        s = m.alpha * s + (1 - m.alpha) * g * g
        c = m.alpha * c + (1 - m.alpha) * g
        square = s - c * c if m.centered else s
        if m.style == "tensorflow":
            buffer = m.momentum * buffer + lr * g / math.sqrt(square + m.eps)
            w -= buffer
        else:
            buffer = m.momentum * buffer + g / (math.sqrt(square) + m.eps)
            w -= lr * buffer
    return w


def naive_adam(w: float, gradients: Iterator[float], lr: float, m: Any) -> float:
    first = second = 0.0
    for t, g in enumerate(gradients, start=1):
        if m.kind == "adamw":
            w *= 1 - lr * m.weight_decay
        else:
            g = g + m.weight_decay * w
        first = m.betas[0] * first + (1 - m.betas[0]) * g
        second = m.betas[1] * second + (1 - m.betas[1]) * g * g
        w -= lr * (first / (1 - m.betas[0] ** t)) / (math.sqrt(second / (1 - m.betas[1] ** t)) + m.eps)
    return w


CASES: list[tuple[parts.Part, Naive]] = [
    (parts.Sgd(), naive_sgd),
    (parts.Sgd(momentum=0.9), naive_sgd),
    (parts.Sgd(momentum=0.9, weight_decay=5e-2), naive_sgd),
    (parts.Sgd(momentum=0.8, nesterov=True, weight_decay=1e-2), naive_sgd),
    (parts.RmsProp(), naive_rmsprop),
    (parts.RmsProp(weight_decay=1e-2, centered=True), naive_rmsprop),
    (parts.RmsProp(momentum=0.0), naive_rmsprop),
    (parts.RmsProp(style="pytorch", alpha=0.99, eps=1e-8, momentum=0.0), naive_rmsprop),
    (parts.RmsProp(style="pytorch", centered=True, momentum=0.5, weight_decay=1e-2), naive_rmsprop),
    (parts.Adam(), naive_adam),
    (parts.Adam(weight_decay=1e-1, betas=(0.8, 0.95), eps=1e-4), naive_adam),
    (parts.AdamW(), naive_adam),
    (parts.AdamW(weight_decay=0.3), naive_adam),
]


@pytest.mark.parametrize(("model", "naive"), CASES, ids=lambda case: str(case) if isinstance(case, parts.Part) else "")
def test_an_optimizer_is_its_formula(model: parts.Part, naive: Naive) -> None:
    random = np.random.default_rng(1)
    w = random.normal(size=7)
    gradients = random.normal(size=(6, 7))
    expected = [naive(float(w[i]), iter(gradients[:, i].tolist()), 0.05, model) for i in range(7)]
    run = updater(model, w)
    for g in gradients:
        run.update(w, g.copy(), 0.05)
    np.testing.assert_allclose(w, expected, rtol=1e-12)


@pytest.mark.parametrize("model", [case[0] for case in CASES], ids=str)
def test_blocks_do_not_show(model: parts.Part) -> None:
    """A vector of several blocks moves as its parts would by themselves."""
    random = np.random.default_rng(2)
    w = random.normal(size=2 * BLOCK + 5).astype(np.float32)
    whole, pieces = w.copy(), [part.copy() for part in np.split(w, [100, BLOCK + 1])]
    run, runs = updater(model, whole), [updater(model, piece) for piece in pieces]
    for _ in range(2):
        g = random.normal(size=len(w)).astype(np.float32)
        run.update(whole, g.copy(), 0.1)
        for each, piece, part in zip(runs, pieces, np.split(g, [100, BLOCK + 1]), strict=True):
            each.update(piece, part.copy(), 0.1)
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    assert whole.dtype == np.float32


def test_decay_of_weights_alone() -> None:
    """With no gradient only what decays moves: w (1 - lr decay) each step."""
    w = np.ones(BLOCK + 30)
    run = updater(parts.Sgd(weight_decay=0.5, decay="weights"), w, [(3, 5), (10, 20), (BLOCK + 25, BLOCK + 30)])
    run.update(w, np.zeros_like(w), 0.1)
    still = np.zeros(len(w), bool)
    for start, stop in ((3, 5), (10, 20), (BLOCK + 25, BLOCK + 30)):
        still[start:stop] = True
    assert (w[still] == 1).all()
    np.testing.assert_allclose(w[~still], 0.95)
    w = np.ones(4)
    updater(parts.Sgd(weight_decay=0.5), w, [(0, 2)]).update(w, np.zeros(4), 0.1)
    np.testing.assert_allclose(w, 0.95)


@pytest.mark.parametrize("model", [case[0] for case in CASES], ids=str)
def test_the_state_is_all_there_is(model: parts.Part) -> None:
    """Another updater with the same state and count goes on with the same numbers: what a checkpoint relies on."""
    random = np.random.default_rng(3)
    w = random.normal(size=9).astype(np.float32)
    gradients = random.normal(size=(8, 9)).astype(np.float32)
    run = updater(model, w)
    for g in gradients[:4]:
        run.update(w, g.copy(), 0.01)
    other_w = w.copy()
    other = updater(model, other_w)
    assert other.state.keys() == run.state.keys()
    for letter, vector in run.state.items():
        other.state[letter][:] = vector
    other.steps = run.steps
    for g in gradients[4:]:
        run.update(w, g.copy(), 0.01)
        other.update(other_w, g.copy(), 0.01)
    np.testing.assert_array_equal(w, other_w)


@given(st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=50), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_clipping_by_norm(values: list[float], most: float) -> None:
    g = np.array(values, np.float32)
    length = math.sqrt(sum(float(v) ** 2 for v in g))
    before = g.copy()
    assert norm(g) == pytest.approx(length, rel=1e-9)
    clip(parts.ClipNorm(most=most), g, norm(g))
    assert norm(g) <= min(most, length) * (1 + 1e-5)
    if length + 1e-6 <= most:
        np.testing.assert_array_equal(g, before)
    else:
        np.testing.assert_allclose(g, before * (most / (length + 1e-6)), rtol=1e-5, atol=1e-40)


def test_clipping_by_value() -> None:
    g = np.array([-3.0, -0.5, 0.0, 2.0])
    clip(parts.ClipValue(most=1.0), g, norm(g))
    assert g.tolist() == [-1.0, -0.5, 0.0, 1.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_norm_tells_of_what_is_not_finite(bad: float) -> None:
    assert not math.isfinite(norm(np.array([1.0, bad, 2.0], np.float32)))


def test_the_moving_average_follows_its_formula() -> None:
    values = np.random.default_rng(4).normal(size=(30, 3))
    average = Average(0.5, {"w": values[0]})
    expected = values[0].copy()
    for n, value in enumerate(values[1:], start=1):
        average.update({"w": value})
        keep = min(0.5, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * value
    np.testing.assert_allclose(average.values["w"], expected, rtol=1e-12)
    assert average.steps == 29


@pytest.mark.peer
@pytest.mark.parametrize("model", [case[0] for case in CASES if getattr(case[0], "style", "") != "tensorflow"], ids=str)
def test_against_pytorch(model: Any) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(5)
    w = random.normal(size=20).astype(np.float32)
    peer = torch.nn.Parameter(torch.from_numpy(w.copy()))
    options = model.model_dump(exclude={"lr", "decay", "style"}) | {"lr": 0.02}
    kind = {
        "sgd": torch.optim.SGD,
        "rmsprop": torch.optim.RMSprop,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    optimizer = kind[model.kind]([peer], **options)
    run = updater(model, w)
    for _ in range(25):
        g = random.normal(size=20).astype(np.float32)
        peer.grad = torch.from_numpy(g.copy())
        optimizer.step()
        run.update(w, g, 0.02)
    np.testing.assert_allclose(w, peer.detach().numpy(), rtol=2e-5, atol=2e-6)
