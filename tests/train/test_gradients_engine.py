"""The reference engine: whole networks, what is frozen, shared, auxiliary, random; and what it refuses."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from random_networks import networks

import netdsl
from netdsl.analysis.training import default_trainable, training_plan
from netdsl.backends.errors import RunError
from netdsl.backends.reference import Model
from netdsl.ir.layer import Layer
from netdsl.ir.network import Network
from netdsl.train.errors import TrainError
from netdsl.train.gradcheck import gradcheck
from netdsl.train.losses import CrossEntropy, MeanSquaredError
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.store import WeightStore


def network(body: str, inputs: str = "input image: 3x8x8") -> Network:
    return netdsl.loads(f"network n {{\n{inputs}\n{body}\n}}").network


def engine(net: Network, trainable=None, loss=None, auxiliary=None, dtype="float64", seed=0) -> ReferenceEngine:
    store = WeightStore(net, dtype)
    store.initialize(seed)
    names = default_trainable(net, auxiliary) if trainable is None else frozenset(trainable)
    return ReferenceEngine(net, store, names, loss or CrossEntropy(), auxiliary)


def batch(net: Network, count: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((count, *type_.shape)) for name, type_ in net.input_types().items()}


LABELS = np.array([0, 2, 1, 2])

SMALL = """
conv1: conv(4, 3x3, padding = half, bias = false) -> bn1: batch_norm -> relu -> max_pool(2)
residual { conv2: conv(4, 3x3, padding = half) -> bn2: batch_norm }
relu -> global_avg_pool -> flatten -> fc: dense(3)
"""


# ------------------------------------------------------------------------------------------------- whole networks


@pytest.mark.parametrize(
    "body",
    [
        SMALL,
        "let skip = x\nconv(3, 3x3, padding = half) -> silu\nadd(x, x)\nmultiply(x, skip)\nconcat(x, x, skip)\nflatten -> dense(3)",
        "concat split [1, 2] { | conv(2, 3x3) -> gelu | conv(3, 3x3) }\nlayer_norm -> flatten -> dropout(0.5) -> dense(3)",
        "conv(4, 3x3, stride = 2) -> batch_norm(affine = false) -> prelu\nresidual { conv(4, 1x1) -> stochastic_depth(0.5) }\nflatten -> dense(3)",
        "conv(6, 1x1) -> hard_swish\nmultiply { | | global_avg_pool -> conv(6, 1x1) -> sigmoid }\ngem_pool -> flatten -> dense(3)",
        "tower: { conv(3, 3x3, padding = half) -> tanh }\nshare tower\nshare tower\nflatten -> dense(3)",
        "a: conv(4, 3x3) -> relu\nauxiliary aux: global_avg_pool -> flatten -> dense(3)\nfrom a -> conv(4, 3x3) -> flatten -> dense(3)",
    ],
)  # fmt: skip
def test_gradients_of_networks(body):
    report = gradcheck(network(body), batch=3)
    assert report.passed, str(report)


def test_gradients_of_lenet5():
    report = gradcheck(netdsl.load("lenet5").network, batch=2, elements=3, directions=2)
    assert report.passed, str(report)


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(network=networks(most=10), seed=st.integers(0, 100))
def test_gradients_of_random_networks(network, seed):
    try:
        report = gradcheck(network, seed=seed, batch=3, elements=2, directions=2, tolerance=1e-4)
    except TrainError:
        assume(False)
    assert report.passed, str(report)


def test_training_brings_the_loss_down():
    net = network(SMALL)
    trained = engine(net, dtype="float32")
    images = batch(net)
    losses = []
    for number in range(30):
        losses.append(trained.step(images, LABELS, 0, number).loss)
        trained.parameters.flat[...] -= 0.2 * trained.gradients.flat
    assert losses[-1] < 0.1 * losses[0]


def test_single_precision_follows_double_precision():
    net = network(SMALL)
    single, double = engine(net, dtype="float32"), engine(net)
    double.parameters.flat[...] = single.parameters.flat
    images = {name: array.astype(np.float32) for name, array in batch(net).items()}
    assert single.step(images, LABELS, 0, 0).loss == pytest.approx(double.step(images, LABELS, 0, 0).loss, rel=1e-6)
    assert single.gradients.flat.dtype == np.float32
    np.testing.assert_allclose(single.gradients.flat, double.gradients.flat, atol=1e-6)


def test_the_store_has_what_training_makes():
    net = network(SMALL)
    trained = engine(net)
    trained.step(batch(net), LABELS, 0, 0)
    trained.parameters.flat[...] -= 0.1 * trained.gradients.flat
    for name, view in trained.parameters.views.items():
        assert trained.store.values[name] is view
    assert trained.store.values["bn1.num_batches_tracked"] == 1
    assert trained.store.values["bn1.running_mean"].any()
    model = Model(net, "float64")
    model.load(dict(trained.store.values))
    images = batch(net)
    (expected,) = model.run(images["image"])[0].values()
    (found,) = trained.evaluate(images).values()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_mapped_file_stays_as_it_is(tmp_path):
    net = network(SMALL)
    model = Model(net)
    model.initialize(0)
    path = tmp_path / "w.safetensors"
    model.save(path)
    before = path.read_bytes()
    store = WeightStore(net)
    store.load(path)
    trained = ReferenceEngine(net, store, default_trainable(net), CrossEntropy())
    trained.step({name: array.astype(np.float32) for name, array in batch(net).items()}, LABELS, 0, 0)
    trained.parameters.flat[...] = 1
    assert path.read_bytes() == before


def test_outputs_are_new_arrays():
    net = network("conv(3, 3x3) -> flatten -> dense(3)")
    trained = engine(net)
    images = batch(net)
    one = trained.step(images, LABELS, 0, 0).outputs
    copies = {name: array.copy() for name, array in one.items()}
    trained.step(batch(net, seed=1), LABELS, 0, 1)
    for name, array in one.items():
        np.testing.assert_array_equal(array, copies[name])


# -------------------------------------------------------------------------------------------------------- memory


def test_nothing_is_kept_that_backward_does_not_read():
    """Twenty layers that keep nothing take no more memory than one of them."""
    images = np.random.default_rng(0).standard_normal((1, 3, 256, 256))

    def peak(layers: int) -> int:
        body = "conv(4, 1x1)" + " -> scale(1.5)" * layers + " -> global_avg_pool -> flatten"
        trained = engine(network(body, "input image: 3x256x256"), loss=MeanSquaredError())
        tracemalloc.start()
        trained.step({"image": images}, np.zeros((1, 4)), 0, 0)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    map_bytes = 4 * 256 * 256 * 8
    assert peak(20) < peak(2) + map_bytes


# -------------------------------------------------------------------------------------------------------- frozen


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of layers whose backward ran."""
    ran: list[str] = []
    backward = Layer.backward

    def spy(self: Layer, *arguments: object) -> object:
        ran.append(self.kind)
        return backward(self, *arguments)

    monkeypatch.setattr(Layer, "backward", spy)
    return ran


