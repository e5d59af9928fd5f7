"""Helpers to write LLVM IR: integers with operators, loops, vectors of float32, masked tails.

Addresses are plain 64-bit integers, counted in bytes; they become pointers where memory is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netdsl.backends.native import ir
from netdsl.backends.native.target import Target

Vector = Any
"""A value of type <width x float>."""


class Int:
    """A 64-bit integer of the generated code."""

    __slots__ = ("emitter", "value")

    def __init__(self, emitter: Emitter, value: Any) -> None:
        self.emitter = emitter
        self.value = value

    def _with(self, operation: Callable[[Any, Any], Any], other: int | Int) -> Int:
        return Int(self.emitter, operation(self.value, self.emitter.number(other).value))

    def __add__(self, other: int | Int) -> Int:
        return self if isinstance(other, int) and other == 0 else self._with(self.emitter.b.add, other)

    def __sub__(self, other: int | Int) -> Int:
        return self._with(self.emitter.b.sub, other)

    def __mul__(self, other: int | Int) -> Int:
        return self._with(self.emitter.b.mul, other)

    def __floordiv__(self, other: int | Int) -> Int:
        """Of numbers that are not negative."""
        return self._with(self.emitter.b.udiv, other)

    def __mod__(self, other: int | Int) -> Int:
        """Of numbers that are not negative."""
        return self._with(self.emitter.b.urem, other)

    def __lt__(self, other: int | Int) -> Any:
        return self._compare("<", other)

    def __ge__(self, other: int | Int) -> Any:
        return self._compare(">=", other)

    def equals(self, other: int | Int) -> Any:
        return self._compare("==", other)

    def _compare(self, sign: str, other: int | Int) -> Any:
        return self.emitter.b.icmp_signed(sign, self.value, self.emitter.number(other).value)


class Variable:
    """A place that a loop writes to; becomes a register."""

    def __init__(self, emitter: Emitter, initial: Any) -> None:
        self.emitter = emitter
        self.integer = isinstance(initial, Int)
        value = initial.value if isinstance(initial, Int) else initial
        with emitter.b.goto_entry_block():
            self.slot = emitter.b.alloca(value.type)
        self.type = value.type
        emitter.b.store(value, self.slot)

    def get(self) -> Any:
        value = self.emitter.b.load(self.slot, typ=self.type)
        return Int(self.emitter, value) if self.integer else value

    def set(self, value: Any) -> None:
        self.emitter.b.store(value.value if isinstance(value, Int) else value, self.slot)


class Emitter:
    """Writes one function of 64-bit integers that returns nothing."""

    def __init__(self, module: ir.Module, target: Target, name: str, parameters: int, internal: bool = True) -> None:
        self.module = module
        self.target = target
        self.width = target.width
        self.function = ir.Function(module, ir.FunctionType(ir.VOID, [ir.I64] * parameters), name)
        if internal:
            self.function.linkage = "internal"
        self.function.attributes.add("nounwind")
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        # Variables live in the entry block, before the code.
        body = self.function.append_basic_block("body")
        self.b.branch(body)
        self.b.position_at_end(body)
        self.vector_type = ir.VectorType(ir.F32, self.width)
        self.arguments = [Int(self, argument) for argument in self.function.args]

    # integers

    def number(self, value: int | Int) -> Int:
        return value if isinstance(value, Int) else Int(self, ir.Constant(ir.I64, value))

    def least(self, a: int | Int, b: int | Int) -> Int:
        a, b = self.number(a), self.number(b)
        return Int(self, self.b.select(a < b, a.value, b.value))

    def most(self, a: int | Int, b: int | Int) -> Int:
        a, b = self.number(a), self.number(b)
        return Int(self, self.b.select(a < b, b.value, a.value))

    def choose(self, condition: Any, a: int | Int, b: int | Int) -> Int:
        return Int(self, self.b.select(condition, self.number(a).value, self.number(b).value))

    def variable(self, initial: Any) -> Variable:
        return Variable(self, self.number(initial) if isinstance(initial, int) else initial)

    def stack(self, vectors: int) -> Int:
        """The address of room for so many vectors, which lasts while the function runs."""
        with self.b.goto_entry_block():
            slot = self.b.alloca(ir.ArrayType(self.vector_type, vectors))
            slot.align = 64
        return Int(self, self.b.ptrtoint(slot, ir.I64))

    # control

    @contextmanager
    def loop(self, first: int | Int, end: int | Int, step: int | Int = 1) -> Iterator[Int]:
        """Runs the body for first, first + step, ... below end."""
        b = self.b
        counter = self.variable(self.number(first))
        end = self.number(end)
        head, body, out = (self.function.append_basic_block(name) for name in ("head", "loop", "out"))
        b.branch(head)
        b.position_at_end(head)
        i = counter.get()
        b.cbranch(i < end, body, out)
        b.position_at_end(body)
        yield i
        counter.set(i + step)
        b.branch(head)
        b.position_at_end(out)

    @contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        with self.b.if_then(condition):
            yield

    def call(self, function: ir.Function, *arguments: int | Int) -> None:
        self.b.call(function, [self.number(argument).value for argument in arguments])

    def finish(self) -> ir.Function:
        self.b.ret_void()
        return self.function

    # memory

    def pointer(self, address: Int) -> Any:
        return self.b.inttoptr(address.value, ir.PTR)

    def load_int(self, address: Int) -> Int:
        return Int(self, self.b.load(self.pointer(address), align=8, typ=ir.I64))

    def load_scalar(self, address: Int) -> Any:
        return self.b.load(self.pointer(address), align=4, typ=ir.F32)

    def store_scalar(self, value: Any, address: Int) -> None:
        self.b.store(value, self.pointer(address), align=4)

    def load(self, address: Int, mask: Any = None) -> Vector:
        """A vector; with a mask, zeros where it is off, and nothing is read there."""
        if mask is None:
            return self.b.load(self.pointer(address), align=4, typ=self.vector_type)
        return self.intrinsic(
            f"llvm.masked.load.v{self.width}f32.p0",
            self.vector_type,
            self.pointer(address),
            ir.Constant(ir.I32, 4),
            mask,
            self.constant(0.0),
        )

    def store(self, value: Vector, address: Int, mask: Any = None) -> None:
        if mask is None:
            self.b.store(value, self.pointer(address), align=4)
        else:
            self.intrinsic(
                f"llvm.masked.store.v{self.width}f32.p0",
                ir.VOID,
                value,
                self.pointer(address),
                ir.Constant(ir.I32, 4),
                mask,
            )

    def prefetch(self, address: Int) -> None:
        """Asks for the line at `address`, which need not exist, to come into the second cache."""
        hint = [ir.Constant(ir.I32, number) for number in (0, 2, 1)]  # read, moderately local, data
        self.intrinsic("llvm.prefetch.p0", ir.VOID, self.pointer(address), *hint)

    def mask(self, count: Int) -> Any:
        """On for the first `count` lanes."""
        lanes = self.width
        kind = ir.VectorType(ir.I32, lanes)
        narrow = self.b.trunc(count.value, ir.I32)
        return self.b.icmp_signed("<", ir.Constant(kind, list(range(lanes))), self._splat(narrow, kind))

    # vectors of float32

    def constant(self, value: float) -> Vector:
        return ir.Constant(self.vector_type, [value] * self.width)

    def constant_scalar(self, value: float) -> Any:
        return ir.Constant(ir.F32, value)

    def splat(self, scalar: Any) -> Vector:
        return self._splat(scalar, self.vector_type)

    def broadcast(self, address: Int) -> Vector:
        """A vector of the one number at `address`."""
        return self.splat(self.load_scalar(address))

    def _splat(self, scalar: Any, kind: Any) -> Any:
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.b.insert_element(undefined, scalar, ir.Constant(ir.I32, 0))
        return self.b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.I32, kind.count), [0] * kind.count))

    def fma(self, x: Vector, y: Vector, z: Vector) -> Vector:
        """x * y + z, rounded once where the processor can."""
        return self.intrinsic(f"llvm.fmuladd.v{self.width}f32", self.vector_type, x, y, z)

    def max(self, x: Vector, y: Vector) -> Vector:
        """The larger; a NaN in x stays."""
        return self.b.select(self.b.fcmp_ordered("<", x, y), y, x)

    def min(self, x: Vector, y: Vector) -> Vector:
        """The smaller; a NaN in x stays."""
        return self.b.select(self.b.fcmp_ordered(">", x, y), y, x)

    def largest(self, x: Vector, y: Vector) -> Vector:
        """The larger, or a NaN where either is one, as NumPy has it."""
        b = self.b
        return b.select(b.fcmp_unordered("uno", y, y), y, b.select(b.fcmp_ordered(">", y, x), y, x))

    def smallest(self, x: Vector, y: Vector) -> Vector:
        """The smaller, or a NaN where either is one."""
        b = self.b
        return b.select(b.fcmp_unordered("uno", y, y), y, b.select(b.fcmp_ordered("<", y, x), y, x))

    def abs(self, x: Vector) -> Vector:
        return self.intrinsic(f"llvm.fabs.v{self.width}f32", self.vector_type, x)

    def sqrt(self, x: Vector) -> Vector:
        return self.intrinsic(f"llvm.sqrt.v{self.width}f32", self.vector_type, x)

    def intrinsic(self, name: str, result: Any, *arguments: Any) -> Any:
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(result, [value.type for value in arguments]), name)
        return self.b.call(function, arguments)

    def sum_lanes(self, x: Vector) -> Any:
        """The sum of all lanes as a scalar."""
        return self._by_halves(x, self.b.fadd)

    def max_lanes(self, x: Vector) -> Any:
        """The largest lane as a scalar."""
        b = self.b
        return self._by_halves(x, lambda low, high: b.select(b.fcmp_ordered("<", low, high), high, low))

    def _by_halves(self, x: Vector, combined: Callable[[Any, Any], Any]) -> Any:
        """All lanes made one, the lower half with the upper until one is left: the same order everywhere."""
        lanes, b = self.width, self.b
        while lanes > 1:
            lanes //= 2
            picks = ir.VectorType(ir.I32, lanes)
            low = b.shuffle_vector(x, x, ir.Constant(picks, list(range(lanes))))
            high = b.shuffle_vector(x, x, ir.Constant(picks, list(range(lanes, 2 * lanes))))
            x = combined(low, high)
        return b.extract_element(x, ir.Constant(ir.I32, 0))


def field(emitter: Emitter, table: Int, names: Sequence[str]) -> dict[str, Int]:
    """The 64-bit integers that lie one after the other at `table`, by name."""
    return {name: emitter.load_int(table + 8 * index) for index, name in enumerate(names)}
