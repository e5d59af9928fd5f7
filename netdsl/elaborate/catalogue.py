"""The library as a table: one row for each network that it names.

Building two hundred networks takes seconds, so their rows lie beside the specs, with a digest of all specs and of the
version that counted them; `python -m netdsl.elaborate.catalogue` writes them after a change. Where they do not belong
to the library as it is, they are counted on the spot.
"""

from __future__ import annotations

import hashlib
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from netdsl import __version__
from netdsl.analysis.cost import measure
from netdsl.atomic import replacing
from netdsl.elaborate.library import build, find, index
from netdsl.elaborate.modules import Loader
from netdsl.language import syntax
from netdsl.resources import library_path

_YEAR = re.compile(r"\b(?:19[89]\d|20[0-4]\d)\b")


Row = dict[str, Any]


def rows(pattern: str = "") -> list[Row]:
    """Name, year, parameters, MACs, input, file and story of each network whose name or file matches.

    A network whose variants are listed is not listed by itself. `pattern` is a part of a name or holds `*` and `?`.
    """
    found = stored()
    return [row for row in (counted() if found is None else found) if _matches(pattern, row["name"], row["file"])]


def stored() -> list[Row] | None:
    """The rows beside the library; None where they belong to another state of it."""
    try:
        data = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found: list[Row] = data["networks"]
    return found if data["digest"] == digest() else None


def counted() -> list[Row]:
    """The rows, from the networks themselves."""
    loader = Loader()
    return [
        _row(name, entry.path.relative_to(library_path()).with_suffix("").as_posix(), loader)
        for name, entry in index().items()
        if not entry.has_variants
    ]


def digest() -> str:
    """What the rows depend on: the version, and the name and text of every spec."""
    sum_of = hashlib.sha256(__version__.encode())
    for path in sorted(library_path().rglob("*.net")):
        sum_of.update(path.relative_to(library_path()).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sum_of.hexdigest()


def _path() -> Path:
    return library_path() / "catalogue.json"


def _matches(pattern: str, name: str, file: str) -> bool:
    if any(mark in pattern for mark in "*?"):
        return fnmatchcase(name, pattern) or fnmatchcase(file, pattern)
    return pattern.lower() in name.lower() or pattern.lower() in file.lower()


def _row(name: str, file: str, loader: Loader) -> Row:
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
        "about": _first_sentence(story),
    }


def _first_sentence(story: str) -> str:
    paragraph = " ".join(story.split("\n\n", 1)[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


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


def write() -> None:
    """Writes the rows beside the library, one a line."""
    lines = ",\n".join(json.dumps(row) for row in counted())
    with replacing(_path()) as temporary:
        temporary.write_text(f'{{"digest": "{digest()}", "networks": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    write()
