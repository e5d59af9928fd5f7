"""Names of weights: the path of labels and numbers, as the language reference states them."""

from __future__ import annotations

import netdsl
from netdsl.analysis.cost import weights


def names(text: str, **parameters: object) -> list[str]:
    """The names of all parameters called weight, without that word."""
    net = netdsl.loads(text, **parameters)
    return [name.removesuffix(".weight") for name, _ in weights(net.network) if name.endswith("weight")]


def test_unlabelled_steps_are_numbered_like_a_sequential() -> None:
    # torch.nn.Sequential(Conv2d, ReLU, Conv2d) owns 0.weight and 2.weight.
    assert names("network n { input 3x8x8 -> conv(4, 3x3) -> relu -> conv(4, 3x3) }") == ["0", "2"]


def test_labels_take_no_number() -> None:
    assert names("network n { input 3x8x8 -> a: conv(4, 1x1) -> conv(4, 1x1) -> b: conv(4, 1x1) -> conv(4, 1x1) }") == [
        "a", "0", "b", "1",
    ]  # fmt: skip


def test_vgg_features_count_layers_without_weights() -> None:
    text = """network n {
      input 3x32x32
      features: {
        for stage in [[8], [8]] {
          for width in stage { conv(width, 3x3, padding = 1) -> relu }
          max_pool(2x2)
        }
      }
      flatten
      classifier: { dense(10) -> relu -> dropout -> dense(2) }
    }"""
    assert names(text) == ["features.0", "features.3", "classifier.0", "classifier.3"]


def test_repeat_for_if_lanes_and_groups_open_no_scope() -> None:
    text = """network n {
      input 3x8x8
      repeat 2 { conv(4, 1x1) }
      if true { conv(4, 1x1) }
      { conv(4, 1x1) }
      add { | conv(4, 1x1) | conv(4, 1x1) }
      conv(4, 1x1)
    }"""
    # The join itself is step 6: it takes its number when its lanes have run.
    assert names(text) == ["0", "1", "2", "3", "4", "5", "7"]


def test_labelled_loop_is_a_scope() -> None:
    text = "network n { input 3x8x8\n for i in range(2) { layer{i + 1}: repeat 2 { conv(4, 1x1) } } }"
    assert names(text) == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]


def test_block_calls_open_scopes() -> None:
    text = """
    block unit(width) { conv1: conv(width, 1x1) -> conv(width, 1x1) }
    network n { input 3x8x8 -> unit(4) -> stem: unit(5) -> layer: { unit(6) -> unit(7) } }"""
    assert names(text) == ["0.conv1", "0.0", "stem.conv1", "stem.0", "layer.0.conv1", "layer.0.0", "layer.1.conv1", "layer.1.0"]  # fmt: skip


def test_labels_may_hold_hyphens_numbers_and_expressions() -> None:
    text = """network n {
      input 3x8x8
      for i, name in [(1, "a"), (2, "b")] { block{i}-{name}: conv(4, 1x1) -> {name}_{i}: conv(4, 1x1) }
      7: conv(4, 1x1)
    }"""
    assert names(text) == ["block1-a", "a_1", "block2-b", "b_2", "7"]


def test_condition_with_label_is_a_scope_and_identity_where_it_is_false() -> None:
    text = """network n(project = true) {
      input 4x8x8
      add { | conv(4, 1x1) | downsample: if project { conv(4, 1x1) -> batch_norm } }
    }"""
    assert names(text) == ["0", "downsample.0", "downsample.1"]
    assert names(text, project=False) == ["0"]


def test_labelled_join_names_its_node_and_holds_its_lanes() -> None:
    net = netdsl.loads("network n { input 3x8x8 -> mix: add { | conv(3, 1x1) | side: relu } }")
    assert set(net.graph) == {"input", "mix.0", "mix.side", "mix"}


def test_label_before_from_names_the_step_behind_it() -> None:
    text = "network n { input a: 3x8x8 -> conv(4, 1x1) -> head: from a -> conv(5, 1x1) }"
    assert names(text) == ["0", "head"]


def test_head_of_one_step_and_of_several() -> None:
    one = "network n { input 3x8x8 -> flatten\n output logits: dense(10) }"
    several = "network n { input 3x8x8\n output logits: flatten -> dense(10) }"
    assert names(one) == ["logits"]
    assert names(several) == ["logits.1"]
    assert list(netdsl.loads(several).outputs) == ["logits"]


def test_weight_without_a_name_of_its_own_is_called_like_its_step() -> None:
    net = netdsl.loads("network n { input 4x8x8 -> stage: { layer_scale: layer_scale(1e-6) } }")
    assert [(name, w.shape) for name, w in weights(net.network)] == [("stage.layer_scale", (4, 1, 1))]


def test_names_of_the_resnet_example() -> None:
    found = [name for name, _ in weights(netdsl.load("resnet50").network)]
    assert "layer1.0.conv2.weight" in found
    assert "layer1.0.downsample.0.weight" in found
    assert not any(name.startswith("layer1.1.downsample") for name in found)


def test_dots_in_labels_stand_for_scopes() -> None:
    # torch.nn.ModuleList of ModuleLists, as HRNet has them: transition1.0.weight, transition1.1.weight, ...
    text = """network n {
      input 3x8x8
      for s in range(1, 3) { for i in range(2) { transition{s}.{i}: conv(3, 1x1) } }
      from transition1.0 -> relu
    }"""
    assert names(text) == ["transition1.0", "transition1.1", "transition2.0", "transition2.1"]
