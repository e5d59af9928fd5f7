"""How tensors flow: joins and lanes, splits, shortcuts, named tensors, sharing, several inputs and outputs."""

from __future__ import annotations

import networkx as nx
import pytest

import netdsl
from netdsl.analysis.cost import weights


def shape(text: str, **parameters: object) -> tuple[int | None, ...]:
    (type,) = netdsl.loads(text, **parameters).outputs.values()
    return type.shape


def test_every_lane_starts_from_the_same_tensor() -> None:
    net = netdsl.loads(
        "network n { input 3x8x8 -> stem: relu -> out: concat { | a: conv(4, 1x1) | b: conv(5, 1x1) | } }"
    )
    assert net.node("out.a").inputs == net.node("out.b").inputs == ("stem",)
    assert net.node("out").inputs == ("out.a", "out.b", "stem")
    assert net.node("out").type.shape == (12, 8, 8)


def test_add_of_a_tensor_to_itself_keeps_both_edges() -> None:
    net = netdsl.loads("network n { input 3x8x8 -> twice: add(x, x) }")
    assert isinstance(net.graph, nx.MultiDiGraph)
    assert net.graph.number_of_edges("input", "twice") == 2
    assert net.node("twice").inputs == ("input", "input")


def test_the_graph_is_plain_networkx() -> None:
    graph = netdsl.load("resnet18").graph
    assert nx.is_directed_acyclic_graph(graph)
    assert nx.has_path(graph, "image", "fc")
    attributes = graph.nodes["layer1.0.conv1"]
    assert attributes["layer"].kind == "conv"
    assert graph.nodes[attributes["inputs"][0]]["layer"].kind == "max_pool"
    assert str(attributes["type"]) == "64x56x56"
    assert attributes["span"].text.startswith("conv")


def test_lanes_made_by_loops_and_conditions() -> None:
    text = """network n(wide = true) {
      input 3x8x8
      concat {
        | conv(2, 1x1)
          relu
        for k in [3, 5] { | conv(k, k, padding = half) }
        repeat 2 { | | conv(1, 1x1) }
        if wide { | conv(10, 1x1) } else { | conv(20, 1x1) }
      }
    }"""
    assert shape(text) == (2 + 3 + 5 + 2 * (3 + 1) + 10, 8, 8)
    assert shape(text, wide=False) == (2 + 3 + 5 + 2 * (3 + 1) + 20, 8, 8)


def test_split_hands_each_lane_its_slice() -> None:
    net = netdsl.loads("network n { input 6x8x8 -> concat split [4, 2] { | left: relu | right: conv(1, 1x1) } }")
    left, right = (net.node(net.node(name).inputs[0]).layer for name in ("left", "right"))
    assert (left.start, left.stop, right.start, right.stop) == (0, 4, 4, 6)
    assert shape("network n { input 6x8x8 -> concat split 3 { | | | } }") == (6, 8, 8)


def test_residual_is_an_add_with_an_empty_lane() -> None:
    short = netdsl.loads("network n { input 4x8x8 -> residual { c: conv(4, 1x1) } }")
    long = netdsl.loads("network n { input 4x8x8 -> add { | c: conv(4, 1x1) | } }")
    assert nx.utils.graphs_equal(
        nx.MultiDiGraph(short.graph.edges(keys=True)), nx.MultiDiGraph(long.graph.edges(keys=True))
    )


def test_residual_keeps_its_body_where_the_condition_is_false() -> None:
    text = "network n(short) { input 4x8x8 -> residual if short { c: conv(8, 1x1) -> d: conv(4, 1x1) } }"
    assert netdsl.loads(text, short=True).graph.number_of_nodes() == 4
    assert netdsl.loads(text, short=False).graph.number_of_nodes() == 3


def test_from_goes_on_from_a_named_tensor() -> None:
    text = """network n {
      input image: 3x8x8
      enc: { conv(4, 1x1) -> relu }
      conv(8, 1x1)
      concat { | | from enc | from image }
    }"""
    assert shape(text) == (8 + 4 + 3, 8, 8)


def test_a_tensor_is_a_value_that_a_block_can_take() -> None:
    text = """
    block up(skip) { expect skip.channels == 4\n concat { | | from skip } }
    network n { input 3x8x8 -> enc: conv(4, 1x1) -> conv(2, 1x1) -> up(enc)
      let before = x
      conv(before.channels * 2, 1x1) -> concat(before, x) }"""
    assert shape(text) == (6 + 12, 8, 8)


