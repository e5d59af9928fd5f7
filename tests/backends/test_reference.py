"""The reference executor on networks that are small enough to compute by hand."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from tiny import Add, Call, Double, Halve, Same, Scale, chain, images, network

from netdsl.backends.errors import RunError
from netdsl.backends.reference import Model
from netdsl.language.diagnostics import SpecError
from netdsl.weights import WeightError


def test_a_chain() -> None:
    x = images(2, 3, 4, 5)
    model = Model(chain((3, 4, 5), Double(), Scale(), Double()))
    weight = np.array([1, -2, 3], np.float32).reshape(3, 1, 1)
    model.load({"1.weight": weight, "1.offset": np.ones((3, 1, 1), np.float32)})
    np.testing.assert_allclose(model(x), (x * 2 * weight + 1) * 2, rtol=1e-6)


def test_add_of_a_tensor_with_itself() -> None:
    model = Model(network({"image": (1, 2, 2)}, [("a", Add(), ("image", "image", "image"))], {"output": "a"}))
    x = images(1, 1, 2, 2)
    np.testing.assert_allclose(model(x), 3 * x, rtol=1e-6)


def test_several_inputs_and_outputs() -> None:
    net = network(
        {"left": (1, 2, 2), "right": (1, 2, 2)},
        [("sum", Add(), ("left", "right")), ("twice", Double(), ("sum",))],
        {"plain": "sum", "doubled": "twice"},
    )
    left, right = images(3, 1, 2, 2), images(3, 1, 2, 2) + 1
    found = Model(net)({"right": right, "left": left})
    assert isinstance(found, dict) and list(found) == ["plain", "doubled"]
    np.testing.assert_allclose(found["doubled"], 2 * (left + right), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_each_image_of_a_batch_is_computed_alone(batch: int) -> None:
    model = Model(chain((3, 8, 8), Scale(), Halve(), Double()))
    model.initialize(0)
    x = images(batch, 3, 8, 8)
    together = model(x)
    for i in range(batch):
        np.testing.assert_array_equal(together[i : i + 1], model(x[i : i + 1]))


def test_taps_by_node_scope_and_output() -> None:
    net = network(
        {"image": (3, 4, 4)},
        [
            ("layer1.0.a", Double(), ("image",)),
            ("layer1.0.b", Double(), ("layer1.0.a",)),
            ("c", Double(), ("layer1.0.b",)),
        ],
        {"logits": "c"},
    )
    net.tensors["layer1"] = "layer1.0.b"
    x = images(1, 3, 4, 4)
    y, taps = Model(net)(x, tap=["layer1", "layer1.0.a", "logits", "image"])
    assert list(taps) == ["layer1", "layer1.0.a", "logits", "image"]
    for array, factor in (
        (y, 8),
        (taps["layer1"], 4),
        (taps["layer1.0.a"], 2),
        (taps["logits"], 8),
        (taps["image"], 1),
    ):
        np.testing.assert_array_equal(array, factor * x)
    assert list(Model(net)(x, tap="layer1")[1]) == ["layer1"]
    assert Model(net)(x, tap=[])[1] == {}


def test_unknown_tap() -> None:
    with pytest.raises(RunError) as caught:
        Model(chain((1, 2, 2), Double()))(images(1, 1, 2, 2), tap=["imge"])
    assert caught.value.code == "E0713" and "`image`" in str(caught.value)


def with_head(act: Any) -> Any:
    net = network(
        {"image": (3, 4, 4)},
        [
            ("body", Double(), ("image",)),
            ("aux.0", Scale(), ("body",)),
            ("aux.1", Call(act=act), ("aux.0",)),
            ("top", Double(), ("body",)),
        ],
        {"logits": "top"},
    )
    net.auxiliary["aux"] = "aux.1"
    return net


def test_auxiliary_heads_do_not_run_and_need_no_weights() -> None:
    seen: list[np.ndarray] = []

    def watch(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return x

    model = Model(with_head(watch))
    x = images(1, 3, 4, 4)
    np.testing.assert_array_equal(model(x), 4 * x)
    assert not seen
    with pytest.raises(RunError, match=r"aux\.0\.weight"):  # asked for by name, it runs and needs them
        model(x, tap="aux")
    model.load({"aux.0.weight": np.ones((3, 1, 1)), "aux.0.offset": np.ones((3, 1, 1))})
    np.testing.assert_allclose(model(x, tap="aux")[1]["aux"], 2 * x + 1, rtol=1e-6)
    assert len(seen) == 1


def test_activations_are_freed_after_their_last_reader() -> None:
    """Of twelve activations at most five live at a time: two that wait, a step's input, its output, a loop variable."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal most
        result = x + 1
        alive.append(weakref.ref(result))
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
        return result

    names = ["image", *(f"s{i}" for i in range(12))]
    steps: list[Any] = [(names[i + 1], Call(act=step), (names[i],)) for i in range(12)]
    steps.append(("skip", Add(), ("s0", "s5")))
    steps.append(("end", Add(), ("skip", "s11")))
    order = [*steps[:6], steps[12], *steps[6:12], steps[13]]
    model = Model(network({"image": (1, 2, 2)}, order, {"output": "end"}))
    _, taps = model(images(1, 1, 2, 2), tap=["s2"])
    assert len(alive) == 12 and most <= 5
    assert set(taps) == {"s2"}


