"""Finding a network: by path, by `path@name`, or by its name in the library that ships with netdsl."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from netdsl.elaborate.context import Context, Flow, Scope
from netdsl.elaborate.elaborator import elaborate
from netdsl.elaborate.expressions import Evaluator
from netdsl.elaborate.interface import Overrides
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.modules import FileError, Loader
from netdsl.elaborate.values import Value
from netdsl.ir import Extent, Network
from netdsl.language import syntax
from netdsl.language.diagnostics import SpecError, did_you_mean, fail
from netdsl.language.parser import parse_expression
from netdsl.language.source import Source
from netdsl.resources import library_path

_NAMED = re.compile(r"^[ \t]*(network|variant)[ \t]+(\w+)", re.MULTILINE)


class Entry(NamedTuple):
    """A network of the library: the file that declares it, and whether a variant names it."""

    path: Path
    is_variant: bool
    has_variants: bool


class Found(NamedTuple):
    """A network, and the variant of it, that a specification names."""

    module: LoadedModule
    declaration: syntax.Network
    variant: syntax.Variant | None


@cache
def index(folder: Path | None = None) -> Mapping[str, Entry]:
    """Every network and variant of the library by name. A quick reading of the files: nothing is parsed."""
    folder = folder or library_path()
    found: dict[str, Entry] = {}
    for path in sorted(folder.rglob("*.net")):
        matches = _NAMED.findall(path.read_text(encoding="utf-8"))
        for position, (kind, name) in enumerate(matches):
            following = matches[position + 1][0] if position + 1 < len(matches) else ""
            entry = Entry(path, kind == "variant", kind == "network" and following == "variant")
            found.setdefault(name, entry)
    return found


def find(spec: str | os.PathLike[str], loader: Loader | None = None) -> Found:
    """The network that `spec` names. Raises FileError or SpecError."""
    loader = loader or Loader()
    text = os.fspath(spec)
    path_text, at, name = text.rpartition("@")
    if not at or Path(text).is_file():
        path_text, at, name = text, "", ""
    if not path_text or (at and not name):
        raise FileError("E0604", f"`{text}` names no network", "write a name, a path, or path@name")
    path = Path(path_text)
    if not at and text in index() and not _is_path(text):
        entry = index()[text]
        return choose(loader.file(entry.path, _shown(entry.path)), text)
    if path.suffix == ".net" or _is_path(path_text) or path.exists():
        return choose(loader.file(path), name or None)
    inside = library_path() / f"{path_text}.net"
    if at and inside.is_file():
        return choose(loader.file(inside, _shown(inside)), name)
    help = did_you_mean(text, index()) or "`netdsl list` shows the library; a path ends in `.net`"
    raise FileError("E0604", f"there is no network called `{text}` in the library", help)


def _is_path(text: str) -> bool:
    return os.sep in text or (os.altsep is not None and os.altsep in text) or text.endswith(".net")


def _shown(path: Path) -> str:
    """A file of the library by a name that does not hang on where netdsl is installed."""
    return f"specs/{path.relative_to(library_path()).as_posix()}"


def choose(module: LoadedModule, name: str | None) -> Found:
    """The network or variant called `name`, or the only network of a file."""
    networks = module.networks()
    named: dict[str, Found] = {}
    for network in networks.values():
        named.setdefault(network.name, Found(module, network, None))
        for variant in network.variants():
            if variant.name in named and variant.name != network.name:
                message = f"there are two networks or variants called `{variant.name}`"
                raise fail("E0205", message, module.syntax.span(variant))
            named[variant.name] = Found(module, network, variant)
    source = module.syntax.source
    if not networks:
        if not source.text.strip():
            raise FileError("E0212", f"{source.name} is empty", "a network is written `network NAME { ... }`")
        raise FileError("E0212", f"{source.name} declares no network", "a network is written `network NAME { ... }`")
    if name is None:
        if len(networks) > 1:
            known = ", ".join(networks)
            raise FileError(
                "E0606", f"{source.name} has several networks: {known}", f"write `{source.name}@{next(iter(networks))}`"
            )
        only = next(iter(networks.values()))
        return Found(module, only, None)
    if name not in named:
        help = did_you_mean(name, named) or "it has " + ", ".join(named)
        raise FileError("E0604", f"{source.name} has no network or variant called `{name}`", help)
    return named[name]


def build(
    found: Found,
    *,
    parameters: Mapping[str, Value] | None = None,
    shapes: Mapping[str, tuple[Extent, ...]] | None = None,
    limits: Limits | None = None,
) -> Network:
    """The checked network. Raises SpecError."""
    overrides = Overrides(dict(parameters or {}), dict(shapes or {}))
    return elaborate(found.module, found.declaration, found.variant, overrides, limits or Limits())


def value_of(text: str, origin: str, module: LoadedModule | None = None, limits: Limits | None = None) -> Value:
    """The value of an expression given from outside, e.g. `--set`. With `module`, its names may be used.

    Raises SpecError.
    """
    source = Source(text, origin)
    node = parse_expression(source)
    place = LoadedModule(syntax.Module(source, (), ()), None)
    if module is not None:
        place.declarations = module.declarations
    evaluator = Evaluator(limits or Limits(), lambda name, context: None)
    return evaluator.evaluate(node, Context(place, {}, Flow(None), Scope("")))


def shape_of(shape: str | int | tuple[Any, ...] | list[Any], origin: str = "--shape") -> tuple[Extent, ...]:
    """A shape given from outside, as `3x224x224` or as numbers (None for an extent not known yet). Raises SpecError."""
    try:
        value = value_of(shape, origin) if isinstance(shape, str) else shape
    except SpecError:
        value = None
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,)
    extents = value if isinstance(value, tuple | list) else ()
    if not extents or not all(e is None or (isinstance(e, int) and not isinstance(e, bool) and e > 0) for e in extents):
        source = Source(str(shape), origin)
        message = f"`{shape}` is not a shape"
        raise fail(
            "E0204",
            message,
            syntax.Module(source, (), ()).span(syntax.Syntax((0, len(source.text)))),
            "write `3x224x224`",
        )
    return tuple(extents)
