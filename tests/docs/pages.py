"""The fenced code blocks of the documentation.

net           a whole file: every network and variant in it is built
net-body      the body of a network whose input is 3x32x32, unless it begins with an input of its own
net-wrong     a file that must not compile; its first line is a comment with the code of the error
net-fragment  shown only
weights       the names and shapes of all weights of the network in the block before
console       commands behind `$ `, with what they print; `...` stands for anything
python        scripts, run in one after the other on each page
pycon         sessions, checked by doctest
text          shown only
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
LANGUAGES = {
    "net", "net-body", "net-wrong", "net-fragment", "weights", "console", "python", "pycon", "text", "json", "sh",
}  # fmt: skip

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[ ]*$")


class Block(NamedTuple):
    page: str
    line: int
    """The line of the page that the opening fence is in."""
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, lines = (number, fence["language"], fence["indent"]), []
        elif opened is not None and fence and not fence["language"]:
            yield Block(page.relative_to(ROOT).as_posix(), opened[0], opened[1], "\n".join(lines) + "\n")
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened[2]))
    assert opened is None, f"{page}:{opened and opened[0]}: this block is never closed"


ALL = [block for page in PAGES for block in blocks(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]