def test_the_innermost_scope_wins() -> None:
    text = """network n { input 3x8x8 -> a: conv(1, 1x1)
      part: { a: conv(2, 1x1) -> conv(3, 1x1) -> from a } }"""
    assert shape(text) == (2, 8, 8)


def test_shared_weights_are_one_set() -> None:
    text = """network siamese {
      input left: 1x8x8
      input right: 1x8x8
      from left -> tower: { conv(4, 3x3) -> relu -> flatten -> dense(5) }
      let a = x
      from right -> share tower -> subtract(a, x)
    }"""
    net = netdsl.loads(text)
    assert [name for name, _ in weights(net.network)] == [
        "tower.0.weight", "tower.0.bias", "tower.3.weight", "tower.3.bias",
    ]  # fmt: skip
    assert net.parameters == 4 * 9 + 4 + 144 * 5 + 5
    # Each application costs its operations.
    assert net.macs == 2 * (36 * 4 * 9 + 144 * 5)


def test_shared_weights_need_the_same_channels() -> None:
    with pytest.raises(netdsl.SpecError, match="E0304") as error:
        netdsl.loads("network n { input 3x8x8 -> c: conv(1, 1x1) -> conv(2, 1x1) -> share c }")
    assert "`c` has weight of shape 1x3x1x1, here it would need 1x2x1x1" in str(error.value)


def test_several_outputs_and_the_tensor_that_nothing_reads() -> None:
    net = netdsl.loads(
        "network n { input 3x8x8 -> flatten -> trunk: dense(8)\n output a: dense(2)\n from trunk -> b: dense(3) }"
    )
    assert {name: type.shape for name, type in net.outputs.items()} == {"a": (2,), "b": (3,)}


def test_an_auxiliary_head_is_beside_the_flow() -> None:
    text = """network n { input 3x8x8 -> stem: conv(4, 1x1)
      auxiliary aux: from stem -> flatten -> dense(7)
      global_avg_pool -> flatten -> fc: dense(2)
      expect params == 16 + 10, auxiliary_params == 256 * 7 + 7 }"""
    net = netdsl.loads(text)
    assert list(net.outputs) == ["fc"]
    assert net.network.auxiliary == {"aux": "aux.1"}
    assert net.report.with_auxiliary.parameters == 26 + 256 * 7 + 7


def test_unknown_extents_flow_through() -> None:
    net = netdsl.loads(
        "network n { input 3x?x? -> conv(8, 3x3, padding = half) -> max_pool(2x2) -> global_avg_pool -> flatten -> dense(2) }"
    )
    assert net.node("0").type.shape == (8, None, None)
    assert net.outputs["4"].shape == (2,)
    assert net.macs is None
    assert net.parameters == 8 * 27 + 8 + 18


def test_shape_and_parameters_from_outside() -> None:
    net = netdsl.load("lenet5", shape="1x28x28", classes=3)
    assert net.inputs["image"].shape == (1, 28, 28)
    assert net.outputs["fc3"].shape == (3,)
    # 28 -> 24 -> 12 -> 8 -> 4
    assert net.parameters == 156 + 2416 + (16 * 4 * 4 * 120 + 120) + 10164 + 84 * 3 + 3


def test_shape_of_one_of_several_inputs() -> None:
    text = (
        "network n { input a: 3x8x8\n input b: 3x8x8\n global_avg_pool -> out: add { | | from a -> global_avg_pool } }"
    )
    assert netdsl.loads(text, shape={"a": "3x5x5"}).inputs["a"].shape == (3, 5, 5)
    with pytest.raises(netdsl.SpecError, match="E0202.*no input `c`"):
        netdsl.loads(text, shape={"c": "3x5x5"})


def test_a_list_of_tensors_joins_them_all() -> None:
    text = """network dense(growth = 2) {
      input 3x8x8
      part0: relu
      for i in range(1, 4) {
        concat([tensor("part" + str(j)) for j in range(i)])
        part{i}: conv(growth, 3x3, padding = half)
      }
      all: concat([tensor("part" + str(j)) for j in range(4)])
    }"""
    net = netdsl.loads(text)
    assert net.node("all").inputs == ("part0", "part1", "part2", "part3")
    assert net.outputs["all"].shape == (3 + 3 * 2, 8, 8)
    # Each part reads all before it: 3, 5 and 7 channels.
    assert net.parameters == sum(channels * 9 * 2 + 2 for channels in (3, 5, 7))


def test_a_computed_name_that_is_not_there() -> None:
    with pytest.raises(netdsl.SpecError, match='E0211.*"part9"'):
        netdsl.loads('network n { input 3 -> relu\n from (tensor("part" + str(9))) }')
