"""A start from a warm cache: without LLVM, and with the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netdsl.backends.native import cache, features, image, library, target, toolchain
from netdsl.backends.native.image import loadable, unpacked
from netdsl.backends.native.target import host_target

SPEC = """
network small() {
  input x: 3x17x15
  conv(24, 3x3, stride = 2, padding = 1) -> batch_norm -> relu6
  depthwise_conv(3x3, padding = 1) -> batch_norm -> silu
  residual { conv(24, 3x3, padding = 1) -> gelu }
  max_pool(2x2) -> layer_norm
  global_avg_pool -> flatten -> dense(10) -> softmax
}
"""
RUN = """
import hashlib, sys
import numpy as np
import netdsl
model = netdsl.loads(sys.argv[1]).compile(backend="native", threads=2)
model.initialize(0)
x = np.random.default_rng(0).standard_normal((2, 3, 17, 15)).astype(np.float32)
print(hashlib.sha256(model(x).tobytes()).hexdigest(), "llvmlite" in sys.modules)
"""
blocks = pytest.mark.skipif(
    not loadable() or not host_target().cpu.startswith("x86"), reason="kernels are object files here"
)


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "NETDSL_CACHE_DIR": str(folder), **more}


def answer(folder: Path, **more: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, SPEC], capture_output=True, text=True, timeout=120, env=environment(folder, **more)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@blocks
def test_a_warm_cache_needs_no_llvm_and_gives_the_same_bits(tmp_path: Path) -> None:
    bits, imported = answer(tmp_path)
    assert imported == "True"
    entries = sorted((tmp_path / "native").glob("*.code"))
    times = [path.stat().st_ino for path in entries]
    assert answer(tmp_path) == [bits, "False"]
    assert [path.stat().st_ino for path in sorted((tmp_path / "native").glob("*.code"))] == times
    # What is damaged is compiled again, and only that.
    entries[0].write_bytes(entries[0].read_bytes()[:-1])
    assert answer(tmp_path) == [bits, "True"]
    assert answer(tmp_path) == [bits, "False"]


@blocks
def test_object_files_give_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where code cannot be a block, LLVM loads it."""
    bits, _ = answer(tmp_path / "blocks")
    script = tmp_path / "objects.py"
    script.write_text(f"from netdsl.backends.native import machine\nmachine.loadable = lambda: False\n{RUN}")
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(script), SPEC],
            capture_output=True, text=True, timeout=120, env=environment(tmp_path / "objects"),
        )  # fmt: skip
        assert done.stdout.split() == [bits, "True"], done.stderr
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path / "objects"))
    kept = [cache.read(path.stem) for path in (tmp_path / "objects" / "native").glob("*.code")]
    assert kept and all(data is not None and unpacked(data) is None for data in kept)


@blocks
def test_several_processes_start_cold_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, SPEC]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)) for _ in range(3)
    ]
    found = {process.communicate(timeout=120)[0].split()[0] for process in running}
    assert len(found) == 1 and not any(process.returncode for process in running)
    assert answer(tmp_path) == [found.pop(), "False"]


def test_no_llvmlite_or_a_broken_one_leaves_numpy(tmp_path: Path) -> None:
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise OSError('libllvmlite.so: no such file')\n")
    code = "import netdsl; print(netdsl.loads('network n() { input x: 2x3x3\\n relu }').compile().backend.name)"
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, env=environment(tmp_path / "cache", PYTHONPATH=path),
    )  # fmt: skip
    assert done.stdout.split() == ["numpy"], done.stderr
    assert "llvmlite" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(features.linux_features() is None, reason="the system says nothing about its processor")
def test_linux_and_llvm_agree_about_the_processor() -> None:
    asked = {*target._V3, *target._V4, *target._MATRIX}
    found = features.linux_features()
    assert found is not None
    assert asked & found == asked & features._llvm_features()


@pytest.mark.parametrize("text", [None, "", "processor : 0\n", "\udcff" * 100])
def test_without_its_word_llvm_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    place = tmp_path / "cpuinfo"
    if text is not None:
        place.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setattr(features, "CPUINFO", place)
    assert features.linux_features() is None
    assert features.host_features() == features._llvm_features()


def test_the_names_of_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "cpuinfo"
    place.write_text("processor\t: 0\nflags\t\t: fpu abm bmi1 amx_tile avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    monkeypatch.setattr(features, "CPUINFO", place)
    assert features.host_features() == {"fpu", "lzcnt", "bmi", "amx-tile", "avx2"}


def test_another_llvmlite_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "llvmlite"
    (folder / "binding").mkdir(parents=True)
    (folder / "__init__.py").write_text("__version__ = '1'\n")
    (folder / "_version.py").write_text("version_version = '1'\n")
    (folder / "binding" / "libllvmlite.so").write_bytes(bytes(1000))
    code = "from netdsl.backends.native import toolchain; print(ascii(toolchain.version()))"
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))

    def version() -> str:
        return subprocess.check_output([sys.executable, "-c", code], text=True, env={**os.environ, "PYTHONPATH": path})

    found = {version()}
    (folder / "_version.py").write_text("version_version = '2'\n")
    found.add(version())
    (folder / "binding" / "libllvmlite.so").write_bytes(bytes(1001))
    found.add(version())
    assert len(found | {ascii(toolchain.version())}) == 4


def test_codes_of_one_load_lie_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netdsl.backends.native.kernels.map import MapKernel

    monkeypatch.setenv("NETDSL_CACHE_DIR", str(tmp_path))
    calls: list[int] = []
    placed = image.placed
    monkeypatch.setattr(library, "placed", lambda blocks: calls.append(len(blocks)) or placed(blocks))
    kernels = [MapKernel("add", (False, False), True, (name,)) for name in ("exp", "mish", "selu")]
    library._loaded.clear()
    codes = library.load([*kernels, kernels[0]], host_target())
    assert codes[0] is codes[3] and len({code.address("kernel") for code in codes}) == 3
    again = library.load(kernels, host_target())
    assert again == codes[:3]
    if loadable() and host_target().cpu.startswith("x86"):
        assert calls == [3]
