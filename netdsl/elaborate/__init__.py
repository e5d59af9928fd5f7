"""From syntax to a checked network: names, expressions, blocks, loops, variants, expectations, the library."""

from netdsl.elaborate.elaborator import elaborate
from netdsl.elaborate.interface import Overrides
from netdsl.elaborate.library import Found, build, choose, find, index, shape_of, value_of
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.modules import FileError, Loader
from netdsl.elaborate.recipes import check_recipes

__all__ = [
    "FileError",
    "Found",
    "Limits",
    "LoadedModule",
    "Loader",
    "Overrides",
    "build",
    "check_recipes",
    "choose",
    "elaborate",
    "find",
    "index",
    "shape_of",
    "value_of",
]
