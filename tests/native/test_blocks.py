"""Code as a block that can lie anywhere: from which object files, what is refused, and how it lies in memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.backends.native import machine
from netdsl.backends.native.elf import ALIGNMENT, Block, flattened
from netdsl.backends.native.image import PlacedCode, loadable, packed, placed, unpacked
from netdsl.backends.native.kernels.kernel import source
from netdsl.backends.native.kernels.map import MapKernel
from netdsl.backends.native.target import Target, runnable

pytestmark = pytest.mark.skipif(
    not loadable() or not runnable()[0].cpu.startswith("x86"), reason="object files are not ELF for x86-64"
)

TABLE = """
@table = private constant [4 x double] [double 1.5, double -2.0, double 3.25, double 8.0]
define internal double @pick(i64 %n) noinline {
  %at = getelementptr [4 x double], ptr @table, i64 0, i64 %n
  %value = load double, ptr %at
  ret double %value
}
define double @kernel(i64 %n) {
  %picked = call double @pick(i64 %n)
  %value = fadd double %picked, 0.125
  ret double %value
}
define i64 @other(i64 %n) {
  %value = mul i64 %n, 1234567890123
  ret i64 %value
}
"""
CALLS = "declare void @away()\ndefine void @kernel() {\n  call void @away()\n  ret void\n}"
WRITES = (
    "@count = internal global i64 5\n"
    "define i64 @kernel() {\n  %n = load volatile i64, ptr @count\n  store volatile i64 %n, ptr @count\n  ret i64 %n\n}"
)
POINTS = (
    "@a = internal constant i64 1\n@b = internal constant i64 2\n@both = internal constant [2 x ptr] [ptr @a, ptr @b]\n"
    "define ptr @kernel(i64 %n) {\n  %at = getelementptr [2 x ptr], ptr @both, i64 0, i64 %n\n"
    "  %p = load volatile ptr, ptr %at\n  ret ptr %p\n}"
)


@cache
def made(text: str, triple: str = "", model: str = "small", relocation: str = "pic") -> bytes:
    """An object file."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple) if triple else llvm.Target.from_default_triple()
    made_for = target.create_target_machine(reloc=relocation, codemodel=model)
    module = llvm.parse_assembly(text)
    module.triple = made_for.triple
    module.data_layout = str(made_for.target_data)
    return bytes(made_for.emit_object(module))


def function(code: PlacedCode, name: str, result: type, *arguments: type) -> Callable[..., object]:
    return ctypes.CFUNCTYPE(result, *arguments)(code.address(name))


def kept(block: Block) -> Block:
    """A block as it comes back from the cache."""
    data = packed(block)
    assert data is not None
    found = unpacked(data)
    assert found == block
    return found


def table() -> Block:
    found = flattened(made(TABLE))
    assert found is not None
    return found


def test_a_block_computes_what_its_text_says_wherever_it_lies() -> None:
    block = kept(table())
    assert set(block.entries) == {"kernel", "other"}  # what is internal has no name
    first, second = placed([block, Block({}, b"\xcc" * 77)])[0], placed([Block({}, b"\xcc" * 3001), block])[1]
    for code in (first, second):
        assert code.address("kernel") % 16 == 0
        kernel = function(code, "kernel", ctypes.c_double, ctypes.c_int64)
        assert [kernel(n) for n in range(4)] == [1.625, -1.875, 3.375, 8.125]
        assert function(code, "other", ctypes.c_int64, ctypes.c_int64)(7) == 7 * 1234567890123
        with pytest.raises(KeyError):
            code.address("pick")


def test_memory_is_executable_and_not_writable() -> None:
    (code,) = placed([table()])
    address = code.address("kernel")
    if sys.platform.startswith("linux"):
        for line in Path("/proc/self/maps").read_text().splitlines():
            first, end = (int(number, 16) for number in line.split()[0].split("-"))
            if first <= address < end:
                assert line.split()[1] == "r-xp"
                return
        pytest.fail("the code is nowhere")


def test_memory_stays_as_long_as_any_code_in_it() -> None:
    block = table()
    codes = placed([block] * 3)
    last = codes.pop()
    codes.clear()
    assert function(last, "other", ctypes.c_int64, ctypes.c_int64)(2) == 2 * 1234567890123


@pytest.mark.parametrize(("text", "why"), [(CALLS, "calls"), (WRITES, "writes"), (POINTS, "points")])
def test_code_that_needs_more_than_itself_is_refused(text: str, why: str) -> None:
    assert flattened(made(text)) is None


def test_addresses_are_refused() -> None:
    assert flattened(made(TABLE, model="large", relocation="static")) is None


@pytest.mark.parametrize(
    "triple", ["x86_64-apple-darwin", "x86_64-pc-windows-msvc", "aarch64-unknown-linux-gnu", "i686-unknown-linux-gnu"]
)
def test_other_kinds_of_object_files_are_refused(triple: str) -> None:
    try:
        data = made(TABLE, triple)
    except RuntimeError as error:
        pytest.skip(f"this LLVM does not know {triple}: {error}")
    assert flattened(data) is None


def test_kernels_are_blocks(target: Target) -> None:
    """Nothing that is compiled calls anything, not even what fills or copies memory."""
    kernel = MapKernel("add", (False, False), True, ("gelu",))
    block = unpacked(machine.compiled(source(kernel, target), target))
    assert block is not None and "kernel" in block.entries


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1, max_size=8), st.integers(0, 10**9))
def test_a_damaged_object_file_is_refused_or_a_block(flips: list[tuple[int, int]], cut: int) -> None:
    whole = made(TABLE)
    data = bytearray(whole)
    for place, bits in flips:
        data[place % len(data)] ^= bits
    for damaged in (bytes(data), whole[: cut % len(whole)]):
        block = flattened(damaged)
        assert block is None or len(block.data) < 2 * len(whole)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1, max_size=8), st.integers(0, 10**9))
def test_a_damaged_entry_is_refused_or_within_itself(flips: list[tuple[int, int]], cut: int) -> None:
    whole = packed(table())
    assert whole is not None
    assert unpacked(whole[: cut % len(whole)]) is None
    assert unpacked(whole + b"\0") is None
    data = bytearray(whole)
    for place, bits in flips:
        data[place % len(data)] ^= bits
    block = unpacked(bytes(data))
    assert block is None or all(0 <= place < len(block.data) for place in block.entries.values())


def test_names_that_are_too_long_make_no_block() -> None:
    assert packed(Block({"k" * 24: 0}, b"\xc3")) is not None
    assert packed(Block({"k" * 25: 0}, b"\xc3")) is None
    assert ALIGNMENT == 64  # a vector of sixteen numbers
