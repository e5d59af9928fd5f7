"""Reads pickles without running them.

A pickle is a program for a small stack machine. Python's own machine imports what the program names and calls it, so
that loading a pickle can run anything. This one knows the steps that build numbers, strings, lists and dictionaries;
what a pickle names is looked up in a table of constructors that the caller gives, and nothing is ever imported. Steps,
bytes and sizes are bounded.

The steps are described in Python's `pickletools`; protocols 0 to 5 are read.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MAX_LINE = 4_096
"""Longest line of text in a pickle (names of classes, numbers of protocol 0), in bytes."""

MAX_INTEGER_BYTES = 32
"""Longest whole number."""

MAX_MARKS = 1_000
"""How many lists, tuples and dictionaries may be open at a time."""

Scalar = (str, int, float, bytes, type(None))


class PickleError(ValueError):
    """The bytes are no pickle, or one that cannot be right."""


class TooLongError(PickleError):
    """The pickle takes more steps, or more bytes, than allowed."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"more than {limit:_} {what}")
        self.what = what
        self.limit = limit


class ForbiddenError(Exception):
    """The pickle names something that is not in the table of constructors."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Global(NamedTuple):
    """Something that a pickle names, e.g. `torch.FloatStorage`: a name and nothing behind it."""

    name: str


class Inert(NamedTuple):
    """What a harmless constructor would have made, of which nothing is kept."""

    name: str


Constructor = Callable[..., Any]


class Program(NamedTuple):
    """What a pickle may do."""

    constructors: Mapping[str, Constructor | None]
    """Dotted name -> what makes a value from the arguments; None where the name may be mentioned but not called."""
    persistent: Callable[[Any], Any]
    """Makes the value that a persistent id stands for."""
    bytes: int
    steps: int


def run(data: bytes | mmap.mmap, start: int, program: Program) -> tuple[Any, int]:
    """The value that the pickle at byte `start` builds, and where the pickle ends.

    Raises PickleError and ForbiddenError.
    """
    machine = _Machine(data, start, program)
    try:
        return machine.run(), machine.place
    except (IndexError, KeyError, struct.error, OverflowError) as error:
        raise PickleError(f"a step at byte {machine.place:_} cannot be right ({type(error).__name__})") from None
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, PickleError) else PickleError(f"at byte {machine.place:_}: {error}") from None


class _Machine:
    def __init__(self, data: bytes | mmap.mmap, start: int, program: Program) -> None:
        self.data = data
        self.place = start
        self.end = min(len(data), start + program.bytes)
        self.program = program
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        steps = STEPS
        for _ in range(self.program.steps):
            code = self.take(1)[0]
            if code == STOP:
                return self.stack.pop()
            step = steps.get(code)
            if step is None:
                raise PickleError(f"byte {self.place - 1:_} is 0x{code:02x}, which is no step of a pickle of weights")
            step(self)
        raise TooLongError("steps", self.program.steps)

    # ------------------------------------------------------------------------------------------------------ reading

    def take(self, count: int) -> bytes:
        place = self.place
        if count > self.end - place:
            if self.end < len(self.data):
                raise TooLongError("bytes", self.program.bytes)
            raise PickleError("it ends in the middle")
        self.place = place + count
        return self.data[place : place + count]

    def skip(self, count: int) -> None:
        self.take(count)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def sized(self, form: str) -> bytes:
        """Bytes behind their number."""
        count = self.number(form)
        if count < 0:
            raise PickleError("a negative length")
        return self.take(count)

    def line(self) -> str:
        found = self.data.find(b"\n", self.place, min(self.end, self.place + MAX_LINE))
        if found < 0:
            raise PickleError("a line of text does not end")
        return self.take(found + 1 - self.place)[:-1].decode("utf-8")

    # ------------------------------------------------------------------------------------------------------- building

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        if len(self.marks) >= MAX_MARKS:
            raise PickleError(f"more than {MAX_MARKS:_} values are open at a time")
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def several(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise PickleError("a tuple of more than there is")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def put(self, key: int) -> None:
        if key < 0:
            raise PickleError("a negative place in the memory")
        self.memo[key] = self.stack[-1]

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise PickleError("something is appended to what is no list")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if len(items) % 2:
            raise PickleError("a key without a value")
        if isinstance(target, dict):
            target.update(pairs(items))
        elif not isinstance(target, Inert):
            raise PickleError("an entry is made in what is no dictionary")

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("a name that is no text")
        full = f"{module}.{name}"
        if full not in self.program.constructors:
            raise ForbiddenError(full)
        self.push(Global(full))

    def call(self, what: Any, arguments: Any, keywords: Any = None) -> None:
        if not isinstance(what, Global) or not isinstance(arguments, tuple) or keywords:
            raise PickleError("a call of what cannot be called")
        constructor = self.program.constructors[what.name]
        if constructor is None:
            raise ForbiddenError(f"{what.name}(...)")
        self.push(constructor(*arguments))

    def instance(self) -> None:
        """The old way to write a call: everything since the mark, the class first."""
        what, *arguments = self.since_mark()
        self.call(what, tuple(arguments))

    def build(self) -> None:
        """Sets attributes of what has just been made: `_metadata` of a state_dict, requires_grad. None are kept."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | tuple):
            raise PickleError("attributes for what has none")

    def reduce(self) -> None:
        arguments = self.stack.pop()
        self.call(self.stack.pop(), arguments)

    def new(self, with_keywords: bool) -> None:
        keywords = self.stack.pop() if with_keywords else None
        arguments = self.stack.pop()
        self.call(self.stack.pop(), arguments, keywords)

    def named_instance(self) -> None:
        arguments = tuple(self.since_mark())
        self.name(self.line(), self.line())
        self.call(self.stack.pop(), arguments)

    def stack_name(self) -> None:
        name = self.stack.pop()
        self.name(self.stack.pop(), name)

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def entry(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.set_items([key, value])

    def element(self) -> None:
        value = self.stack.pop()
        self.append([value])

    def long(self, form: str) -> None:
        count = self.number(form)
        if not 0 <= count <= MAX_INTEGER_BYTES:
            raise PickleError(f"a whole number of {count:_} bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def decimal(self) -> None:
        """A number as text; `00` and `01` are how protocol 0 writes truth values."""
        text = self.line()
        if len(text) > 2 * MAX_INTEGER_BYTES:
            raise PickleError(f"a whole number of {len(text):_} digits")
        self.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text.removesuffix("L")))

    def quoted(self) -> None:
        """A string of protocol 0, in quotation marks, as Python 2 wrote it."""
        text = self.line()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"" or "\\" in text:
            raise PickleError("a string that cannot be read")
        self.push(text[1:-1])

    def plain(self) -> None:
        """Text of protocol 0, in which a backslash begins a character that ASCII does not have."""
        text = self.line()
        if "\\" in text:
            raise PickleError("text that cannot be read")
        self.push(text)