def test_nothing_is_computed_below_the_deepest_trainable_layer(monkeypatch):
    net = network(SMALL)
    ran = spied(monkeypatch)
    engine(net, {"fc.weight", "fc.bias"}).step(batch(net), LABELS, 0, 0)
    assert ran == ["dense"]


def test_frozen_layers_above_a_trainable_one_pass_the_gradient():
    net = network(SMALL)
    full, part = engine(net), engine(net, {"conv2.weight"})
    images = batch(net)
    for each in (full, part):  # the same statistics: those of evaluation
        for name, buffer in each.buffers.items():
            if name.endswith("running_var"):
                buffer[...] = 2.0
    part.step(images, LABELS, 0, 0)
    # Differences of the loss with all batch norms in their evaluation form.
    view, found = part.parameters["conv2.weight"], part.gradients["conv2.weight"]
    for index in [(0, 0, 0, 0), (2, 1, 1, 2), (3, 3, 2, 1)]:
        view[index] += 1e-5
        above = part.step(images, LABELS, 0, 0).loss
        view[index] -= 2e-5
        below = part.step(images, LABELS, 0, 0).loss
        view[index] += 1e-5
        part.step(images, LABELS, 0, 0)
        assert found[index] == pytest.approx((above - below) / 2e-5, abs=1e-8)


def test_a_frozen_batch_norm_keeps_its_statistics():
    net = network(SMALL)
    trained = engine(net, {"conv1.weight", "bn2.weight"})
    before = {name: array.copy() for name, array in trained.buffers.items()}
    trained.step(batch(net), LABELS, 0, 0)
    for name, array in trained.buffers.items():
        assert np.array_equal(array, before[name]) == name.startswith("bn1")
    # bn1 has no trainable parameter, bn2 has one: the scale of its batch is learned.


def test_a_batch_norm_below_everything_trainable_is_as_in_evaluation():
    net = network("conv(3, 3x3) -> batch_norm(affine = false) -> relu -> flatten -> fc: dense(3)")
    trained = engine(net, {"fc.weight"})
    images = batch(net)
    (outputs,) = trained.step(images, LABELS, 0, 0).outputs.values()
    np.testing.assert_allclose(outputs, next(iter(trained.evaluate(images).values())), atol=1e-12)


