"""Networks held against each other: what is added, removed, changed, and what of the weights still fits."""

import json

import pytest
from toys import Conv, Dense, Flatten, Pool, Relu, chain

import netdsl
from netdsl.analysis.compare import compare
from netdsl.analysis.compare_text import json as as_json
from netdsl.analysis.compare_text import parts, text


def test_a_network_equals_itself() -> None:
    network = netdsl.load("squeezenet1_1").network
    found = compare(network, netdsl.load("squeezenet1_1").network)
    assert found.are_equal
    assert len(found.same) == len(network.table)
    assert found.weights.loads
    assert (found.weights.missing, found.weights.reshaped, found.weights.unused) == ((), (), ())
    assert "The layers are the same." in text(found)


def test_resnet34_is_resnet18_with_eight_blocks_more() -> None:
    """He et al. (2015), Table 1: [2, 2, 2, 2] blocks become [3, 4, 6, 3]; torchvision's counts of parameters."""
    found = compare(netdsl.load("resnet18").network, netdsl.load("resnet34").network)
    assert found.removed == found.changed == ()
    new = [part.name for part in parts(found.added, found.after)]
    assert new == [
        "layer1.2", "layer2.2", "layer2.3", "layer3.2", "layer3.3", "layer3.4", "layer3.5", "layer4.2",
    ]  # fmt: skip
    assert found.totals()["parameters"] == (11_689_512, 21_797_672)
    assert sum(row.parameters for row in found.added) == 21_797_672 - 11_689_512
    # A block has 2 convolutions and 2 normalizations of 5 tensors each.
    assert len(found.weights.missing) == 8 * 12
    assert found.weights.fitting == 122
    assert not found.weights.loads


def test_what_comes_before_is_added_when_turned_around() -> None:
    a, b = netdsl.load("vgg11").network, netdsl.load("vgg13").network
    there, back = compare(a, b), compare(b, a)
    assert [row.name for row in there.added] == ["features.2", "features.3", "features.6", "features.7"]
    assert there.removed == back.added == ()
    assert there.added == back.removed
    assert {(change.before.name, change.after.name) for change in there.changed} == {
        (change.after.name, change.before.name) for change in back.changed
    }
    # The layers behind are the same under other numbers, so their weights are not found by name.
    assert all(change.is_renamed for change in there.changed)


def test_another_head_is_a_changed_layer() -> None:
    found = compare(netdsl.load("resnet18").network, netdsl.load("resnet18", classes=37).network)
    assert found.added == found.removed == ()
    (change,) = found.changed
    assert change.after.name == "fc"
    assert ("layer", "dense 1000", "dense 37") in change.facts
    assert {name: (a, b) for name, a, b in found.weights.reshaped} == {
        "fc.weight": ((1000, 512), (37, 512)),
        "fc.bias": ((1000,), (37,)),
    }
    assert "fc.weight 1000x512 -> 37x512" in text(found)


def test_another_stride_changes_what_is_behind_it_and_no_weights() -> None:
    def network(stride: int) -> object:
        return chain("net", (3, 16, 16), Conv(filters=4, kernel=3, stride=stride, padding=1), Relu(), Pool(kernel=2))

    found = compare(network(1), network(2))  # type: ignore[arg-type]
    assert [change.after.name for change in found.changed] == ["0", "1", "2"]
    assert found.changed[1].facts == (("input", "4x16x16", "4x8x8"), ("output", "4x16x16", "4x8x8"))
    assert found.weights.loads


def test_another_kind_in_the_same_place() -> None:
    a = chain("a", (1, 8, 8), Conv(filters=2, kernel=3), Relu(), Flatten(), Dense(units=3))
    b = chain("b", (1, 8, 8), Conv(filters=2, kernel=3), Pool(kernel=1), Flatten(), Dense(units=3))
    found = compare(a, b)
    assert ([row.kind for row in found.removed], [row.kind for row in found.added]) == (["relu"], [Pool(kernel=1).kind])
    assert found.weights.loads


@pytest.mark.parametrize("pair", [("resnet18", "resnet34"), ("vgg11", "lenet5"), ("lenet5", "lenet5")])
def test_every_layer_is_told_of_once(pair: tuple[str, str]) -> None:
    a, b = (netdsl.load(name).network for name in pair)
    found = compare(a, b)
    left = [row.name for row, _ in found.same] + [change.before.name for change in found.changed]
    right = [row.name for _, row in found.same] + [change.after.name for change in found.changed]
    assert sorted([*left, *(row.name for row in found.removed)]) == sorted(a.table)
    assert sorted([*right, *(row.name for row in found.added)]) == sorted(b.table)
    plain = json.loads(json.dumps(as_json(found)))
    assert plain["totals"]["layers"] == {"before": len(a.table), "after": len(b.table)}
    assert plain["equal"] == (pair[0] == pair[1])
    assert len(plain["added"]) == len(found.added)
