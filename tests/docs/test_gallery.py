"""The gallery of the documentation: every spec has its page, and its pictures are what the command draws."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from pages import ROOT

from netdsl.draw import svg
from netdsl.elaborate.catalogue import rows

sys.path.append(str(ROOT / "tools"))

import gallery  # type: ignore[import-not-found]

import netdsl


def test_every_network_of_the_library_is_on_a_page() -> None:
    listed = gallery.specs()
    assert {spec.file for spec in listed} == {row["file"] for row in rows()}
    assert sorted(name for spec in listed for name in (*spec.drawn, *spec.others)) == sorted(
        row["name"] for row in rows()
    )
    assert len({spec.page for spec in listed}) == len(listed)


def test_a_page_shows_what_the_commands_write(tmp_path: Path) -> None:
    (spec,) = [spec for spec in gallery.specs() if spec.file == "lenet"]
    made = dict(gallery.spec_files(spec, tmp_path))
    page = made["gallery/lenet.md"]
    assert page.startswith("# lenet.net\n\nLeNet-5: the network that read the cheques")
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert shown == [f"{name}-{style}.svg" for name in ("lenet5", "lenet5_1998") for style in ("volumes", "graph")]
    for name in shown:
        assert ET.fromstring(made[f"gallery/{name}"]).get("role") == "img"
    assert "32x32x1 -> CONV 5x5 s1 6 -> TANH" in page
    assert "lenet.md" in gallery.index("# Gallery\n", [spec])


def test_mkdocs_is_given_all_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    from mkdocs.config import load_config
    from mkdocs.structure.files import get_files

    few = [row for row in rows() if row["file"] == "course/one_by_one"]
    monkeypatch.setattr("netdsl.elaborate.catalogue.rows", lambda: few)
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    files = config.plugins.on_files(get_files(config), config=config)
    names = {file.src_uri for file in files}
    assert {"gallery/index.md", "gallery/course-one_by_one.md", f"gallery/{few[0]['name']}-volumes.svg"} <= names
    index = files.get_file_from_path("gallery/index.md")
    assert index is not None
    assert "course-one_by_one.md" in index.content_string


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "inception_module"])
def test_pictures_in_the_documentation_are_as_they_are_drawn_today(name: str) -> None:
    kept = (ROOT / "docs" / "images" / f"{name}-volumes.svg").read_text(encoding="utf-8")
    assert kept.partition("?>\n")[2] == svg(netdsl.load(name).network, style="volumes")
