"""Mixed precision: master weights and statistics in float32, half precisions follow float32, the loss scale; and the
logic of the scale by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_networks import EFFICIENT, MOBILENET, RESNET, SMALL, batch_of, load, runs, steps

from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.backends.cupy.training.bench import arena
from netdsl.train import recipe_parts as parts
from netdsl.train import scaling
from netdsl.train.errors import TrainError
from netdsl.train.scaling import FIRST_SCALE, LossScale, scale_for

MOMENTUM = parts.Sgd(momentum=0.9)
BOUNDS = {"tf32": 1e-2, "float16": 1e-2, "bfloat16": 6e-2}


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("network", [RESNET, MOBILENET, EFFICIENT], ids=["resnet", "mobilenet", "efficientnet"])
def test_losses_follow_float32(network: str, precision: str) -> None:
    there, here = runs(network, FakeDevice(), MOMENTUM, lr=0.01, precision=precision)
    found, wanted = steps(there, 6), steps(here, 6)
    np.testing.assert_allclose(found, wanted, rtol=BOUNDS[precision])
    assert found[4] < found[0]  # the same batch again


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_masters_and_statistics_are_float32(precision: str) -> None:
    there, _ = runs(SMALL, FakeDevice(), MOMENTUM, lr=1e-4, precision=precision)
    engine: Any = there.engine
    assert all(array.dtype == np.float32 for name, array in engine.state.weights.items() if "tracked" not in name)
    before = engine.parameters.flat.copy()
    steps(there, 1)
    there.settle()
    moved = engine.parameters.flat - before
    # A step so small that half precision would have lost it.
    assert 0 < np.abs(moved).max() < 2e-3 * np.abs(before).max()
    (training,) = (each.training for each in engine._running.values())
    assert training.bench.dtype == PRECISIONS[precision].dtype


def test_half_precision_takes_half_the_arena() -> None:
    there, _ = runs(RESNET, FakeDevice(), MOMENTUM)
    steps(there, 1)
    engine: Any = there.engine
    (training,) = (each.training for each in engine._running.values())
    full, half = (arena(training.program, size).bytes for size in (4, 2))
    assert full / 2 <= half < 0.6 * full


class TestLossScale:
    """On a played device."""

    def test_gradients_are_those_without_a_scale(self) -> None:
        inputs, labels = batch_of(load(SMALL), 4, 0)
        norms = []
        for value in (1.0, 2.0**10):
            there, _ = runs(SMALL, FakeDevice(), MOMENTUM, precision="float16")
            there.scale = LossScale(value)
            norms.append(there.step(inputs, labels, 1, 0, 0.1).gradient_norm)
        assert norms[0] == pytest.approx(norms[1], rel=2e-2)

    def test_small_gradients_survive(self) -> None:
        # Below 2^-24 float16 has nothing.
        there, _ = runs(SMALL, FakeDevice(), MOMENTUM, precision="float16")
        inputs, labels = batch_of(load(SMALL), 4, 0)
        there.scale = LossScale(2.0**-27, fixed=True)
        lost = there.step(inputs, labels, 1, 0, 0.0)
        there.scale = LossScale(2.0**10, fixed=True)
        kept = there.step(inputs, labels, 1, 0, 0.0)
        assert lost.gradient_norm < 0.5 * kept.gradient_norm

    def test_an_overflow_leaves_the_step_out(self) -> None:
        there, _ = runs(SMALL, FakeDevice(), MOMENTUM, precision="float16")
        inputs, labels = batch_of(load(SMALL), 4, 0)
        there.scale = LossScale(2.0**24)
        there.settle()
        before = there.engine.parameters.flat.copy()
        taken = there.step(inputs, labels, 1, 0, 0.1)
        there.settle()
        assert taken.skipped and there.scale.value == 2.0**23 and np.isfinite(taken.loss)
        np.testing.assert_array_equal(there.engine.parameters.flat, before)
        assert there.updater.steps == 0
        for number in range(30):
            taken = there.step(inputs, labels, 1, number, 0.1)
            if not taken.skipped:
                break
        assert not taken.skipped and there.updater.steps == 1

    def test_what_no_scale_helps_is_an_error(self) -> None:
        there, _ = runs(SMALL, FakeDevice(), MOMENTUM, precision="float16")
        inputs, labels = batch_of(load(SMALL), 4, 0)
        inputs = {name: array * np.float32(np.inf) for name, array in inputs.items()}
        with pytest.raises(TrainError, match="is not finite at step 1"):
            there.step(inputs, labels, 1, 0, 0.1)

    def test_without_a_scale_an_overflow_is_an_error(self) -> None:
        there, _ = runs(SMALL, FakeDevice(), MOMENTUM, precision="bfloat16")
        assert there.scale.fixed and "scale/loss" not in there.arrays()
        inputs, labels = batch_of(load(SMALL), 4, 0)
        inputs = {name: array * np.float32(np.nan) for name, array in inputs.items()}
        with pytest.raises(TrainError, match="not finite"):
            there.step(inputs, labels, 1, 0, 0.1)

    def test_checkpoints_hold_it(self) -> None:
        there, _ = runs(SMALL, FakeDevice(), MOMENTUM, precision="float16")
        there.scale = LossScale(512.0, 17)
        kept = there.arrays()
        other, _ = runs(SMALL, FakeDevice(), MOMENTUM, precision="float16")
        other.restore(kept, 0, 0)
        assert (other.scale.value, other.scale.good) == (512.0, 17)


class TestLogic:
    """The scale by itself."""

    def test_it_grows_after_many_good_steps(self) -> None:
        scale = LossScale(8.0)
        for _ in range(scaling.GROWTH_STEPS - 1):
            scale.good_step()
        assert scale.value == 8.0
        scale.good_step()
        assert (scale.value, scale.good) == (16.0, 0)

    def test_an_overflow_halves_it_and_begins_to_count_anew(self) -> None:
        scale = LossScale(8.0, 1500)
        assert scale.overflow() and (scale.value, scale.good) == (4.0, 0)

    def test_it_ends_at_one(self) -> None:
        scale = LossScale(2.0)
        assert scale.overflow() and not scale.overflow() and scale.value == 1.0

    def test_it_does_not_grow_for_ever(self) -> None:
        scale = LossScale(scaling.MOST_SCALE)
        for _ in range(scaling.GROWTH_STEPS):
            scale.good_step()
        assert scale.value == scaling.MOST_SCALE

    def test_only_float16_has_one(self) -> None:
        assert scale_for("float16") == LossScale(FIRST_SCALE)
        for name in ("float32", "tf32", "bfloat16"):
            scale = scale_for(name)
            assert scale.value == 1 and scale.fixed and not scale.overflow()

    @given(st.lists(st.booleans(), max_size=300))
    def test_it_is_a_power_of_two_within_its_bounds(self, good: list[bool]) -> None:
        scale = LossScale()
        for each in good:
            if each:
                scale.good_step()
            else:
                scale.overflow()
            assert scaling.LEAST_SCALE <= scale.value <= scaling.MOST_SCALE
            assert np.log2(scale.value) == int(np.log2(scale.value))
