"""A real browser, Debian's chromium or Playwright's own; without one the tests of the page skip and say why."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from netdsl.draw.page import write
from netdsl.ir.network import Network

sys.path.append(str(Path(__file__).parents[1] / "analysis"))
sys.path.append(str(Path(__file__).parent))

if TYPE_CHECKING:
    from visits import Visit

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


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    from visits import Visit

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
