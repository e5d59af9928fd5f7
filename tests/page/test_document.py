"""The page as a file: nothing in a name can end what it stands in, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import Conv, Wired

import netdsl
from netdsl.draw import DrawError, render
from netdsl.draw.page import write
from netdsl.draw.page.document import as_json

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "netdsl/draw/page/assets"
TOOLS = ROOT / "tools/page"


class Reader(HTMLParser):
    """What a parser of HTML finds: elements in order, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.ended = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ended = False
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts and not self.ended:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.ended = True

    def element(self, tag: str, **attributes: str) -> str:
        (found,) = [
            text
            for (name, given), text in zip(self.tags, self.texts, strict=True)
            if name == tag and attributes.items() <= given.items()
        ]
        return found


@given(st.text())
def test_json_stands_in_a_script_element_and_says_the_same(text: str) -> None:
    written = as_json({"name": text})
    assert written.isascii() and not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == {"name": text}


EVIL = "</script><script>alert(1)</script><!--<script>&amp;\"']]>\u2028\x00${x}$x"


def test_evil_names_leave_the_document_as_it_is() -> None:
    def page(name: str) -> Reader:
        wired = Wired(name, 3, 8, 8)
        wired(f"{name}.{name}", Conv(filters=2, kernel=1))
        network = wired.output(None, name)
        network.doc = name
        return Reader(write(network))

    evil, plain = page(EVIL), page("plain")
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in plain.tags]
    assert json.loads(evil.element("script", id="data"))["nodes"]["name"][-1] == f"{EVIL}.{EVIL}"


def hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_lets_run_what_is_there_and_nothing_else() -> None:
    found = Reader(write(netdsl.load("lenet5").network))
    (policy,) = [given["content"] for tag, given in found.tags if given.get("http-equiv") == "Content-Security-Policy"]
    rules: dict[str, Any] = dict(rule.split(" ", 1) for rule in (policy or "").split("; "))
    (script,) = [
        text
        for (tag, given), text in zip(found.tags, found.texts, strict=True)
        if tag == "script" and "type" not in given
    ]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["trusted-types"] == "'none'"
    assert rules["script-src"] == hashed(script)
    assert rules["style-src"] == hashed(found.element("style"))
    assert "connect-src" not in rules


def test_nothing_is_fetched() -> None:
    text = write(netdsl.load("lenet5").network)
    addresses = {given[name] for _, given in Reader(text).tags for name in ("src", "href", "action") if name in given}
    assert addresses == {"data:,"}
    assert set(re.findall(r"https?://[\w./-]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text and "url(" not in text


def test_same_network_same_bytes() -> None:
    assert write(netdsl.load("resnet50").network) == write(netdsl.load("resnet50").network)


def test_the_command_writes_it_in_full_or_not_at_all(tmp_path: Path) -> None:
    from netdsl.cli.main import run

    path = tmp_path / "net.html"
    assert run(["draw", "lenet5", "-o", str(path), "--heat", "macs", "--depth", "1"]) == 0
    options = json.loads(Reader(path.read_text(encoding="utf-8")).element("script", id="options"))
    assert (options["heat"], options["depth"], options["live"]) == ("macs", 1, None)
    assert [found.name for found in tmp_path.iterdir()] == ["net.html"]
    with pytest.raises(DrawError) as error:
        render(netdsl.load("lenet5").network, tmp_path / "missing" / "net.html")
    assert error.value.code == "E0803"


# --------------------------------------------------------------------------------------------------- what was packed


def test_what_is_packed_was_built_from_these_sources() -> None:
    if not TOOLS.is_dir():
        pytest.skip("the sources of the page are part of a checkout")
    total = hashlib.sha256()
    for path in sorted((TOOLS / "src").iterdir()):
        total.update(f"{path.name}\n".encode() + path.read_bytes() + b"\n")
    total.update((TOOLS / "package-lock.json").read_bytes())
    built = (ASSETS / "sources.sha256").read_text().strip()
    assert built == total.hexdigest(), "run `npm ci && npm run build` in tools/page and commit what it writes"


def test_licences_of_what_is_packed_lie_beside_it() -> None:
    licences = (ASSETS / "LICENSES.txt").read_text(encoding="utf-8")
    lock = json.loads((TOOLS / "package-lock.json").read_text(encoding="utf-8"))
    packed = {
        path.removeprefix("node_modules/"): entry
        for path, entry in lock["packages"].items()
        if path and not entry.get("dev")
    }
    assert packed
    for name, entry in packed.items():
        assert f"{name} {entry['version']} (MIT)" in licences
    assert "Permission is hereby granted" in licences


def test_the_lock_names_no_registry() -> None:
    assert "http" not in (TOOLS / "package-lock.json").read_text(encoding="utf-8").lower()
