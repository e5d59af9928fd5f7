"""The cache of machine code: what it keeps, whom it trusts, and how large it grows."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import Map, empty, run

from netdsl.backends.native import cache, library
from netdsl.backends.native.kernels.map import MapKernel
from netdsl.backends.native.steps.map import map_step
from netdsl.backends.native.target import Target, host_target

KERNEL = MapKernel("add", (False, False), True, ("softplus",))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    library._loaded.clear()
    return tmp_path / "native"


def check(target: Target) -> None:
    """Adds with what the library gives for KERNEL."""
    x, out = Map(np.full((1, 3, 1, 1), 1.0)), empty(1, 3, 1, 1)
    library._loaded.clear()
    step = map_step("add", target, "add", [x.view, x.view], out.view, activation=("softplus",))
    assert step.kernel == KERNEL
    run(target, step)
    np.testing.assert_allclose(out.values, np.log1p(np.exp(2.0)), rtol=1e-6)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.code"))


def test_an_entry_is_used_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = host_target()
    check(target)
    assert len(entries(folder)) == 2  # the kernel and the worker
    monkeypatch.setattr(library, "compiled", lambda *_: pytest.fail("it was compiled again"))
    check(target)


def test_only_its_owner_may_write(folder: Path) -> None:
    check(host_target())
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert all(not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in entries(folder))


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign", "swapped", "folder"])
def test_what_is_damaged_is_built_anew(folder: Path, damage: str) -> None:
    target = host_target()
    check(target)
    whole = {path: path.read_bytes() for path in entries(folder)}
    first, second = whole
    for path, data in whole.items():
        if damage == "empty":
            path.write_bytes(b"")
        elif damage == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "flipped":
            path.write_bytes(data[:200] + bytes([data[200] ^ 16]) + data[201:])
        elif damage == "foreign":
            path.write_bytes(b"\x7fELF" + data)
        elif damage == "swapped":
            path.write_bytes(whole[second if path == first else first])
        else:
            path.unlink()
            path.mkdir()
    check(target)
    if damage != "folder":
        assert {path: path.read_bytes() for path in entries(folder)} == whole


@pytest.mark.skipif(os.name != "posix", reason="needs the permissions of POSIX")
def test_what_others_may_write_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = host_target()
    check(target)
    built: list[str] = []
    compiled = library.compiled
    monkeypatch.setattr(library, "compiled", lambda text, target: built.append(text) or compiled(text, target))
    for path in entries(folder):
        path.chmod(0o666)
    check(target)
    assert len(built) == 2
    folder.chmod(0o777)
    check(target)
    assert len(built) == 4


def test_another_processor_version_or_kernel_is_another_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target("a", "x86-64", "", 4, 6, 2)
    names = {cache.key("text", target), cache.key("other", target), cache.key("text", Target("a", "x", "", 4, 6, 2))}
    cache._context.cache_clear()
    monkeypatch.setattr(cache, "__version__", "another")
    names.add(cache.key("text", target))
    cache._context.cache_clear()
    assert len(names) == 4


def test_the_oldest_go_when_it_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        cache.write(f"entry{number}", bytes(1000))
        os.utime(folder / f"entry{number}.code", (number, number))
    assert cache.contents().entries == 6
    assert cache.read("entry0") == bytes(1000)  # now it is the youngest
    monkeypatch.setenv("NETDSL_CACHE_LIMIT", "3500")
    cache.sweep()
    assert [path.stem for path in entries(folder)] == ["entry0", "entry4", "entry5"]
    assert cache.contents().bytes <= 3500


def test_clear(folder: Path) -> None:
    cache.write("entry", b"code")
    held = cache.clear()
    assert held.entries == 1 and held.folder == folder
    assert cache.contents().entries == 0 and cache.read("entry") is None


def test_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETDSL_CACHE_DIR", "off")
    cache.write("entry", b"code")
    assert cache.read("entry") is None and cache.contents().folder is None
    check(host_target())


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path / "file"))
    check(host_target())


def test_several_processes_fill_it_at_once(folder: Path) -> None:
    code = (
        "from netdsl.backends.native import cache\n"
        "for n in range(200):\n"
        "    cache.write(f'entry{n % 7}', bytes([n % 7]) * 5000)\n"
        "    found = cache.read(f'entry{n % 5}')\n"
        "    assert found in (None, bytes([n % 5]) * 5000)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert cache.contents().entries == 7
    assert not list(folder.glob("*.part"))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1, max_size=3), st.integers(0, 10**9))
def test_what_was_changed_anywhere_is_never_read(flips: list[tuple[int, int]], cut: int) -> None:
    body = bytes(range(256)) * 3
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETDSL_CACHE_DIR", place)
        cache.write("entry", body)
        (path,) = Path(place, "native").iterdir()
        whole = path.read_bytes()
        data = bytearray(whole)
        for at, bits in flips:
            data[at % len(data)] ^= bits
        for damaged in (bytes(data), whole[: cut % len(whole)], whole + b"\0"):
            path.write_bytes(damaged)
            assert cache.read("entry") == (body if damaged == whole else None)
