"""A page in the browser, with all that it says and asks for; and `netdsl view` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Visit:
    """One page, and everything that it said or asked for."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.page = context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}") or dialog.dismiss())
        self.page.on("request", lambda request: self.requests.append(request.url))

    def go(self, url: str) -> Any:
        self.page.goto(url)
        self.page.wait_for_selector("body[data-ready]")
        return self.page

    def choose(self, name: str) -> None:
        """Goes to a layer or scope by its address."""
        self.page.evaluate("name => { location.hash = encodeURIComponent(name); }", name)
        self.page.wait_for_function("name => document.querySelector('#panel h2')?.textContent === name", arg=name)

    def saved(self) -> str:
        """The view as it is exported."""
        with self.page.expect_download() as download:
            self.page.click("#export")
        return Path(download.value.path()).read_text(encoding="utf-8")


UNIT = "block unit(width) {\n  residual { conv(width, 3x3, padding = 1) -> relu }\n}\n"
MINE = "from unit import unit\n\nnetwork mine {\n  input image: 4x8x8\n  repeat 3 { unit(4) }\n}\n"


@contextmanager
def viewing(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and its address."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "netdsl", "view", *arguments], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not (lines and lines[-1].startswith("http://")):
            line = process.stdout.readline()
            assert line, "".join(lines)
            lines.append(line)
        yield process, lines[-1].split()[0]
    finally:
        process.kill()
        process.wait(10)
