"""The native worker: it goes through a table of steps together with the threads that help.

Every step is cut into shares, always at the same places. Half of the threads take them from the front, the others from
the back, so that each finds near itself what it wrote in the step before; they meet where they meet. A step begins when
all shares of the one before are done. So nobody waits for a thread that has not come: one alone finishes the whole
table, with the same bits.

For each step there is a line of memory with two counters, shares taken (from the front; above them, from the back) and
shares done. Both carry the number of the run (`epoch`) in their upper half: a helper that comes too late finds another
number and leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int
from netdsl.backends.native.target import Target

STEP_BYTES = 40
"""A row of the table: function, arguments, units, shares, the first of the units."""
COUNTER_BYTES = 64
_BACK = 1 << 16
"""One share taken from the back, in the counter; there are fewer shares than this."""
CONTROL = ("epoch", "stop", "table", "steps", "counters", "yield", "spin", "idle")
"""The control block, 64-bit integers, each on a line of its own; flags of sleeping helpers follow."""
LINE = 64
HELPER = LINE * len(CONTROL)
"""Where the flags of the helpers begin, a line each."""
FLUSH = 0x8040
"""Bits of x86's MXCSR: operands that are denormal count as 0, and so do such results."""


@dataclass(frozen=True)
class Interpreter:
    """The worker: `lead(control, scratch, first, end)` and `help(control, scratch, flag)`."""

    fields: ClassVar[tuple[str, ...]] = ()

    def emit(self, module: ir.Module, target: Target, name: str) -> None:
        shares = _emit_shares(module, target)
        _emit_lead(module, target, shares)
        _emit_help(module, target, shares)


def _control(e: Emitter, control: Int, name: str) -> Int:
    return control + LINE * CONTROL.index(name)


def _atomic_load(e: Emitter, address: Int) -> Int:
    return Int(e, e.b.load_atomic(e.pointer(address), "acquire", 8, typ=ir.I64))


def _atomic_store(e: Emitter, value: int | Int, address: Int) -> None:
    pointer = e.b.inttoptr(address.value, ir.PointerType(ir.I64))
    e.b.store_atomic(e.number(value).value, pointer, "release", 8)


def _pause(e: Emitter) -> None:
    if e.target.cpu.startswith("x86"):
        e.intrinsic("llvm.x86.sse2.pause", ir.VOID)


def _flushing(e: Emitter) -> Callable[[], None]:
    """Numbers smaller than the smallest normal one (1.2e-38) count as 0 from here on, until what is returned is called.

    A processor takes a hundred times as long over them, and gates and deep networks do make them.
    """
    if not e.target.cpu.startswith("x86"):
        return lambda: None
    before = e.stack(1)
    changed = before + 4
    e.intrinsic("llvm.x86.sse.stmxcsr", ir.VOID, e.pointer(before))
    control = e.b.load(e.pointer(before), align=4, typ=ir.I32)
    e.b.store(e.b.or_(control, ir.Constant(ir.I32, FLUSH)), e.pointer(changed), align=4)
    e.intrinsic("llvm.x86.sse.ldmxcsr", ir.VOID, e.pointer(changed))
    return lambda: e.intrinsic("llvm.x86.sse.ldmxcsr", ir.VOID, e.pointer(before))


def _rest(e: Emitter, count: Any, control: Int) -> None:
    """One turn of waiting: a pause for as long as `spin` says, then the processor is given to others."""
    number = count.get()
    count.set(number + 1)
    give = e.load_int(_control(e, control, "yield"))
    spin = e.load_int(_control(e, control, "spin"))
    with e.b.if_else(e.b.and_(spin < number, e.number(0) < give)) as (then, otherwise):
        with then:
            _call_at(e, give, ir.FunctionType(ir.I32, []), [])
        with otherwise:
            _pause(e)


def _call_at(e: Emitter, address: Int, kind: ir.FunctionType, arguments: list[Int]) -> None:
    """Calls the function that lies at `address`."""
    pointer = e.b.inttoptr(address.value, ir.PointerType(kind))
    e.b.call(pointer, [argument.value for argument in arguments])