def test_a_dropout_in_front_of_a_new_head_acts_and_one_in_the_frozen_trunk_does_not():
    net = network(
        "conv1: conv(4, 3x3) -> trunk: dropout(0.5) -> conv2: conv(4, 3x3) -> global_avg_pool -> flatten\n"
        "head: dropout(0.5) -> fc: dense(3)"
    )
    plan = training_plan(net, {"fc.weight"})
    assert [name for name, role in plan.roles.items() if role.layer.kind == "dropout" and role.trains] == ["head"]
    assert not plan.roles["head"].fixed
    assert plan.roles["trunk"].fixed and plan.roles["conv2"].fixed
    (last,) = plan.fixed_frontier
    assert plan.roles[last].layer.kind == "flatten"
    everything = training_plan(net, default_trainable(net))
    assert everything.roles["trunk"].trains and everything.roles["head"].trains
    trained = engine(net, {"fc.weight"})
    images = batch(net)
    one, two = (next(iter(trained.step(images, LABELS, 0, number).outputs.values())) for number in (1, 2))
    assert not np.array_equal(one, two)


def test_stochastic_depth_of_a_frozen_trunk_does_not_act():
    net = network("residual { conv1: conv(3, 1x1) -> drop: stochastic_depth(0.5) }\nflatten -> fc: dense(3)")
    plan = training_plan(net, {"fc.weight"})
    assert not plan.roles["drop"].trains
    assert training_plan(net, {"conv1.weight"}).roles["drop"].trains


# --------------------------------------------------------------------------- shared weights, outputs, auxiliary heads


def test_gradients_of_shared_weights_are_summed():
    shared = network("tower: conv(3, 3x3, padding = half)\nshare tower\nflatten -> fc: dense(3)")
    apart = network("one: conv(3, 3x3, padding = half)\ntwo: conv(3, 3x3, padding = half)\nflatten -> fc: dense(3)")
    together, single = engine(shared), engine(apart)
    for own in ("weight", "bias"):
        single.parameters[f"one.{own}"][...] = together.parameters[f"tower.{own}"]
        single.parameters[f"two.{own}"][...] = together.parameters[f"tower.{own}"]
    single.parameters["fc.weight"][...] = together.parameters["fc.weight"]
    images = batch(shared)
    assert together.step(images, LABELS, 0, 0).loss == pytest.approx(single.step(images, LABELS, 0, 0).loss)
    for own in ("weight", "bias"):
        expected = single.gradients[f"one.{own}"] + single.gradients[f"two.{own}"]
        np.testing.assert_allclose(together.gradients[f"tower.{own}"], expected, atol=1e-13)


def test_shared_batch_norm_takes_the_statistics_of_both_batches():
    net = network("tower: { norm: batch_norm(momentum = 0.5) -> scale(3) }\nshare tower\nflatten -> fc: dense(3)")
    trained = engine(net)
    images = batch(net)
    trained.step(images, LABELS, 0, 0)
    # The first pass sees the images, the second three times the normalised ones, whose mean is 0.
    first = 0.5 * images["image"].mean((0, 2, 3))
    np.testing.assert_allclose(trained.buffers["tower.norm.running_mean"], 0.5 * first, atol=1e-9)
    assert trained.buffers["tower.norm.num_batches_tracked"] == 2


TWO_HEADS = """
trunk: conv(4, 3x3) -> flat: flatten
auxiliary extra: dense(3)
from flat -> main: dense(3)
"""


def test_auxiliary_heads_add_their_weighted_loss():
    net = network(TWO_HEADS)
    alone, both = engine(net), engine(net, auxiliary={"extra": 0.3})
    images = batch(net)
    without = alone.step(images, LABELS, 0, 0)
    with_it = both.step(images, LABELS, 0, 0)
    assert set(without.outputs) | {"extra"} == set(with_it.outputs)
    extra, _ = CrossEntropy().value_and_gradient(np, with_it.outputs["extra"], LABELS)
    assert with_it.loss == pytest.approx(without.loss + 0.3 * extra)
    assert "extra.weight" in both.parameters.views and "extra.weight" not in alone.parameters.views


