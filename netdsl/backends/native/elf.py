"""From an object file to one block of bytes that can lie anywhere in memory.

Reads ELF for x86-64 (System V ABI, AMD64 supplement, 4.4): what the functions of the object reach is laid out in one
block, and the distances from one place of it to another are filled in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

ALIGNMENT = 64
"""Where a block may begin: a multiple of this."""
_GLOBAL_FUNCTION = 0x12
_PROGBITS, _SYMBOLS, _RELA, _REL = 1, 2, 4, 9
_WRITE, _ALLOC, _TLS = 1, 2, 0x400
_RESERVED = 0xFF00
"""Numbers of sections from here on mean something else; 0 is what lies in no section."""
_DISTANCES = {2: "<i", 4: "<i", 24: "<q"}
"""Relocations that are symbol + addend - place, and how wide: R_X86_64_PC32, _PLT32, _PC64."""
_HEADER = bytes([0x7F, *b"ELF", 2, 1, 1])
"""64 bits, little-endian, version 1."""
_OBJECT, _X86_64 = 1, 62


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    about: int
    alignment: int
    each: int


class _Symbol(NamedTuple):
    name: int
    info: int
    other: int
    section: int
    value: int
    size: int


class Block(NamedTuple):
    """Code and constants, and where in it each function begins."""

    entries: dict[str, int]
    data: bytes


def flattened(data: bytes) -> Block | None:
    """The functions of an object file; None where it is of another kind or machine, or code that would have to know
    where it lies: that calls what is not in it, writes to what is its own, or holds addresses."""
    try:
        return _flattened(data)
    except (struct.error, IndexError, ValueError, OverflowError):
        return None


def _flattened(data: bytes) -> Block | None:
    if data[: len(_HEADER)] != _HEADER or struct.unpack_from("<HH", data, 16) != (_OBJECT, _X86_64):
        return None
    (start,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [_Section(*struct.unpack_from("<IIQQQQIIQQ", data, start + size * number)) for number in range(count)]
    relocations = [section for section in sections if section.kind in (_RELA, _REL)]
    (table,) = (section for section in sections if section.kind == _SYMBOLS)
    symbols = [_Symbol(*fields) for fields in struct.iter_unpack("<IBBHQQ", _body(data, table))]
    names = _body(data, sections[table.link])
    functions = [symbol for symbol in symbols if symbol.info == _GLOBAL_FUNCTION]

    places: dict[int, int] = {}
    block = bytearray()
    waiting = [symbol.section for symbol in functions]
    while waiting:
        number = waiting.pop(0)
        if number in places:
            continue
        if not 0 < number < _RESERVED:
            return None
        section = sections[number]
        if section.kind != _PROGBITS or section.flags & (_WRITE | _ALLOC | _TLS) != _ALLOC:
            return None
        if section.alignment > ALIGNMENT:
            return None
        block += bytes(-len(block) % max(1, section.alignment))
        places[number] = len(block)
        block += _body(data, section)
        for relocation in relocations:
            if relocation.about == number:
                if relocation.kind == _REL:
                    return None
                waiting += [symbols[symbol].section for _, symbol, _, _ in _entries(data, relocation)]

    for relocation in relocations:
        if relocation.about not in places:
            continue
        base, end = places[relocation.about], places[relocation.about] + sections[relocation.about].size
        for offset, symbol, kind, addend in _entries(data, relocation):
            form = _DISTANCES.get(kind)
            if form is None or base + offset + struct.calcsize(form) > end:
                return None
            to = places[symbols[symbol].section] + symbols[symbol].value
            struct.pack_into(form, block, base + offset, to + addend - (base + offset))

    found = {}
    for function in functions:
        name = names[function.name : names.index(b"\0", function.name)].decode("ascii")
        found[name] = places[function.section] + function.value
    return Block(found, bytes(block))


def _body(data: bytes, section: _Section) -> bytes:
    found = data[section.offset : section.offset + section.size]
    if len(found) != section.size:
        raise ValueError("a section that is not in the file")
    return found


def _entries(data: bytes, section: _Section) -> Iterator[tuple[int, int, int, int]]:
    """(offset, symbol, kind, addend) of each relocation."""
    for offset, info, addend in struct.iter_unpack("<QQq", _body(data, section)):
        yield offset, info >> 32, info & 0xFFFFFFFF, addend
