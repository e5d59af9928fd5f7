"""How fast the explorer opens and how smoothly it moves, in a headless Chromium that draws without a GPU.

    python benchmarks/explorer.py [NAME ...] [--rounds N] [--format text|json]

For each network: writing the page; the first picture, from the start of the navigation; unfolding everything; and the
time from frame to frame while everything is unfolded and the picture is dragged, all of it in sight, and near enough to
read. The median over the rounds, each in a page of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import machine

import netdsl
from netdsl.draw.page import write

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

DRAG = """
async () => {
  const stage = document.getElementById('stage'), frames = [];
  // Moves of a pointer that no person holds.
  stage.setPointerCapture = () => {};
  stage.hasPointerCapture = () => true;
  const send = (type, step) => stage.dispatchEvent(new PointerEvent(type, {
    pointerId: 1, bubbles: true, clientX: 400 + 4 * step + (step % 2) * 40, clientY: 400 + 3 * step,
  }));
  send('pointerdown', 0);
  await new Promise((done) => {
    let last = performance.now(), step = 0;
    const next = (now) => {
      frames.push(now - last);
      last = now;
      send('pointermove', ++step);
      if (step < 100) requestAnimationFrame(next); else done();
    };
    requestAnimationFrame(next);
  });
  send('pointercancel', 0);
  return frames.slice(5);
}
"""
UNFOLD = """
async () => {
  const start = performance.now();
  document.getElementById('unfold').click();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - start;
}
"""
PAINTED = "Number(document.body.dataset.ready)"
"""The page notes when the frame behind that of its first picture begins."""


def visit(browser: Any, path: Path) -> dict[str, float]:
    """The figures of one page, in milliseconds."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]")
    found = {"first picture": page.evaluate(PAINTED), "unfolded": page.evaluate(UNFOLD)}
    for name, key in (("all", "0"), ("near", "1")):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        frames = sorted(page.evaluate(DRAG))
        found[f"{name}, median"] = statistics.median(frames)
        found[f"{name}, 95 %"] = frames[int(0.95 * len(frames))]
    context.close()
    return found


def figures(name: str, rounds: int) -> dict[str, float]:
    """The medians for one network."""
    from playwright.sync_api import sync_playwright

    network = netdsl.load(name).network
    start = time.perf_counter()
    text = write(network)
    written = 1000 * (time.perf_counter() - start)
    chromium = next(
        (path for program in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(program))), None
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "net.html"
        path.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        # The first page of a browser pays for its start.
        visit(browser, path)
        seen = [visit(browser, path) for _ in range(rounds)]
        browser.close()
    medians = {key: statistics.median(each[key] for each in seen) for key in seen[0]}
    return {"layers": len(network.table), "KB": len(text) / 1000, "written": written, **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=["resnet152", "efficientnet_b7"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    given = parser.parse_args()
    rows = {name: figures(name, given.rounds) for name in given.names}
    if given.format == "json":
        print(json.dumps({"machine": machine(), "networks": rows}, indent=2))
        return
    print(f"{machine()}; milliseconds, median of {given.rounds}\n")
    columns = list(next(iter(rows.values())))
    wide = max(map(len, rows))
    print(" " * wide, *(f"{column:>13}" for column in columns))
    for name, row in rows.items():
        print(f"{name:<{wide}}", *(f"{row[column]:>13,.0f}" for column in columns))


if __name__ == "__main__":
    main()