def test_the_callers_array_is_never_handed_back_or_changed() -> None:
    x = images(1, 2, 3, 3)
    before = x.copy()
    y, taps = Model(chain((2, 3, 3), Same(), Halve()))(x, tap=["0", "image"])
    for array in (y, taps["0"], taps["image"]):
        array += 1
    np.testing.assert_array_equal(x, before)


def test_float32_throughout_and_float64_on_request() -> None:
    to_double = Call(act=lambda x: x.astype(np.float64))
    assert Model(chain((1, 2, 2), to_double))(images(1, 1, 2, 2)).dtype == np.float32
    model = Model(chain((1, 2, 2), Scale()), dtype="float64")
    model.load({"0.weight": np.full((1, 1, 1), 1 / 3), "0.offset": np.zeros((1, 1, 1))})
    assert model(np.ones((1, 1, 2, 2))).tolist() == [[[[1 / 3] * 2] * 2]]
    model.initialize(0, everything=True)
    assert model.weights["0.weight"].dtype == np.float64


def test_a_weight_shared_by_two_nodes() -> None:
    net = network(
        {"image": (1, 1, 1)}, [("a", Scale(), ("image",)), ("b", Scale(), ("a",))], {"output": "b"}, {"b": "a"}
    )
    model = Model(net)
    model.load({"a.weight": np.full((1, 1, 1), 3.0), "a.offset": np.full((1, 1, 1), 1.0)})
    assert model(np.ones((1, 1, 1, 1), np.float32)).item() == (1 * 3 + 1) * 3 + 1


# -------------------------------------------------------------------------------------------------- open extents (`?`)


def test_open_extents_take_what_comes() -> None:
    model = Model(chain((3, None, None), Double(), Halve()))
    for height, width in ((4, 4), (5, 7), (1, 1)):
        x = images(2, 3, height, width)
        np.testing.assert_array_equal(model(x), 2 * x[:, :, ::2, ::2])


def test_open_extents_that_do_not_fit_are_told_like_a_spec_that_does_not() -> None:
    net = network(
        {"image": (1, None, None)}, [("h", Halve(), ("image",)), ("sum", Add(), ("h", "image"))], {"output": "sum"}
    )
    model = Model(net)
    assert model(images(1, 1, 1, 1)).shape == (1, 1, 1, 1)
    with pytest.raises(SpecError) as caught:
        model(images(1, 1, 4, 4))
    text = str(caught.value)
    assert "E0304" in text and "sum: add wants equal shapes, found 1x2x2, 1x4x4" in text and "image of 1x4x4" in text


# ------------------------------------------------------------------------------------------------------------- refused


def test_parameters_without_values_refuse_to_run() -> None:
    model = Model(chain((3, 4, 4), Scale(), Double(), Scale()))
    with pytest.raises(RunError) as caught:
        model(images(1, 3, 4, 4))
    text = str(caught.value)
    assert caught.value.code == "E0711"
    for word in ("2 of 2 parameters", "`0.weight`", "--weights FILE", "--random-weights SEED"):
        assert word in text
    model.load({"0.weight": np.ones((3, 1, 1)), "0.offset": np.ones((3, 1, 1))}, except_="2")
    with pytest.raises(RunError, match="1 of 2 parameters"):
        model(images(1, 3, 4, 4))
    assert model.initialize(0) == ("2.weight", "2.offset")
    assert model(images(1, 3, 4, 4)).shape == (1, 3, 4, 4)


def test_a_network_without_parameters_just_runs() -> None:
    assert Model(chain((3, 4, 4), Double()))(images(1, 3, 4, 4)).shape == (1, 3, 4, 4)


def test_random_weights_are_the_same_each_time() -> None:
    def run(seed: int) -> np.ndarray:
        model = Model(chain((3, 4, 4), Scale(), Scale()))
        model.initialize(seed)
        return model(images(1, 3, 4, 4))

    np.testing.assert_array_equal(run(5), run(5))
    assert not np.array_equal(run(5), run(6))


def refused(shape: tuple[int | None, ...], x: object, *words: str) -> str:
    model = Model(chain(shape, Double()))
    with pytest.raises(RunError) as caught:
        model(x)
    text = str(caught.value)
    assert caught.value.code == "E0712", text
    for word in words:
        assert word in text, text
    return text


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((3, 8, 6), ("(3, 8, 6)", "(N, 3, 8, 6)", "batch axis is missing", "x[None]")),
        ((2, 8, 6, 3), ("(2, 8, 6, 3)", "channels come last", "x.transpose(0, 3, 1, 2)")),
        ((8, 6, 3), ("channels come last and the batch axis", "x.transpose(2, 0, 1)[None]")),
        ((1, 3, 9, 6), ("(1, 3, 9, 6)", "(N, 3, 8, 6)", "3x9x6")),
        ((1, 1, 8, 6), ("(1, 1, 8, 6)", "(N, 3, 8, 6)")),
        ((1, 3, 8), ("(1, 3, 8)",)),
        ((), ("()",)),
    ],
)
def test_shapes_that_do_not_fit_name_both_and_hint(found: tuple[int, ...], words: tuple[str, ...]) -> None:
    refused((3, 8, 6), np.zeros(found, np.float32), *words)