def _emit_shares(module: ir.Module, target: Target) -> ir.Function:
    """(control, scratch, first, end, epoch, number): takes shares until the steps first..end are done.

    Thread 0 leads: steps of a single share are its own. Returns early where the run is over.
    """
    e = Emitter(module, target, "shares", 6)
    control, scratch, first, end, epoch, number = e.arguments
    backward = (number % 2).equals(1)
    b = e.b
    table = e.load_int(_control(e, control, "table"))
    counters = e.load_int(_control(e, control, "counters"))
    tag = epoch * (1 << 32)
    over = e.function.append_basic_block("over")
    kernel_type = ir.FunctionType(ir.VOID, [ir.I64] * 4)
    with e.loop(first, end) as step:
        row = table + step * STEP_BYTES
        line = counters + step * COUNTER_BYTES
        units, shares = e.load_int(row + 16), e.load_int(row + 24)

        def work(share: Int, row: Int = row, units: Int = units, shares: Int = shares, line: Int = line) -> None:
            begin = e.load_int(row + 32)
            low, high = begin + units * share // shares, begin + units * (share + 1) // shares
            _call_at(e, e.load_int(row), kernel_type, [e.load_int(row + 8), low, high, scratch])
            e.b.atomic_rmw("add", e.pointer(line + 8), e.number(1).value, "acq_rel")

        single = shares.equals(1)
        with b.if_else(single) as (then, otherwise):
            with then, e.when(number.equals(0)):
                work(e.number(0))
            with otherwise:
                take, taken, done = (e.function.append_basic_block(name) for name in ("take", "taken", "done"))
                b.branch(take)
                b.position_at_end(take)
                seen = _atomic_load(e, line)
                counts = seen - tag
                # Another run's number makes this negative or far too large.
                ours = b.icmp_unsigned("<", counts.value, e.number(1 << 32).value)
                judge = e.function.append_basic_block("judge")
                b.cbranch(ours, judge, over)
                b.position_at_end(judge)
                attempt = e.function.append_basic_block("attempt")
                front, back = counts % _BACK, counts // _BACK
                b.cbranch(front + back < shares, attempt, done)
                b.position_at_end(attempt)
                share = e.choose(backward, shares - 1 - back, front)
                after = seen + e.choose(backward, _BACK, 1)
                swapped = b.cmpxchg(e.pointer(line), seen.value, after.value, "acq_rel", "acquire")
                b.cbranch(b.extract_value(swapped, 1), taken, take)
                b.position_at_end(taken)
                work(share)
                b.branch(take)
                b.position_at_end(done)
        waited = e.variable(0)
        wait, judge_wait, turn, ready = (
            e.function.append_basic_block(name) for name in ("wait", "judge", "turn", "ready")
        )
        b.branch(wait)
        b.position_at_end(wait)
        finished = _atomic_load(e, line + 8) - tag
        b.cbranch(b.icmp_unsigned("<", finished.value, e.number(1 << 32).value), judge_wait, over)
        b.position_at_end(judge_wait)
        b.cbranch(finished < shares, turn, ready)
        b.position_at_end(turn)
        _rest(e, waited, control)
        b.branch(wait)
        b.position_at_end(ready)
    b.branch(over)
    b.position_at_end(over)
    return e.finish()


def _emit_lead(module: ir.Module, target: Target, shares: ir.Function) -> None:
    """`lead(control, scratch, first, end)`: a run, by the thread that owns it."""
    e = Emitter(module, target, "lead", 4, internal=False)
    control, scratch, first, end = e.arguments
    counters = e.load_int(_control(e, control, "counters"))
    epoch_at = _control(e, control, "epoch")
    # 31 bits, and never 0, which is what a helper that has seen nothing knows.
    epoch = (e.load_int(epoch_at) % ((1 << 31) - 1)) + 1
    tag = epoch * (1 << 32)
    steps = e.load_int(_control(e, control, "steps"))
    with e.loop(0, steps) as step:
        line = counters + step * COUNTER_BYTES
        # What this run leaves out counts as done.
        left_out = e.b.or_(step < first, step >= end)
        row = e.load_int(_control(e, control, "table")) + step * STEP_BYTES
        done = e.choose(left_out, e.load_int(row + 24), 0)
        _atomic_store(e, tag + done, line)
        _atomic_store(e, tag + done, line + 8)
    _atomic_store(e, epoch, epoch_at)
    restore = _flushing(e)
    e.call(shares, control, scratch, first, end, epoch, 0)
    restore()
    e.finish()


def _emit_help(module: ir.Module, target: Target, shares: ir.Function) -> None:
    """`help(control, scratch, flag)`: takes part in runs until none has come for a while or it is told to stop.

    `flag` is the helper's line: 1 while it sleeps, and behind it the number of the run that it saw last.
    """
    e = Emitter(module, target, "help", 3, internal=False)
    control, scratch, flag = e.arguments
    b = e.b
    restore = _flushing(e)
    waited = e.variable(0)
    head, look, work, idle, out = (
        e.function.append_basic_block(name) for name in ("head", "look", "work", "idle", "out")
    )
    b.branch(head)
    b.position_at_end(head)
    stop = _atomic_load(e, _control(e, control, "stop"))
    b.cbranch(stop.equals(0), look, out)
    b.position_at_end(look)
    epoch = _atomic_load(e, _control(e, control, "epoch"))
    b.cbranch(epoch.equals(e.load_int(flag + 8)), idle, work)
    b.position_at_end(work)
    e.b.store(epoch.value, e.pointer(flag + 8), align=8)
    own = (flag - control - HELPER) // LINE
    e.call(shares, control, scratch, 0, e.load_int(_control(e, control, "steps")), epoch, own)
    waited.set(e.number(0))
    b.branch(head)
    b.position_at_end(idle)
    number = waited.get()
    # It may have been woken on the very processor that the leader needs: it must offer it.
    _rest(e, waited, control)
    sleepy = e.function.append_basic_block("sleepy")
    b.cbranch(number < e.load_int(_control(e, control, "idle")), head, sleepy)
    b.position_at_end(sleepy)
    _atomic_store(e, 1, flag)
    b.branch(out)
    b.position_at_end(out)
    restore()
    e.finish()
