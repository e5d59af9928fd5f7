"""Every spec in the documentation compiles, and its weights are called what the documentation says."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from pages import ALL, LANGUAGES, Block, of

import netdsl
from netdsl.elaborate import Loader, check_recipes
from netdsl.language.formatter import format_source
from netdsl.language.source import Source


def text_of(block: Block) -> str:
    if block.language != "net-body":
        return block.text
    start = "" if block.text.lstrip().startswith("input") else "input image: 3x32x32\n"
    return f"network example() {{\n{start}{block.text}}}\n"


def buildable(text: str) -> list[str]:
    """Every network that can be built without arguments, and every variant."""
    names = []
    for network in Loader().source(Source(text), None).networks().values():
        if all(parameter.default is not None for parameter in network.parameters or ()):
            names.append(network.name)
        names += [variant.name for variant in network.variants()]
    return names


@pytest.mark.parametrize("block", of("net", "net-body"), ids=lambda block: block.name)
def test_specs_compile(block: Block) -> None:
    text = text_of(block)
    assert not check_recipes(Loader().source(Source(text), None))
    names = buildable(text)
    for name in names:
        netdsl.loads(text, name)
    if re.search(r"^network|^recipe", text, re.MULTILINE):
        assert names


@pytest.mark.parametrize("block", of("net"), ids=lambda block: block.name)
def test_specs_are_formatted(block: Block) -> None:
    assert format_source(Source(block.text)) == block.text


@pytest.mark.parametrize("block", of("net-wrong"), ids=lambda block: block.name)
def test_wrong_specs_are_refused_with_the_stated_code(block: Block) -> None:
    stated = re.match(r"# (E\d{4})\n", block.text)
    assert stated, "a wrong spec begins with the code of its error"
    with pytest.raises(netdsl.SpecError) as caught:
        netdsl.loads(block.text)
    assert {diagnostic.code for diagnostic in caught.value.diagnostics} == {stated[1]}


PAIRS = [(spec, weights) for spec, weights in pairwise(ALL) if weights.language == "weights"]


def weights_of(net: netdsl.Net) -> list[str]:
    rows = []
    for node in net.network.nodes():
        if node.inputs and node.address == node.name:
            for weight in node.layer.weights(*net.network.types_of(node.inputs)):
                name = f"{node.address}.{weight.name}" if weight.name else node.address
                rows.append(f"{name} {'x'.join(map(str, weight.shape)) or 'scalar'}")
    return rows


@pytest.mark.parametrize("spec, weights", PAIRS, ids=lambda block: block.name)
def test_weights_are_called_what_is_said(spec: Block, weights: Block) -> None:
    assert spec.language in {"net", "net-body"}
    text = text_of(spec)
    net = netdsl.loads(text, buildable(text)[-1])
    assert weights_of(net) == weights.text.splitlines()


def test_every_block_says_what_it_is() -> None:
    unknown = [block.name for block in ALL if block.language not in LANGUAGES]
    assert not unknown, f"no language, or one that no test knows: {unknown}"


def test_there_is_something_to_test() -> None:
    assert len(of("net", "net-body")) >= 25
    assert len(PAIRS) > 5
