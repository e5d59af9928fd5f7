"""What a compiled model keeps between calls, and what it must not keep."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import netdsl
from netdsl.backends import registry
from netdsl.backends.compiled import MOST_PROGRAMS, CompiledModel
from netdsl.backends.errors import RunError
from netdsl.backends.reference import Model
from netdsl.language.diagnostics import SpecError

TEXT = """
network n() {
  input a: 3x?x?
  input b: 3x?x?
  sum: add(a, b)
  conv1: conv(4, 3x3) -> relu
  global_avg_pool -> flatten -> dense(2)
}
"""
ONE = "network n() {\n  input x: 3x?x?\n  conv1: conv(4, 3x3) -> relu\n  global_avg_pool -> flatten -> dense(2)\n}"


def compiled(text: str, backend: str) -> CompiledModel:
    model = netdsl.loads(text).compile(backend=backend, threads=1)
    assert isinstance(model, CompiledModel)
    return model


def numbers(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.fixture(params=["numpy", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_second_call_looks_at_nothing(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled(ONE, backend)
    model.initialize(0)
    x = numbers(2, 3, 8, 9)
    first, tapped = model(x, tap="conv1"), model(x)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("looked again")

    for name in ("needed", "types_for", "checked_inputs", "lower"):
        monkeypatch.setattr(f"netdsl.backends.compiled.{name}", refused)
    np.testing.assert_array_equal(model(x), tapped)
    np.testing.assert_array_equal(model({"x": x}), tapped)
    np.testing.assert_array_equal(model(x.astype(np.float64)), tapped)
    again, taps = model(x, tap=["conv1"])
    np.testing.assert_array_equal(again, first[0])
    np.testing.assert_array_equal(taps["conv1"], first[1]["conv1"])


def test_inputs_that_lie_otherwise_give_the_same(backend: str) -> None:
    model = compiled(ONE, backend)
    model.initialize(0)
    x = numbers(2, 3, 40, 41)
    expected = model(x)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    padded = np.zeros((2, 3, 40, 50), np.float32)
    padded[..., :41] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (last, padded[..., :41], frozen, x.astype(">f4"), x.tolist(), np.ma.masked_array(x)):
        np.testing.assert_array_equal(model(other), expected)


def test_inputs_by_name_in_any_order(backend: str) -> None:
    model = compiled(TEXT.replace("add(a, b)", "subtract(a, b)"), backend)
    model.initialize(0)
    a, b = numbers(1, 3, 6, 7), numbers(1, 3, 6, 7) * 2
    expected = model({"a": a, "b": b})
    np.testing.assert_array_equal(model({"b": b, "a": a}), expected)
    assert np.abs(model({"a": b, "b": a}) - expected).max() > 1e-3


def test_every_error_comes_after_a_good_call_too(backend: str) -> None:
    model = compiled(TEXT, backend)
    model.initialize(0)
    a = numbers(1, 3, 6, 7)
    for _ in range(2):
        model({"a": a, "b": a})
        for wrong, code in (
            ({"a": a}, "E0712"),
            ({"a": a, "c": a}, "E0712"),
            ({"a": a, "b": a, "c": a}, "E0712"),
            ({"a": a, "b": a.astype(np.uint8)}, "E0712"),
            ({"a": a, "b": a[0]}, "E0712"),
            ({"a": a, "b": np.concatenate([a, a])}, "E0712"),
            ({"a": a, "b": a[:, :2]}, "E0712"),
            ({"a": a[:0], "b": a[:0]}, "E0712"),
            (a, "E0712"),
        ):
            with pytest.raises(RunError) as caught:
                model(wrong)
            assert caught.value.code == code
        with pytest.raises(RunError) as caught:
            model({"a": a, "b": a}, tap="nowhere")
        assert caught.value.code == "E0713"
        with pytest.raises(SpecError):
            model({"a": a, "b": a[..., :5]})


def test_weights_come_first_and_new_ones_are_used(backend: str) -> None:
    model = compiled(ONE, backend)
    x = numbers(1, 3, 6, 7)
    with pytest.raises(RunError) as caught:
        model(x)
    assert caught.value.code == "E0711"
    model.initialize(0)
    before = {name: array.copy() for name, array in model.weights.items()}
    first = model(x)
    model.initialize(1)
    second = model(x)
    assert np.abs(first - second).max() > 1e-3
    model.load(before)
    np.testing.assert_array_equal(model(x), first)


def test_what_was_used_longest_ago_goes_first(backend: str) -> None:
    model = compiled(ONE, backend)
    model.initialize(0)
    model(numbers(1, 3, 4, 4))
    kept = next(iter(model._plans.values()))
    for size in range(5, 5 + 2 * MOST_PROGRAMS):
        model(numbers(1, 3, size, 4))
        model(numbers(1, 3, 4, 4))
        assert len(model._plans) <= MOST_PROGRAMS
        assert any(plan is kept for plan in model._plans.values())


def test_loading_while_others_run(backend: str) -> None:
    """Each answer is that of one of the two sets of weights, never of something between."""
    model = compiled(ONE, backend)
    x = numbers(1, 3, 9, 9)
    sets, answers = [], []
    for seed in (0, 1):
        model.initialize(seed)
        sets.append({name: array.copy() for name, array in model.weights.items()})
        answers.append(model(x))
    strange: list[object] = []
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            found = model(x)
            if not any(np.array_equal(found, answer) for answer in answers):
                strange.append(found)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(40):
        model.load(sets[turn % 2])
    done.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not strange


def test_auto_is_native_and_the_reference_in_float64() -> None:
    net = netdsl.loads(ONE)
    model = net.compile()
    assert isinstance(model, CompiledModel) and model.backend.name == "native"
    assert type(net.compile("float64")) is Model


def test_without_native_code_numpy_serves_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(registry.backend("native")), "missing", lambda _: "llvmlite is not installed")
    registry._warn.cache_clear()
    for _ in range(2):
        model = netdsl.loads(ONE).compile()
        assert isinstance(model, CompiledModel) and model.backend.name == "numpy"
    (line,) = caplog.messages
    assert "native" in line and "llvmlite is not installed" in line and "numpy" in line and "\n" not in line
    with pytest.raises(RunError) as caught:
        netdsl.loads(ONE).compile(backend="native")
    assert caught.value.code == "E0716"
    registry._warn.cache_clear()
