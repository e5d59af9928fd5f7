"""What holds for every spec of the library."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netdsl
from netdsl.elaborate import Loader
from netdsl.elaborate.library import index
from netdsl.language import syntax
from netdsl.resources import library_path

FILES = sorted(library_path().rglob("*.net"))
COURSE = [path for path in FILES if path.parent.name == "course"]
NAMES = sorted(index())


def _id(path: Path) -> str:
    return path.relative_to(library_path()).as_posix()


def test_the_library_is_there() -> None:
    assert len(FILES) > 30
    assert len(COURSE) > 20


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_opens_with_its_story(path: Path) -> None:
    """A comment of some lines: what it is, and for networks from a paper whose and of which year."""
    lines = path.read_text(encoding="utf-8").splitlines()
    story = []
    for line in lines:
        if not line.startswith("#"):
            break
        story.append(line[1:].strip())
    text = " ".join(story)
    assert len(text) > 150, f"{_id(path)} tells no story"
    if path not in COURSE and path.stem != "common":
        assert re.search(r"\b(19|20)\d\d\b", text), f"the story of {_id(path)} names no year"


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_each_network_says_what_it_is(path: Path) -> None:
    module = Loader().file(path)
    networks = module.networks().values()
    several = len(networks) > 1
    for network in networks:
        assert module.syntax.documentation(network) or not several, f"{network.name} has no comment"
        if path not in COURSE:
            assert re.search(r"\b(19|20)\d\d\b", module.syntax.documentation(network)), f"{network.name}: which year?"


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_states_what_must_come_out(path: Path) -> None:
    """A spec is its own test."""
    for network in Loader().file(path).networks().values():
        assert any(True for _ in _expectations(network)), f"{network.name} expects nothing"


def _expectations(node: object) -> list[syntax.Expect]:
    if isinstance(node, syntax.Expect):
        return [node]
    if isinstance(node, tuple):
        return [found for item in node for found in _expectations(item)]
    if isinstance(node, syntax.Syntax):
        return [
            found for name in node.__dataclass_fields__ if name != "at" for found in _expectations(getattr(node, name))
        ]
    return []


def test_names_are_unique() -> None:
    """Each network and variant has one home: the library is asked by name alone."""
    seen: dict[str, Path] = {}
    for path in FILES:
        for name, network in Loader().file(path).networks().items():
            for each in {name, *(variant.name for variant in network.variants())}:
                assert each not in seen, f"{each} is in {_id(seen[each])} and in {_id(path)}"
                seen[each] = path
    assert set(seen) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_checks(name: str) -> None:
    """Every network and variant compiles and keeps what it states."""
    net = netdsl.load(name)
    assert net.name == name
    assert net.outputs
