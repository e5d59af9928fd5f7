"""A picture read as a flow: nothing is lost, forks are found, and what no fork describes is a tangle."""

from hypothesis import given, settings
from hypothesis import strategies as st
from ruler import faults
from toys import Add, Concat, Conv, Flatten, GlobalPool, Norm, Pool, Relu, Wired, chain, residual_network

from netdsl.draw import board, volumes
from netdsl.draw.flow import Fork, Group, Series, Step, Tangle, flow, steps_of
from netdsl.draw.options import Options
from netdsl.draw.picture import picture
from netdsl.ir.network import Network


def outline(parts: Series) -> list[object]:
    """A flow in short: steps as the names of their layers, forks as lists of lanes, groups by name and number."""
    found: list[object] = []
    for part in parts:
        if isinstance(part, Step):
            found.append("+".join(item.name for item in (*part.before, *part.items)))
        elif isinstance(part, Fork):
            found.append([outline(lane) for lane in part.lanes])
        elif isinstance(part, Tangle):
            found.append({"tangle": [step.main.name for step in part.steps]})
        else:
            assert part.frame.item is not None
            found.append((part.frame.item.name, part.frame.item.repeats, outline(part.parts)))
    return found


def outlined(network: Network) -> list[object]:
    return outline(flow(picture(network)).series)


def test_a_chain_is_a_chain_and_vectors_are_drawn_once() -> None:
    network = chain("small", (1, 8, 8), Conv(filters=6, kernel=5), Relu(), GlobalPool(), Flatten())
    assert outlined(network) == ["image", "0+1", "2+3"]


def test_what_comes_before_a_convolution_is_part_of_it() -> None:
    wired = Wired("preact", 4, 8, 8)
    wired("pool", Pool(kernel=2))
    wired("norm", Norm())
    wired("relu", Relu())
    wired("conv", Conv(filters=4, kernel=3, padding=1))
    wired("sum", Add(), ["conv", "pool"])
    read = flow(picture(wired.output()))
    assert outline(read.series) == ["image", "pool", [["norm+relu+conv"], []], "sum"]
    assert [item.name for step in steps_of(read.series) for item in step.before] == ["norm", "relu"]


def test_residual_blocks_are_forks_in_groups() -> None:
    found = outlined(residual_network("resnetish", depths=(2, 3)))
    groups = {part[0]: part for part in found if isinstance(part, tuple)}
    _, _, (first, second) = groups["layer2"]  # type: ignore[misc]
    assert (first[0], first[1]) == ("layer2.0", 1)
    assert (second[0], second[1]) == ("layer2.1", 2)
    main, shortcut = second[2][0]
    assert (len(main), shortcut) == (3, [])
    main, shortcut = first[2][0]
    assert (len(main), shortcut) == (3, ["layer2.0.downsample.0+layer2.0.downsample.1"])


def test_lanes_stand_in_the_order_in_which_they_are_joined() -> None:
    wired = Wired("lanes", 3, 8, 8)
    wired("b", Conv(filters=5, kernel=1), "image")
    wired("a.0", Conv(filters=2, kernel=1), "image")
    wired("a.1", Conv(filters=3, kernel=1), "a.0")
    wired("all", Concat(), ["a.1", "image", "b"])
    assert outlined(wired.output()) == ["image", [[("a", 1, ["a.0", "a.1"])], [], ["b"]], "all"]


def test_a_sum_with_itself_has_two_lanes() -> None:
    wired = Wired("doubled", 3, 8, 8)
    wired("sum", Add(), ["image", "image"])
    assert outlined(wired.output()) == ["image", [[], []], "sum"]


def test_several_outputs_are_lanes_without_a_join() -> None:
    wired = Wired("heads", 3, 8, 8)
    wired("stem", Conv(filters=4, kernel=3))
    wired.network.outputs["left"] = wired("left", Conv(filters=2, kernel=1), "stem")
    wired.network.outputs["right"] = wired("right", Conv(filters=3, kernel=1), "stem")
    read = flow(picture(wired.network))
    (fork,) = [part for part in read.series if isinstance(part, Fork)]
    assert (len(fork.lanes), fork.join) == (2, None)
    assert sorted(name for names in read.outputs.values() for name in names) == ["left", "right"]


def test_what_is_wired_crosswise_is_a_tangle() -> None:
    wired = Wired("crossed", 3, 8, 8)
    wired("a", Conv(filters=3, kernel=1), "image")
    wired("b", Conv(filters=3, kernel=3, padding=1), "image")
    wired("c", Add(), ["a", "b"])
    wired("d", Concat(), ["a", "b"])
    wired("e", Concat(), ["c", "d"])
    assert outlined(wired.output()) == ["image", {"tangle": ["a", "b", "c", "d"]}, "e"]


def test_heads_of_training_are_kept_aside() -> None:
    wired = Wired("two_headed", 3, 8, 8)
    wired("stem", Conv(filters=4, kernel=3, padding=1))
    wired("aux.conv", Conv(filters=2, kernel=1), "stem")
    wired("aux.pool", GlobalPool())
    wired.network.auxiliary["aux"] = "aux.pool"
    wired("pool", GlobalPool(), "stem")
    read = flow(picture(wired.output("pool", "scores")))
    assert outline(read.series) == ["image", "stem", "pool"]
    (head,) = read.heads
    assert (head.name, head.layers, str(head.type)) == ("aux", 2, "2x1x1")
    assert head.source is not None
    assert read.steps[head.source].main.name == "stem"


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Layers that read any of those before them."""
    wired = Wired("random", 4, 8, 8)
    names = ["image"]
    for number in range(draw(st.integers(1, 14))):
        name = f"{draw(st.sampled_from(['', 'a.', 'b.', 'a.c.']))}n{number}"
        if draw(st.booleans()):
            source = draw(st.sampled_from(names))
            layer = draw(st.sampled_from([Relu(), Norm(), Conv(filters=4, kernel=1), Conv(filters=9, kernel=1)]))
            names.append(wired(name, layer, source))
        else:
            sources = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
            names.append(wired(name, Concat(), sources))
    for number, name in enumerate(draw(st.lists(st.sampled_from(names), max_size=2))):
        wired.network.outputs[f"out{number}"] = name
    return wired.output()


@settings(max_examples=60, deadline=None)
@given(networks(), st.booleans())
def test_any_network_is_read_whole_and_drawn_clean(network: Network, fold: bool) -> None:
    found = picture(network, fold=fold)
    read = flow(found)
    order = [step.number for step in steps_of(read.series)]
    assert sorted(order) == sorted(read.steps)
    assert len(set(order)) == len(order)
    layers = [
        row.name for step in read.steps.values() for i in (*step.before, *step.items) for r in i.rows for row in r
    ]
    assert sorted(layers) == sorted(network.table)
    ranks = {number: rank for rank, number in enumerate(order)}
    forward = all(ranks[source] < ranks[step.number] for step in read.steps.values() for source in step.inputs)
    assert forward
    options = Options(fold=fold)
    for style in (volumes, board):
        assert faults(style.draw(network, options)) == []


def test_groups_hold_what_their_frames_hold() -> None:
    read = flow(picture(residual_network("resnetish", depths=(2, 3))))
    stack = list(read.series)
    groups = []
    while stack:
        part = stack.pop()
        if isinstance(part, Group):
            groups.append(part)
            stack.extend(part.parts)
    for group in groups:
        number = read.frames.index(group.frame)
        held = {step.number for step in steps_of(group.parts)}
        assert held == {step.number for step in read.steps.values() if number in step.path}
    assert groups
