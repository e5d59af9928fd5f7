"""Every piece of Python in the documentation runs, and every session prints what it shows."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
from pages import of

PAGES = sorted({block.page for block in of("python", "pycon")})


@pytest.mark.parametrize("page", PAGES)
def test_python(page: str, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for block in of("python", "pycon"):
        if block.page != page:
            continue
        if block.language == "python":
            exec(compile(block.text, block.name, "exec", dont_inherit=True), names)
            continue
        session = doctest.DocTestParser().get_doctest(block.text, names, block.name, block.page, block.line)
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=flags)
        runner.run(session, out=report.append, clear_globs=False)
        names.update(session.globs)
        assert not runner.failures, f"{block.name}\n{''.join(report)}"
