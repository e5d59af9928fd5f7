"""`netdsl view`"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import load_net, spec_options

if TYPE_CHECKING:
    from netdsl.draw.page.live import Live, Stamp
    from netdsl.elaborate import Loader

EVERY = 0.2
"""Seconds between two looks at the files."""
SETTLE = 0.08
"""Seconds in which nothing may change before a file counts as saved: editors write in steps."""
GONE = 1.0
"""Seconds for which a file may be missing before that is said: some editors remove it and write another."""


@click.command("view")
@click.argument("spec")
@spec_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the server. Default: one that is free.")
@click.option("--depth", type=click.IntRange(min=1), help="Begin with scopes below this depth closed.")
@click.option("--no-fold", is_flag=True, help="Begin with every block, also where several in a row are equal.")
@click.option("--heat", type=click.Choice(["params", "macs", "memory"]), help="Begin coloured by what boxes cost.")
@click.option("--theme", type=click.Choice(["light", "dark"]), help="Default: as the system has it.")
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser.")
def command(
    spec: str, settings: tuple[str, ...], shapes: tuple[str, ...], port: int, no_fold: bool, opened: bool,
    theme: str | None, **options: Any,
) -> int:  # fmt: skip
    """Serve the explorer on this machine, and draw anew whenever the spec is saved.

    Files that the spec imports count too. While there is an error, the page shows it at its line beside the last good
    picture. Ctrl-C ends it.
    """
    from netdsl.draw.page import page_options
    from netdsl.draw.page.data import page_data
    from netdsl.draw.page.live import Live
    from netdsl.draw.page.server import serving
    from netdsl.ir import Network

    live = Live(page_options(fold=not no_fold, theme=theme or "auto", **options), page_data(Network(Path(spec).stem)))
    viewer = _Viewer(live, spec, settings, shapes)
    with ExitStack() as stack:
        try:
            address = stack.enter_context(serving(live, port))
        except OSError as error:
            raise click.UsageError(f"port {port} cannot be used: {error.strerror or error}") from None
        try:
            viewer.draw()
            click.echo(f"{address}  (Ctrl-C ends it)")
            if opened:
                import webbrowser

                webbrowser.open(address)
            viewer.watch()
        except KeyboardInterrupt:
            click.echo()
    return 0


class _Viewer:
    """Builds the network again whenever a file that it came from changes."""

    def __init__(self, live: Live, spec: str, settings: tuple[str, ...], shapes: tuple[str, ...]) -> None:
        self._live = live
        self._asked = (spec, settings, shapes)
        self._files: dict[Path, Stamp | None] = {}

    def draw(self) -> None:
        """Shows the network, or what is wrong with it."""
        from netdsl.draw.page.live import stamps
        from netdsl.elaborate import Loader

        while True:
            # Stamps are taken before files are read, so that what is saved meanwhile is seen at the next look. Which
            # files there are is known when they are read: a new one means to begin again.
            before = stamps(self._files)
            loader = Loader()
            show = self._built(loader)
            if loader.wanted <= before.keys():
                break
            self._files = dict.fromkeys(loader.wanted | before.keys())
        self._files = {path: before[path] for path in loader.wanted}
        show()

    def _built(self, loader: Loader) -> Callable[[], None]:
        """Builds the network; what there is to show then."""
        from netdsl.draw.page.data import page_data
        from netdsl.language.diagnostics import CodedError, SpecError

        try:
            net = load_net(*self._asked, loader=loader)
            data = page_data(net.network)
        except SpecError as error:
            return partial(self._fail, error.diagnostics)
        except CodedError as error:
            return partial(self._fail, [error.diagnostic])
        return partial(self._show, net, data)

    def _show(self, net: Any, data: dict[str, object]) -> None:
        self._live.show(data)
        click.echo(f"{net.name}: {len(net.network.table):,} layers")

    def _fail(self, diagnostics: Any) -> None:
        from netdsl.cli.main import painted
        from netdsl.language.diagnostics import render, to_json

        sources = {diagnostic.span.source.name: diagnostic.span.source for diagnostic in diagnostics if diagnostic.span}
        files = [{"name": name, "text": source.text} for name, source in sources.items()]
        self._live.fail(to_json(diagnostics), files)
        click.echo(painted(render(diagnostics)), err=True)

    def watch(self) -> None:
        """Looks at the files until it is interrupted."""
        while True:
            time.sleep(EVERY)
            if self._changed():
                self.draw()

    def _changed(self) -> bool:
        """Whether a file was saved; waits until it is written in full."""
        from netdsl.draw.page.live import stamps

        now = stamps(self._files)
        if now == self._files:
            return False
        deadline = time.monotonic() + GONE
        while True:
            time.sleep(SETTLE)
            before, now = now, stamps(self._files)
            missing = any(now[path] is None and stamp is not None for path, stamp in self._files.items())
            if now == before and (not missing or time.monotonic() > deadline):
                return now != self._files
