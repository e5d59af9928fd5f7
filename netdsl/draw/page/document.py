"""The explorer as one HTML file: its script, its style and the network, and nothing that is fetched from elsewhere.

What comes from a spec stands in one element, as JSON in which no character can end it. A Content-Security-Policy lets
run the one script that netdsl brings, known by its hash, and forbids every request; with Trusted Types, that script
cannot turn a string into markup either.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

from netdsl import __version__
from netdsl.analysis.notation import printable
from netdsl.draw.palette import DARK, LIGHT, Theme

_ASSETS = Path(__file__).resolve().parent / "assets"

_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""Characters that mean something to HTML, or to JavaScript and not to JSON, as JSON spells them without."""


def document(data: Mapping[str, object], options: Mapping[str, object]) -> str:
    """The page that shows `data` (see `netdsl.draw.page.data`); `options` are those of `tools/page/src/model.ts`."""
    script, style = asset("page.js"), _variables() + asset("page.css")
    return Template(asset("page.html")).substitute(
        policy=escape(policy(script, style, live=options.get("live") is not None)),
        version=escape(__version__),
        title=escape(printable(str(data["name"]))),
        style=style,
        options=as_json(options),
        data=as_json(data),
        script=script,
    )


def policy(script: str, style: str, live: bool) -> str:
    """The Content-Security-Policy of a page; a live one may listen to the server that it came from."""
    return "; ".join([
        "default-src 'none'",
        f"script-src '{_digest(script)}'",
        f"style-src '{_digest(style)}'",
        "img-src data:",
        *(["connect-src 'self'"] if live else []),
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ])  # fmt: skip


def as_json(value: object) -> str:
    """JSON that can stand inside a <script> element: no `<`, `>` or `&`, and ASCII only."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).translate(_ESCAPED)


@cache
def asset(name: str) -> str:
    """The text of a file that the build of the page has left here."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _variables() -> str:
    """The colours of the drawings, as variables of the style sheet: light unless dark is asked for."""
    dark = _theme(DARK)
    return (
        f":root{{{_theme(LIGHT)}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f':root[data-theme="light"]{{{_theme(LIGHT)}}}:root[data-theme="dark"]{{{dark}}}'
    )


def _theme(theme: Theme) -> str:
    colors = {
        "paper": theme.paper,
        "ink": theme.ink,
        "faint": theme.faint,
        "wire": theme.wire,
        "skip": theme.skip,
        "ground-line": theme.ground_line,
        **{f"ground-{level}": theme.ground(level) for level in range(4)},
        **{f"heat-{number}": color for number, color in enumerate(theme.heats)},
    }
    for category, paint in theme.paints.items():
        colors |= {f"{category}-fill": paint.fill, f"{category}-line": paint.line}
    return "".join(f"--{name}:{color};" for name, color in colors.items())
