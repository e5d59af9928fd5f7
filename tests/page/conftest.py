"""A real browser, Debian's chromium or Playwright's own; without one the tests of the page skip and say why."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netdsl.draw.page import write
from netdsl.ir.network import Network

sys.path.append(str(Path(__file__).parents[1] / "analysis"))

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    pytest.importorskip("playwright", reason="drives the browser: pip install 'netdsl[dev]'")
    from playwright.sync_api import Error, sync_playwright

    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            pytest.skip(f"no browser: apt-get install chromium ({str(error).splitlines()[0]})")
        yield found
        found.close()


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


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    found = Visit(context)
    yield found
    context.close()
    assert found.errors == []


@pytest.fixture
def opened(visit: Visit, tmp_path: Path) -> Callable[..., Any]:
    """Writes the page of a network and opens it from the disk."""

    def open_page(network: Network, **options: Any) -> Any:
        path = tmp_path / "net.html"
        path.write_text(write(network, **options), encoding="utf-8")
        return visit.go(path.as_uri())

    return open_page
