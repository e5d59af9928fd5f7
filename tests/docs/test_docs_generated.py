"""The generated pages are up to date, and the documentation as a whole is sound."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pages import PAGES, ROOT

import netdsl
from netdsl.draw import svg
from netdsl.layers.vocabulary import LAYERS


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made() -> dict[Path, str]:
    pages: dict[Path, str] = tool("generate_docs").pages()
    return pages


def test_generated_pages_are_up_to_date(made: dict[Path, str]) -> None:
    stale = [path.name for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    assert not stale, "run python tools/generate_docs.py"


def test_every_layer_and_attribute_is_in_the_reference_of_the_language() -> None:
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    for kind, layer in LAYERS.items():
        if kind != "input":
            assert re.search(rf"^\*\*`{kind}\b", text, re.MULTILINE), kind
        for name in layer.model_fields:
            assert f"`{name}`" in text or f"{name} = " in text, f"{kind}: {name}"


def test_the_picture_of_the_readme_is_of_the_spec_beside_it() -> None:
    """Coordinates hang on the version of Graphviz, what is written does not."""

    def words(picture: str) -> list[str]:
        return sorted(re.findall(r"<text[^>]*>([^<]*)</text>", picture))

    drawn = svg(netdsl.load(ROOT / "examples" / "residual.net").network)
    stored = (ROOT / "docs" / "images" / "residual.svg").read_text(encoding="utf-8")
    assert words(stored) == words(drawn), "netdsl draw examples/residual.net -o docs/images/residual.svg"
    assert "conv 3x3, 16" in words(stored)


def test_the_readme_shows_the_spec_of_the_examples() -> None:
    """The page tells the story of examples/residual.net; it may break its lines otherwise."""
    spec = re.search(r"```net\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert spec
    shown, stored = netdsl.loads(spec[1]), netdsl.load(ROOT / "examples" / "residual.net")
    assert shown.summary().json()["layers"] == stored.summary().json()["layers"]


HOSTS = re.compile(r"https?://([\w.-]+)")
KNOWN_HOSTS = {"keepachangelog.com", "semver.org", "arxiv.org", "www.w3.org", "graphviz.org"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            assert HOSTS.match(target)[1] in KNOWN_HOSTS, target  # type: ignore[index]
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file) if file else page
        assert found.exists(), f"{page.name} links to {target}"
        if anchor and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            slugs |= set(re.findall(r'<a id="([\w-]+)">', found.read_text(encoding="utf-8")))
            assert anchor in slugs, f"{page.name} links to {target}"
