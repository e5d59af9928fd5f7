"""Networks of the library to draw: of every spec the first and the last that it holds."""

from functools import cache

import netdsl
from netdsl.elaborate.catalogue import rows
from netdsl.ir.network import Network


def names() -> list[str]:
    by_file: dict[str, list[str]] = {}
    for row in rows():
        by_file.setdefault(row["file"], []).append(row["name"])
    return [name for listed in by_file.values() for name in dict.fromkeys([listed[0], listed[-1]])]


@cache
def network(name: str) -> Network:
    return netdsl.load(name).network
