"""A gallery of the library: a page for each spec, with the drawings of its networks. MkDocs runs this as it builds.

Nothing of it is kept: every build draws all of them anew, with the command that users have, `netdsl draw`. Of variants
that differ in numbers alone, the first is drawn.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from netdsl.cli.main import run
from netdsl.elaborate.catalogue import rows, story_of
from netdsl.elaborate.modules import Loader
from netdsl.resources import library_path

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

    from netdsl.language.syntax import Module

FOLDER = "gallery"
INDEX = f"{FOLDER}/index.md"
STYLES = {"volumes": ("--width", "184"), "graph": ()}
"""Styles of the pictures and what else they are asked for: a column of the page. The board is text."""


class Spec(NamedTuple):
    """A file of the library and its networks."""

    file: str
    drawn: list[str]
    """The first of those that differ in more than numbers."""
    others: list[str]

    @property
    def page(self) -> str:
        return self.file.replace("/", "-")


def specs() -> list[Spec]:
    """The files of the library, those of the course behind the others."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows():
        found.setdefault(row["file"], {}).setdefault(row["about"], []).append(row["name"])
    listed = []
    for file, networks in sorted(found.items(), key=lambda item: ("/" in item[0], item[0])):
        drawn = [names[0] for names in networks.values()]
        listed.append(Spec(file, drawn, [name for names in networks.values() for name in names[1:]]))
    return listed


def draw(name: str, file: Path, style: str, *options: str) -> str:
    """What `netdsl draw NAME --style STYLE ... -o FILE` writes."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = run(["draw", name, "--style", style, *options, "-o", str(file)])
    if status:
        raise RuntimeError(f"netdsl draw {name} --style {style}: {said.getvalue()}")
    return file.read_text(encoding="utf-8")


def spec_files(spec: Spec, folder: Path) -> Iterator[tuple[str, str]]:
    """The page of a spec and its pictures: paths below the documentation, and what is in them."""
    story = [" ".join(part.split()) for part in story_of(_syntax(spec.file)).split("\n\n")]
    page = f"# {spec.file}.net\n\n{_escaped(story[0])}\n"
    for name in spec.drawn:
        page += f"\n## {name}\n\n"
        for style, options in STYLES.items():
            picture = f"{name}-{style}.svg"
            yield f"{FOLDER}/{picture}", draw(name, folder / picture, style, *options)
            page += f"```text\n{' '.join(['netdsl draw', name, '--style', style, *options])}\n```\n\n"
            page += f"[![{name}, style {style}]({picture})]({picture})\n\n"
        board = draw(name, folder / f"{name}.txt", "board")
        page += f"```text\nnetdsl draw {name} --style board -o {name}.txt\n```\n\n```text\n{board.rstrip()}\n```\n"
    if spec.others:
        page += f"\nIn the same file: {', '.join(f'`{name}`' for name in spec.others)}.\n"
    yield f"{FOLDER}/{spec.page}.md", page


def index(opening: str, listed: list[Spec]) -> str:
    """The page that leads to all others; it begins with what `docs/gallery/index.md` says."""
    text = opening
    for spec in listed:
        name = spec.drawn[0]
        text += f"\n## [{spec.file}]({spec.page}.md)\n\n"
        text += f"[![{name}]({name}-volumes.svg)]({spec.page}.md)\n"
    return text


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """MkDocs calls this with the files of the documentation: the gallery is added to them."""
    from mkdocs.structure.files import File

    listed = specs()
    page = files.get_file_from_path(INDEX)
    assert page is not None, f"docs/{INDEX} is missing"
    files.remove(page)
    files.append(File.generated(config, INDEX, content=index(page.content_string, listed)))
    with tempfile.TemporaryDirectory() as folder:
        for spec in listed:
            for path, content in spec_files(spec, Path(folder)):
                files.append(File.generated(config, path, content=content))
    return files


def _syntax(file: str) -> Module:
    return Loader().file(library_path() / f"{file}.net").syntax


def _escaped(text: str) -> str:
    """Prose as Markdown: what it would take for emphasis or HTML is kept, outside of backticks."""
    parts = text.split("`")
    for at in range(0, len(parts), 2):
        parts[at] = parts[at].replace("*", "\\*").replace("<", "&lt;").replace("[", "\\[").replace("_", "\\_")
    return "`".join(parts)
