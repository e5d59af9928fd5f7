"""The library as a table: one row for each network that it names."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

from netdsl.analysis.cost import measure
from netdsl.elaborate.library import Entry, build, find, index
from netdsl.elaborate.modules import Loader
from netdsl.language import syntax
from netdsl.resources import library_path

_YEAR = re.compile(r"\b(?:19[89]\d|20[0-4]\d)\b")


def rows(pattern: str = "") -> list[dict[str, Any]]:
    """Name, year, parameters, MACs, input, file and story of each network whose name or file matches.

    A network whose variants are listed is not listed by itself. `pattern` is a part of a name or holds `*` and `?`.
    """
    loader = Loader()
    found: list[dict[str, Any]] = []
    for name, entry in index().items():
        file = entry.path.relative_to(library_path()).with_suffix("").as_posix()
        if entry.has_variants or not _matches(pattern, name, file):
            continue
        found.append(_row(name, file, entry, loader))
    return found


def _matches(pattern: str, name: str, file: str) -> bool:
    if any(mark in pattern for mark in "*?"):
        return fnmatchcase(name, pattern) or fnmatchcase(file, pattern)
    return pattern.lower() in name or pattern.lower() in file


def _row(name: str, file: str, entry: Entry, loader: Loader) -> dict[str, Any]:
    place = find(name, loader)
    network = build(place)
    report = measure(network)
    types = network.input_types()
    shapes = {key: list(type.shape) for key, type in types.items()}
    story = place.module.syntax.documentation(place.declaration) or story_of(place.module.syntax)
    year = _YEAR.search(story) or _YEAR.search(story_of(place.module.syntax))
    return {
        "name": name,
        "year": int(year.group()) if year else None,
        "parameters": report.parameters,
        "macs": report.macs,
        "input": next(iter(shapes.values())) if len(shapes) == 1 else shapes,
        "file": file,
        "about": story.split("\n", 1)[0],
    }


def story_of(module: syntax.Module) -> str:
    """The comment that a file opens with."""
    lines: list[str] = []
    line = 0
    for comment in module.comments:
        number = module.source.position(comment.offset)[0]
        if not comment.own_line or (lines and number != line + 1):
            break
        lines.append(comment.text[1:].removeprefix(" "))
        line = number
    return "\n".join(lines).strip()
