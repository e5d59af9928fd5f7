"""Receptive fields, against published figures and against networks that are run with one input disturbed at a time."""

from collections.abc import Sequence
from fractions import Fraction
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Add, Concat, Conv, Dense, Flatten, GlobalPool, Norm, Pool, Relu, Upsample, Wired, chain

from netdsl.analysis.receptive import Field, Whole, describe, receptive_fields
from netdsl.ir.layer import Layer
from netdsl.ir.network import Network


def conv(kernel: int, stride: int = 1, padding: int = 0) -> Conv:
    return Conv(filters=4, kernel=kernel, stride=stride, padding=padding)


def last(network: Network) -> Field:
    field = receptive_fields(network)[network.outputs["output"]]
    assert isinstance(field, Field)
    return field


def published(network: Network) -> tuple[int, int, int]:
    """Size, stride and padding, as Araujo et al. 2019 tabulate them."""
    (rows, columns) = last(network).axes
    assert rows == columns
    return rows.size, int(rows.stride), int(-rows.start)


def test_alexnet_v2() -> None:
    network = chain(
        "alexnet_v2", (3, 231, 231),
        conv(11, 4), Pool(kernel=3, stride=2), conv(5, 1, 2), Pool(kernel=3, stride=2),
        conv(3, 1, 1), conv(3, 1, 1), conv(3, 1, 1), Pool(kernel=3, stride=2),
    )  # fmt: skip
    assert published(network) == (195, 32, 64)


def test_vgg_16() -> None:
    layers = [layer for count in (2, 2, 3, 3, 3) for layer in (*[conv(3, 1, 1)] * count, Pool(kernel=2))]
    assert published(chain("vgg_16", (3, 224, 224), *layers)) == (212, 32, 90)


@pytest.mark.parametrize(("depths", "size"), [((3, 4, 6, 3), 483), ((3, 4, 23, 3), 1027), ((3, 8, 36, 3), 1507)])
def test_resnet_v1(depths: tuple[int, ...], size: int) -> None:
    """The TF-Slim networks of the article, which step in the last block of a stage."""
    wired = Wired("resnet_v1", 3, 224, 224)
    wired("conv1", conv(7, 2, 3))
    trunk = wired("pool1", Pool(kernel=3, stride=2, padding=1))
    for stage, depth in enumerate(depths):
        for block in range(depth):
            name = f"block{stage + 1}.{block}"
            stride = 2 if block == depth - 1 and stage < 3 else 1
            wired(f"{name}.conv1", conv(1), trunk)
            wired(f"{name}.conv2", conv(3, stride, 1))
            lane = wired(f"{name}.conv3", conv(1))
            shortcut = wired(f"{name}.shortcut", conv(1, stride), trunk)
            trunk = wired(f"{name}.add", Add(), [lane, shortcut])
    field = last(wired.output())
    assert [(axis.size, axis.stride) for axis in field.axes] == [(size, 32)] * 2


def test_mobilenet_v1_with_the_padding_of_tensorflow() -> None:
    """On even extents a 3x3 window with step 2 is padded behind, so nothing is in front of it."""
    layers: list[Layer] = [conv(3, 2)]
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        layers += [conv(3, stride, 1 if stride == 1 else 0), conv(1)]
    assert published(chain("mobilenet_v1", (3, 512, 512), *layers)) == (315, 32, 126)


def test_the_input_sees_itself() -> None:
    network = chain("one", (3, 9, 9), conv(3))
    assert describe(receptive_fields(network)["image"]) == {
        "size": [1, 1], "stride": [1, 1], "start": [0, 0], "center": [0, 0], "whole": False,
    }  # fmt: skip
    assert describe(receptive_fields(network)["0"]) == {
        "size": [3, 3], "stride": [1, 1], "start": [0, 0], "center": [1, 1], "whole": False,
    }  # fmt: skip


def test_the_center_of_an_even_window_lies_between_two_inputs() -> None:
    described = describe(receptive_fields(chain("even", (3, 8, 8), Pool(kernel=2)))["0"])
    assert described is not None
    assert described["center"] == [0.5, 0.5]


def test_a_global_layer_sees_the_whole_input_and_so_does_what_follows() -> None:
    fields = receptive_fields(chain("head", (3, 20, 30), conv(3), GlobalPool(), Flatten(), Dense(units=5), Relu()))
    assert [fields[name] for name in "1234"] == [Whole((20, 30))] * 4
    assert describe(fields["4"]) == {"size": [20, 30], "whole": True}


def test_a_gate_from_a_global_pool_sees_the_whole_input() -> None:
    wired = Wired("squeeze_and_excitation", 4, 16, 16)
    wired("body", conv(3, 1, 1))
    wired("gate", GlobalPool())
    wired("gated", Add(), ["body", "gate"])
    assert receptive_fields(wired.output())["gated"] == Whole((16, 16))


def test_flatten_mixes_positions_unless_there_is_one() -> None:
    assert receptive_fields(chain("many", (3, 8, 8), conv(3), Flatten()))["1"] == Whole((8, 8))
    one = receptive_fields(chain("one", (3, 8, 8), conv(8), Flatten()))["1"]
    assert isinstance(one, Field)
    assert [axis.size for axis in one.axes] == [8, 8]