def test_several_outputs_have_targets_and_losses_of_their_own():
    net = network("trunk: conv(4, 3x3) -> flat: flatten\noutput kind: dense(3)\noutput place: from flat -> dense(2)")
    losses = {"kind": CrossEntropy(), "place": MeanSquaredError()}
    trained = engine(net, loss=losses)
    targets = {"kind": LABELS, "place": np.ones((4, 2))}
    images = batch(net)
    step = trained.step(images, targets, 0, 0)
    parts = [losses[name].value_and_gradient(np, step.outputs[name], targets[name])[0] for name in losses]
    assert step.loss == pytest.approx(sum(parts))
    with pytest.raises(TrainError, match="no targets for output `place`") as error:
        trained.step(images, {"kind": LABELS}, 0, 0)
    assert error.value.code == "E0951"
    with pytest.raises(TrainError, match="`place` has no loss"):
        engine(net, loss={"kind": CrossEntropy()})
    first = engine(net, loss=CrossEntropy(), auxiliary={"place": 0})
    assert first.step(images, LABELS, 0, 0).loss == pytest.approx(parts[0])
    assert not any(name.startswith("place") for name in first.parameters)


def test_two_names_of_one_output_count_twice():
    net = network("flatten -> fc: dense(3)\noutput a:;\noutput b:;")
    trained = engine(net, auxiliary={"b": 0.5})
    images = batch(net)
    step = trained.step(images, LABELS, 0, 0)
    once = engine(net, auxiliary={"b": 0})
    assert step.loss == pytest.approx(1.5 * once.step(images, LABELS, 0, 0).loss)
    np.testing.assert_allclose(trained.gradients.flat, 1.5 * once.gradients.flat, atol=1e-14)


def test_an_output_that_is_read_on_has_both_gradients():
    report = gradcheck(
        network("conv(2, 3x3) -> relu\noutput map:\nglobal_avg_pool -> flatten\noutput vector: dense(3)")
    )
    assert report.passed, str(report)


def test_several_inputs_and_open_extents():
    net = network("from a -> conv(2, 3x3)\nlet y = x\nfrom b -> conv(2, 3x3)\nadd(x, y)\nglobal_avg_pool -> flatten -> dense(3)",
                  "input a: 3x?x?\ninput b: 3x?x?")  # fmt: skip
    trained = engine(net)
    rng = np.random.default_rng(0)
    for extent in (7, 9):
        images = {name: rng.standard_normal((4, 3, extent, extent)) for name in ("a", "b")}
        assert np.isfinite(trained.step(images, LABELS, 0, 0).loss)
    assert gradcheck(net, [(3, 6, 5), (3, 6, 5)]).passed


# -------------------------------------------------------------------------------------------------------- random


def test_what_is_random_depends_on_seed_step_and_node_alone():
    body = "flatten -> drop: dropout(0.5) -> fc: dense(3)"
    one, two = engine(network(body)), engine(network("identity\nother: dropout(0.3)\n" + body))
    images = batch(one.network)

    def kept(trained: ReferenceEngine, seed: int, number: int) -> np.ndarray:
        """The numbers that dropout let through: where a weight has a gradient."""
        trained.step(images, LABELS, seed, number)
        return trained.gradients["fc.weight"].copy()

    first = kept(one, 3, 5)
    kept(one, 4, 5)
    np.testing.assert_array_equal(kept(one, 3, 5), first)
    assert not np.array_equal(kept(one, 3, 6), first)
    assert not np.array_equal(kept(one, 4, 5), first)
    # Another node that draws changes nothing of this one: frozen, it is out of the way.
    net = two.network
    np.testing.assert_array_equal(
        [role.trains for role in training_plan(net, {"fc.weight"}).roles.values() if role.layer.stochastic],
        [True, True],
    )


def test_dropout_keeps_the_expectation():
    net = network("flatten -> drop: dropout(0.25) -> fc: dense(1, bias = false)", "input image: 1x100x100")
    trained = engine(net, loss=MeanSquaredError())
    trained.parameters["fc.weight"][...] = 1
    ones = {"image": np.ones((4, 1, 100, 100))}
    outputs = trained.step(ones, np.zeros((4, 1)), 0, 0).outputs
    values = next(iter(outputs.values()))
    # The sum of 10,000 numbers, each 4/3 with probability 3/4: deviation sqrt(10000 * 1/3) = 58.
    assert np.all(np.abs(values - 10_000) < 6 * 58)
    assert len(np.unique(values)) > 1


def test_evaluation_is_not_random():
    net = network("flatten -> dropout(0.9) -> dense(3)")
    trained = engine(net)
    images = batch(net)
    one, two = trained.evaluate(images), trained.evaluate(images)
    np.testing.assert_array_equal(next(iter(one.values())), next(iter(two.values())))