def test_the_hints_work() -> None:
    model = Model(chain((3, 8, 6), Double()))
    x = images(3, 8, 6)
    expected = model(x[None])
    last = np.ascontiguousarray(x.transpose(1, 2, 0))
    np.testing.assert_array_equal(model(last[None].transpose(0, 3, 1, 2)), expected)
    np.testing.assert_array_equal(model(last.transpose(2, 0, 1)[None]), expected)


def test_grey_images_without_axes() -> None:
    refused((1, 8, 6), np.zeros((8, 6), np.float32), "x[None, None]")
    refused((1, 8, 6), np.zeros((5, 8, 6), np.float32), "x[:, None]")


def test_open_extents_are_written_as_question_marks() -> None:
    refused((3, None, None), np.zeros((1, 1, 2, 2), np.float32), "(N, 3, ?, ?)")


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool"])
def test_bytes_are_refused_with_the_way_out(kind: str) -> None:
    refused((3, 8, 6), np.zeros((1, 3, 8, 6), kind), kind, "x.astype('float32')", "/ 255")


def test_what_is_no_array() -> None:
    refused((3, 8, 6), "photo.jpg", "U")
    refused((3, 8, 6), [[1.0], [1.0, 2.0]], "not an array")
    refused((3, 8, 6), np.zeros((0, 3, 8, 6), np.float32), "empty")


def test_other_float_widths_are_converted() -> None:
    for kind in ("float16", "float64"):
        assert Model(chain((1, 1, 1), Double()))(np.ones((1, 1, 1, 1), kind)).dtype == np.float32


def test_inputs_by_name() -> None:
    net = network({"left": (1, 2, 2), "right": (1, 2, 2)}, [("sum", Add(), ("left", "right"))], {"output": "sum"})
    model = Model(net)
    x = images(1, 1, 2, 2)
    for given, word in (
        (x, "2 inputs"),
        ({"left": x}, "`right`"),
        ({"left": x, "rigth": x}, "did you mean `right`"),
        ({"left": x, "right": images(2, 1, 2, 2)}, "differ in the number"),
    ):
        with pytest.raises(RunError, match=word):
            model(given)


def test_the_only_input_may_be_named() -> None:
    x = images(1, 1, 2, 2)
    np.testing.assert_array_equal(Model(chain((1, 2, 2), Double()))({"image": x}), 2 * x)


def test_not_enough_memory_names_the_layer() -> None:
    def huge(x: np.ndarray) -> np.ndarray:
        return np.empty((1 << 60,), np.float32)

    with pytest.raises(RunError) as caught:
        Model(chain((1, 2, 2), Double(), Call(act=huge)))(images(1, 1, 2, 2))
    assert caught.value.code == "E0714" and "`1`" in str(caught.value) and "1x2x2" in str(caught.value)


def test_a_layer_that_breaks_its_own_shape_rule() -> None:
    with pytest.raises(RunError) as caught:
        Model(chain((1, 2, 2), Call(act=lambda x: x[:, :, :1])))(images(1, 1, 2, 2))
    assert caught.value.code == "E0715" and "(1, 1, 1, 2)" in str(caught.value) and "(1, 1, 2, 2)" in str(caught.value)


def test_an_interrupt_stops_at_once_and_leaves_the_model_usable() -> None:
    interrupt = True

    def act(x: np.ndarray) -> np.ndarray:
        if interrupt:
            raise KeyboardInterrupt
        return x

    model = Model(chain((1, 2, 2), Call(act=act), Double()))
    x = images(1, 1, 2, 2)
    with pytest.raises(KeyboardInterrupt):
        model(x)
    interrupt = False
    np.testing.assert_array_equal(model(x), 2 * x)


def test_weights_that_are_not_finite_are_refused_at_loading() -> None:
    model = Model(chain((1, 2, 2), Scale()))
    with pytest.raises(WeightError, match=r"`0\.weight` holds NaN"):
        model.load({"0.weight": np.full((1, 1, 1), np.nan), "0.offset": np.zeros((1, 1, 1))})
    with pytest.raises(RunError, match="E0711"):
        model(images(1, 1, 2, 2))


def test_saving_and_loading(tmp_path: Any) -> None:
    first = Model(chain((3, 4, 4), Scale()))
    first.initialize(1)
    first.save(tmp_path / "w.safetensors")
    second = Model(chain((3, 4, 4), Scale()))
    second.load(tmp_path / "w.safetensors")
    x = images(1, 3, 4, 4)
    np.testing.assert_array_equal(first(x), second(x))