def test_paths_with_different_steps_see_the_whole_input() -> None:
    wired = Wired("unaligned", 4, 9, 9)
    wired("fine", conv(1))
    wired("coarse", conv(1, 2), "image")
    wired("both", Add(), ["fine", "coarse"])
    assert receptive_fields(wired.output())["both"] == Whole((9, 9))


def test_several_inputs() -> None:
    wired = Wired("two", left=(1, 16, 16), right=(1, 16, 16))
    wired("a", conv(3, 1, 1), "left")
    wired("b", conv(5, 1, 2), "right")
    wired("both", Concat(), ["a", "b"])
    network = wired.output()
    assert set(receptive_fields(network, "right")) == {"right", "b", "both"}
    by_source = {source: receptive_fields(network, source)["both"] for source in ("left", "right")}
    assert [axis.size for axis in by_source["left"].axes] == [3, 3]  # type: ignore[union-attr]
    assert [axis.size for axis in by_source["right"].axes] == [5, 5]  # type: ignore[union-attr]
    assert receptive_fields(network)["both"] == by_source["left"]
    assert [axis.size for axis in receptive_fields(network)["b"].axes] == [5, 5]  # type: ignore[union-attr]
    with pytest.raises(KeyError):
        receptive_fields(network, "middle")


def test_upsampling_makes_the_step_a_fraction() -> None:
    field = last(chain("decoder", (3, 8, 8), conv(3, 2, 1), Upsample(factor=4), conv(3, 1, 1)))
    assert [axis.stride for axis in field.axes] == [Fraction(1, 2)] * 2
    assert [axis.size for axis in field.axes] == [4, 4]


def test_a_network_of_many_layers_takes_a_moment() -> None:
    network = chain("deep", (4, 8, 8), *[conv(3, 1, 1)] * 5000)
    (rows, _) = last(network).axes
    assert (rows.size, rows.start) == (10_001, -5000)


# A network along one axis as (operation, kernel, stride, padding); it is run with plain loops, on ones, to see which
# inputs make a difference to which outputs.

Step = tuple[str, int, int, int]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("window"), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)),
        st.tuples(st.just("up"), st.integers(2, 3), st.just(1), st.just(0)),
    ),
    max_size=4,
)


def run(signal: list[float], path: Sequence[Step]) -> list[float]:
    for operation, kernel, stride, padding in path:
        if operation == "up":
            signal = [value for value in signal for _ in range(kernel)]
            continue
        padded = [0.0] * padding + signal + [0.0] * padding
        signal = [sum(padded[at : at + kernel]) for at in range(0, len(padded) - kernel + 1, stride)]
    return signal


def seen(length: int, paths: Sequence[Sequence[Step]]) -> list[list[int]]:
    """For each output: the inputs that change it."""

    def outputs(signal: list[float]) -> list[float]:
        return [sum(values) for values in zip(*(run(signal, path) for path in paths), strict=False)]

    at_rest = outputs([1.0] * length)
    found: list[list[int]] = [[] for _ in at_rest]
    for position in range(length):
        disturbed = outputs([2.0 if index == position else 1.0 for index in range(length)])
        for index, (before, after) in enumerate(zip(at_rest, disturbed, strict=True)):
            if before != after:
                found[index].append(position)
    return found


def layers(path: Sequence[Step]) -> list[Layer]:
    return [
        Upsample(factor=kernel) if operation == "up" else conv(kernel, stride, padding)
        for operation, kernel, stride, padding in path
    ]


@settings(max_examples=60, deadline=None)
@given(steps)
def test_a_disturbed_input_changes_what_sees_it(path: list[Step]) -> None:
    length = 60
    (axis,) = last(chain("path", (1, length), *layers(path), Norm())).axes
    whole_numbers = all(operation == "window" for operation, *_ in path)
    coarsest = prod(stride for _, _, stride, _ in path)
    for index, inputs in enumerate(seen(length, [path])):
        first = axis.start + index * axis.stride
        end = first + axis.extent - 1
        margin = 0 if whole_numbers else coarsest
        if first < margin or end > length - 1 - margin:
            # Part of the field may be padding.
            assert all(first - coarsest < position < end + coarsest for position in inputs)
        elif whole_numbers:
            assert inputs[0] == first
            assert inputs[-1] == end
        else:
            # Behind an upsampling: up to one step of the coarsest grid.
            assert abs(inputs[0] - first) < coarsest
            assert abs(inputs[-1] - end) < coarsest


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.integers(0, 3), st.integers(1, 3))
def test_a_join_sees_the_union(wide: int, shift: int, stride: int) -> None:
    """A path of plain windows beside one that is strided alike and shifted by its padding."""
    length = 40
    first: list[Step] = [("window", 2 * wide + 1, stride, wide), ("window", 3, 1, 1)]
    second: list[Step] = [("window", 1 + shift, stride, shift)]
    wired = Wired("joined", 1, length)
    for name, path in (("a", first), ("b", second)):
        for number, layer in enumerate(layers(path)):
            wired(f"{name}{number}", layer, "image" if number == 0 else None)
    wired("join", Add(), ["a1", "b0"])
    (axis,) = last(wired.output()).axes
    checked = 0
    for index, inputs in enumerate(seen(length, [first, second])):
        start = axis.start + index * axis.stride
        end = start + axis.extent - 1
        if start >= 0 and end < length:
            assert (inputs[0], inputs[-1]) == (start, end)
            checked += 1
    assert checked > 3