# ------------------------------------------------------------------------------------------------------- refused


def refused(code: str, words: str, make) -> None:
    with pytest.raises((TrainError, RunError), match=words) as error:
        make()
    assert error.value.code == code


def test_a_batch_of_one_with_batch_norm():
    net = network("global_avg_pool -> flatten -> norm: batch_norm -> fc: dense(3)")
    one = batch(net, 1)
    refused("E0953", "`norm`.*single value for each channel", lambda: engine(net).step(one, LABELS[:1], 0, 0))
    assert np.isfinite(engine(net, {"fc.weight"}).step(one, LABELS[:1], 0, 0).loss)  # frozen: running statistics
    assert np.isfinite(engine(network(SMALL)).step(one, LABELS[:1], 0, 0).loss)  # positions to take statistics of


def test_what_training_refuses():
    net = network(SMALL)
    images = batch(net)
    refused("E0952", "label 3 of image 1", lambda: engine(net).step(images, np.array([0, 3, 0, 0]), 0, 0))
    refused("E0951", r"labels of shape \(3,\)", lambda: engine(net).step(images, LABELS[:3], 0, 0))
    refused("E0954", "nothing of n is trainable", lambda: engine(net, set()))
    refused("E0954", "no parameter `fc.wieght`", lambda: engine(net, {"fc.wieght"}))
    refused("E0954", "no parameter `bn1.running_mean`", lambda: engine(net, {"bn1.running_mean"}))
    refused("E0954", "no output `axu`", lambda: engine(net, auxiliary={"axu": 1.0}))
    refused("E0954", "no loss of n depends on", lambda: engine(network(TWO_HEADS), {"extra.weight", "main.weight"}))
    refused("E0712", "image", lambda: engine(net).step({"image": np.zeros((4, 3, 9, 9))}, LABELS, 0, 0))
    refused("E0711", "conv1.weight", lambda: ReferenceEngine(net, WeightStore(net), {"fc.weight"}, CrossEntropy()))


def test_a_gradient_cannot_pass_a_layer_that_has_none(monkeypatch):
    net = network("conv1: conv(3, 3x3) -> step: relu -> flatten -> fc: dense(3)")
    monkeypatch.setattr(type(net.node("step").layer), "derive", Layer.derive)
    refused("E0955", "cannot pass `step`: relu has none", lambda: engine(net))
    assert np.isfinite(engine(net, {"fc.weight"}).step(batch(net), LABELS, 0, 0).loss)


# --------------------------------------------------------------------------------------------------- not finite


def test_the_node_that_first_becomes_non_finite():
    net = network(SMALL)
    images = batch(net)
    fine = engine(net)
    assert fine.first_non_finite(images, LABELS, 0, 0) is None
    statistics = {name: array.copy() for name, array in fine.buffers.items()}
    fine.parameters["conv2.weight"][0, 0, 0, 0] = np.inf
    assert fine.first_non_finite(images, LABELS, 0, 0) == "conv2"
    for name, array in fine.buffers.items():
        np.testing.assert_array_equal(array, statistics[name])
    fine.parameters["bn1.weight"][0] = np.nan
    assert fine.first_non_finite(images, LABELS, 0, 0) == "bn1"
    images["image"][1, 2, 3, 4] = np.nan
    assert fine.first_non_finite(images, LABELS, 0, 0) == "image"


def test_running_statistics_that_overflow_name_the_layer():
    net = network(SMALL)
    trained = engine(net)
    trained.parameters["conv1.weight"][...] *= 1e170  # its square is infinite, and a number over infinity is 0
    assert trained.first_non_finite(batch(net), LABELS, 0, 0) == "bn1"


def test_a_loss_that_is_not_finite_names_the_output():
    net = network("flatten -> fc: dense(3)")
    trained = engine(net, loss=MeanSquaredError())
    trained.parameters["fc.weight"][...] = 1e200
    assert trained.first_non_finite(batch(net), np.zeros((4, 3)), 0, 0) == "fc"


def test_a_gradient_that_is_not_finite_names_the_layer():
    net = network("fc: dense(3)\nroot: sqrt", "input v: 2")
    trained = engine(net, loss=MeanSquaredError())
    trained.parameters.flat[...] = 0  # the square root of 0 is 0, and its slope there infinite
    inputs = {"v": np.ones((4, 2))}
    trained.gradients.flat[...] = 7
    assert trained.first_non_finite(inputs, np.ones((4, 3)), 0, 0) == "root"
    assert (trained.gradients.flat == 7).all()