def pairs(items: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn. Keys are numbers or text: comparing others could take for ever."""
    for key in items[::2]:
        if not isinstance(key, Scalar):
            raise PickleError("a key that is neither a number nor text")
    return dict(zip(items[::2], items[1::2], strict=True))


STOP = ord(".")

STEPS: dict[int, Callable[[_Machine], None]] = {
    # Values
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("I"): _Machine.decimal,
    ord("L"): _Machine.decimal,
    0x8A: lambda m: m.long("<B"),
    0x8B: lambda m: m.long("<i"),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("G"): lambda m: m.push(m.number(">d")),
    # Text. Python 2 had no encoding: what is no UTF-8 is kept, one character a byte.
    ord("S"): _Machine.quoted,
    ord("T"): lambda m: m.push(_decoded(m.sized("<i"))),
    ord("U"): lambda m: m.push(_decoded(m.sized("<B"))),
    ord("V"): _Machine.plain,
    ord("X"): lambda m: m.push(m.sized("<I").decode("utf-8")),
    0x8C: lambda m: m.push(m.sized("<B").decode("utf-8")),
    0x8D: lambda m: m.push(m.sized("<Q").decode("utf-8")),
    ord("B"): lambda m: m.push(m.sized("<I")),
    ord("C"): lambda m: m.push(m.sized("<B")),
    0x8E: lambda m: m.push(m.sized("<Q")),
    0x96: lambda m: m.push(m.sized("<Q")),
    # Lists, tuples, dictionaries
    ord("("): _Machine.mark,
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: lambda m: m.push(m.several(1)),
    0x86: lambda m: m.push(m.several(2)),
    0x87: lambda m: m.push(m.several(3)),
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.since_mark()),
    ord("a"): _Machine.element,
    ord("e"): lambda m: m.append(m.since_mark()),
    ord("}"): lambda m: m.push({}),
    ord("d"): lambda m: m.push(pairs(m.since_mark())),
    ord("s"): _Machine.entry,
    ord("u"): lambda m: m.set_items(m.since_mark()),
    0x8F: lambda m: m.push(Inert("set")),
    0x90: lambda m: m.append(m.since_mark()),
    0x91: lambda m: m.push(Inert(f"set of {len(m.since_mark())}")),
    # The stack and the memory
    ord("0"): _Machine.pop,
    ord("1"): lambda m: m.since_mark().clear(),
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("p"): lambda m: m.put(int(m.line()[:20])),
    ord("q"): lambda m: m.put(m.number("<B")),
    ord("r"): lambda m: m.put(m.number("<I")),
    0x94: lambda m: m.put(len(m.memo)),
    ord("g"): lambda m: m.push(m.memo[int(m.line()[:20])]),
    ord("h"): lambda m: m.push(m.memo[m.number("<B")]),
    ord("j"): lambda m: m.push(m.memo[m.number("<I")]),
    # Names and calls, all of which go through the table of constructors
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: _Machine.stack_name,
    ord("R"): _Machine.reduce,
    ord("o"): _Machine.instance,
    ord("i"): _Machine.named_instance,
    0x81: lambda m: m.new(False),
    0x92: lambda m: m.new(True),
    ord("b"): _Machine.build,
    ord("P"): lambda m: m.push(m.program.persistent(m.line())),
    ord("Q"): lambda m: m.push(m.program.persistent(m.stack.pop())),
    # Frames and the number of the protocol say nothing about the value
    0x80: lambda m: m.skip(1),
    0x95: lambda m: m.skip(8),
}


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")
