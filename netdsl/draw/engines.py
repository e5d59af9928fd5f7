"""Graphviz, wherever it is: in the wheel of pygraphviz, else a `dot` on the path."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from netdsl.draw.errors import DrawError


def draw(source: str, form: str) -> bytes:
    """Lays DOT source out and draws it as `svg`, `png` or `pdf`. Raises DrawError."""
    for engine in (_in_process, _by_executable):
        drawing = engine(source, form)
        if drawing is not None:
            return drawing
    raise DrawError(
        "E0801",
        "there is no Graphviz to draw with",
        "`pip install pygraphviz` brings it along, or install Graphviz so that `dot` is on the path; "
        "DOT source (.dot, .gv) needs neither",
    )


def _in_process(source: str, form: str) -> bytes | None:
    """Draws with pygraphviz; None where it cannot be imported."""
    try:
        from pygraphviz import AGraph
    except ImportError:
        return None
    with _standard_error() as said:
        try:
            graph = AGraph(string=source)
            try:
                drawing = graph.draw(format=form, prog="dot")
            finally:
                graph.close()
        except Exception as error:  # Whatever it raises, of whichever kind, is a failure of Graphviz.
            raise _failure(f"{error} {_text(said)}") from None
    if not drawing:
        raise _failure(_text(said))
    return bytes(drawing)


def _by_executable(source: str, form: str) -> bytes | None:
    """Draws with the `dot` on the path; None where there is none."""
    from graphviz import CalledProcessError, ExecutableNotFound, pipe

    try:
        return bytes(pipe("dot", form, source.encode("utf-8"), quiet=True))
    except ExecutableNotFound:
        return None
    except CalledProcessError as error:
        raise _failure((error.stderr or b"").decode("utf-8", "replace")) from None


def _failure(said: str) -> DrawError:
    words = " ".join(said.split())[:400]
    return DrawError("E0805", f"Graphviz failed: {words or 'it said nothing'}", "a smaller depth makes it easier")


def _text(said: IO[bytes] | None) -> str:
    if said is None or said.closed:
        return ""
    said.seek(0)
    return said.read().decode("utf-8", "replace")


@contextmanager
def _standard_error() -> Iterator[IO[bytes] | None]:
    """What C libraries write to the standard error, kept from the terminal.

    They speak of fonts and sizes, which is nothing that somebody who draws a network can mend. None, and nothing is
    kept, in a process without a standard error.
    """
    try:
        kept = os.dup(2)
    except OSError:
        yield None
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
