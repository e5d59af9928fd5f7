"""`netdsl view` without a browser: who may read the page, and what is sent when files change."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from visits import MINE, UNIT, viewing

import netdsl
from netdsl.draw.page import page_options
from netdsl.draw.page.data import page_data
from netdsl.draw.page.live import Live
from netdsl.draw.page.server import serving
from netdsl.ir.network import Network


@pytest.fixture
def live() -> Live:
    found = Live(page_options(), page_data(Network("empty")))
    found.show(page_data(netdsl.load("lenet5").network))
    return found


def ask(address: str, path: str = "/", **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest("GET", path, skip_host="Host" in given)
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def test_only_requests_of_this_machine_are_answered(live: Live) -> None:
    with serving(live) as address:
        port = urlsplit(address).port
        assert urlsplit(address).hostname == "127.0.0.1"
        status, headers, text = ask(address)
        assert status == 200 and "lenet5" in text
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'" and headers["Cache-Control"] == "no-store"
        assert ask(address, Host=f"localhost:{port}")[0] == 200
        # A name of another site that points to this machine, and requests that a browser marks as those of another.
        for wrong in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{(port or 0) + 1}", ""):
            status, _, text = ask(address, Host=wrong)
            assert status == 403 and "lenet5" not in text, wrong
        assert ask(address, Sec_Fetch_Site="cross-site")[0] == 403
        assert ask(address, "/events", Host="evil.example")[0] == 403
        assert ask(address, "/../../etc/passwd")[0] == ask(address, "/specs/lenet.net")[0] == 404


def test_nothing_else_listens(live: Live) -> None:
    """The socket is bound to the loopback address: no other address of this machine reaches it."""
    with serving(live) as address:
        port = urlsplit(address).port or 0
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
        for other in others:
            with pytest.raises(OSError), socket.create_connection((str(other), port), timeout=2):
                pass


@contextmanager
def stream(address: str) -> Iterator[Any]:
    """A function that waits for the next message of the stream."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")

    def following() -> dict[str, Any]:
        while True:
            line = answer.readline().decode()
            assert line, "the stream ended"
            if line.startswith("data: "):
                found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return found

    yield following
    connection.close()


def test_pages_hear_of_every_state_and_keep_the_last_good_picture(live: Live) -> None:
    with serving(live) as address, stream(address) as following:
        first = following()
        assert first["data"]["name"] == "lenet5"
        live.fail([{"code": "E0101", "message": "</script>"}], [{"name": "a.net", "text": "network"}])
        news = following()
        assert news["version"] == first["version"] + 1 and "data" not in news
        assert news["diagnostics"][0]["message"] == "</script>" and news["files"][0]["text"] == "network"
        page = ask(address)[2]
        assert "lenet5" in page and f'"live":{first["version"]}' in page
        live.show(page_data(netdsl.load("edges").network))
        assert following()["data"]["name"] == "edges"


def test_it_ends_while_pages_listen(live: Live) -> None:
    start = threading.active_count()
    with serving(live) as address, stream(address) as following:
        following()
        begun = time.monotonic()
        live.end()
    assert time.monotonic() - begun < 5 and threading.active_count() <= start + 1


# ------------------------------------------------------------------------------------------------------- the command


def test_the_command_follows_files_and_their_imports_and_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "unit.net").write_text(UNIT)
    (tmp_path / "mine.net").write_text("network mine { conv( }")
    with viewing(tmp_path, "mine.net") as (process, address), stream(address) as following:
        # Broken from the start: there is a page all the same.
        assert following()["diagnostics"][0]["code"] == "E0101" and ask(address)[0] == 200
        (tmp_path / "mine.net").write_text(MINE)
        assert following()["data"]["totals"]["layers"] == 10
        (tmp_path / "unit.net").write_text(UNIT.replace("relu", "rleu"))
        (wrong,) = following()["diagnostics"]
        assert (wrong["code"], wrong["file"], wrong["line"]) == ("E0201", "unit.net", 2) or wrong["file"].endswith(
            "unit.net"
        )
        # As editors save: another file takes the place.
        (tmp_path / "new").write_text(UNIT.replace("-> relu", "-> relu -> relu"))
        (tmp_path / "new").replace(tmp_path / "unit.net")
        assert following()["data"]["totals"]["layers"] == 13
        (tmp_path / "unit.net").unlink()
        assert following()["diagnostics"][0]["code"] == "E0602"
        (tmp_path / "unit.net").write_text(UNIT)
        assert following()["data"]["totals"]["layers"] == 10
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stdout is not None and "Traceback" not in process.stdout.read()


def test_a_port_that_is_taken_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    from netdsl.cli.main import run

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["view", "lenet5", "--port", str(port)]) == 2
    assert f"port {port} cannot be used" in capsys.readouterr().err
