"""From what a command names to a network and a recipe for it. Loads no array library.

SPEC is a file, `file@network`, or a network of the library; RECIPE is the name of a recipe in the file of SPEC, a file,
or `file@recipe`. Without RECIPE the only one in the file of SPEC is meant.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from netdsl.elaborate import Found, Limits, LoadedModule, Loader, build, choose, find, index, value_of
from netdsl.elaborate.calls import Calls
from netdsl.elaborate.modules import FileError
from netdsl.elaborate.recipes import ENTRIES, check_entry, check_recipe
from netdsl.ir import Extent, Network
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, SpecError, did_you_mean, fail
from netdsl.language.parser import parse
from netdsl.language.source import Source
from netdsl.resources import library_path
from netdsl.train.entries import Placed
from netdsl.train.errors import TrainError
from netdsl.train.recipe import Recipe
from netdsl.train.resolve import Setting, resolve

_FOR = "a_network"


class Job(NamedTuple):
    """What is to be trained, and how."""

    network: Network
    found: Found
    recipe: Recipe
    note: str | None
    """What a person should know about the choice; None where there is nothing."""


class Written(NamedTuple):
    """A recipe and the file that it stands in."""

    declaration: syntax.Recipe
    module: LoadedModule


def find_job(
    spec: str | os.PathLike[str],
    recipe: str | None = None,
    *,
    settings: Sequence[str] = (),
    shapes: Mapping[str, tuple[Extent, ...]] | None = None,
    limits: Limits | None = None,
) -> Job:
    """The network and the resolved recipe. `settings` are NAME=VALUE: an entry of the recipe (`batch=32`,
    `head.epochs=1`, `optimizer=adam(lr = 1e-3)`), else a parameter of the network.

    Raises FileError, SpecError, TrainError.
    """
    loader = Loader()
    text = os.fspath(spec)
    written = find_recipe(text, recipe, loader)
    entries, parameters = _settings(settings, written.module)
    found, note = _network(text, written, loader)
    _require_known(parameters, found)
    bound = _arguments(written, found) | parameters
    network = build(found, parameters=bound, shapes=shapes, limits=limits)
    return Job(network, found, resolve(written.declaration, written.module, network, entries), note)


def find_recipe(spec: str, recipe: str | None, loader: Loader | None = None) -> Written:
    """The recipe that a command names. Raises FileError, SpecError, TrainError (E0965)."""
    loader = loader or Loader()
    if recipe is not None and _names_file(recipe):
        path, name = _split(recipe)
        return _choose(loader.file(path), name)
    path, name = _split(spec) if _names_file(spec) else (_library_file(spec), None)
    module = loader.file(path)
    if recipe is None and name is not None and f"recipe {name}" in module.declarations:
        recipe = name
    return _choose(module, recipe)


def check_recipes(module: LoadedModule, limits: Limits | None = None) -> list[Diagnostic]:
    """Everything that is wrong with the recipes of a file, each for its network.

    Cached features of random images are a warning here: the recipe has its form, and training it is refused.
    """
    found: list[Diagnostic] = []
    loader = Loader()
    for declaration in module.syntax.declarations:
        if not isinstance(declaration, syntax.Recipe):
            continue
        wrong = check_recipe(declaration, module)
        if not wrong:
            written = Written(declaration, module)
            try:
                place, _ = _network("", written, loader)
                network = build(place, parameters=_arguments(written, place), limits=limits)
                resolve(declaration, module, network)
            except SpecError as error:
                wrong = [_milder(diagnostic) for diagnostic in error.diagnostics]
        found += [diagnostic for diagnostic in wrong if diagnostic not in found]
    return found


def _milder(diagnostic: Diagnostic) -> Diagnostic:
    return replace(diagnostic, severity="warning") if diagnostic.code == "E0964" else diagnostic


def _names_file(text: str) -> bool:
    path = text.rpartition("@")[0] or text
    return path.endswith(".net") or "/" in path or os.sep in path or Path(path).is_file()


def _split(text: str) -> tuple[Path, str | None]:
    path, at, name = text.rpartition("@")
    return (Path(path), name) if at and not Path(text).is_file() else (Path(text), None)


def _library_file(name: str) -> Path:
    path = name.partition("@")[0]
    if path in index():
        return index()[path].path
    inside = library_path() / f"{path}.net"
    if inside.is_file():
        return inside
    help = did_you_mean(path, index()) or "`netdsl list` shows the library; a path ends in `.net`"
    raise FileError("E0604", f"there is no network called `{path}` in the library", help)


def _choose(module: LoadedModule, name: str | None) -> Written:
    recipes = {node.name: node for node in module.syntax.declarations if isinstance(node, syntax.Recipe)}
    shown = module.syntax.source.name
    if not recipes:
        help = "a recipe is written `recipe NAME for NETWORK { ... }`; one in another file is named FILE.net@NAME"
        raise TrainError("E0965", f"{shown} has no recipe", help)
    if name is None:
        if len(recipes) > 1:
            raise TrainError("E0965", f"{shown} has several recipes: {', '.join(recipes)}", "name one of them")
        name = next(iter(recipes))
    if name not in recipes:
        help = did_you_mean(name, recipes) or f"it has {', '.join(recipes)}"
        raise TrainError("E0965", f"{shown} has no recipe called `{name}`", help)
    return Written(recipes[name], module)


def _network(spec: str, written: Written, loader: Loader) -> tuple[Found, str | None]:
    """The network that the recipe is for; or another one, where SPEC names one."""
    declaration, module = written
    named = declaration.network
    explicit = _explicit(spec, written, loader)
    if explicit is not None:
        name = explicit.variant.name if explicit.variant is not None else explicit.declaration.name
        if name == named:
            return explicit, None
        return explicit, f"the recipe `{declaration.name}` is written for `{named}`, and trains `{name}` here"
    known = {name for network in module.networks().values() for name in (network.name, *_variants(network))}
    if named in known:
        return choose(module, named), None
    try:
        return find(named, loader), None
    except FileError as error:
        if error.code != "E0604":
            raise
        message = f"there is no network called `{named}`, in this file or in the library"
        help = did_you_mean(named, known | set(index())) or error.help
        raise fail("E0604", message, module.syntax.span(declaration), help) from None


def _variants(network: syntax.Network) -> list[str]:
    return [variant.name for variant in network.variants()]


def _explicit(spec: str, written: Written, loader: Loader) -> Found | None:
    """The network that SPEC names by itself: one of the library, `file@network`, or of a file without the recipe."""
    if not spec:
        return None
    if not _names_file(spec):
        return find(spec, loader)
    path, name = _split(spec)
    module = loader.file(path)
    if name is not None:
        is_recipe = name == written.declaration.name and module is written.module
        known = {each for network in module.networks().values() for each in (network.name, *_variants(network))}
        return None if is_recipe and name not in known else choose(module, name)
    if module is written.module:
        return None
    known = {each for network in module.networks().values() for each in (network.name, *_variants(network))}
    return choose(module, written.declaration.network if written.declaration.network in known else None)


def _arguments(written: Written, found: Found) -> dict[str, Any]:
    """What the recipe binds of the network's parameters: `for resnet50(classes = 37)`."""
    declaration, module = written
    names = [parameter.name for parameter in found.declaration.parameters or ()]
    span = module.syntax.span
    bound: dict[str, Any] = {}
    for place, value in enumerate(Calls(module).values(declaration.arguments or ())):
        name = value.name
        if name is None:
            if place >= len(names):
                takes = f"takes {len(names)} ({', '.join(names)})" if names else "takes no arguments"
                raise fail("E0206", f"`{declaration.network}` {takes}, found one more", span(value.node))
            name = names[place]
        elif name not in names:
            help = did_you_mean(name, names) or (f"it has {', '.join(names)}" if names else "it has none")
            raise fail("E0202", f"`{found.declaration.name}` has no parameter `{name}`", span(value.node), help)
        if name in bound:
            raise fail("E0206", f"`{name}` of `{declaration.network}` is given twice", span(value.node))
        bound[name] = value.value
    return bound


def _settings(settings: Sequence[str], module: LoadedModule) -> tuple[list[Setting], dict[str, Any]]:
    """Entries of the recipe, and parameters of the network, that are given from outside. Raises SpecError."""
    entries: list[Setting] = []
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name, text = name.strip(), text.strip()
        phase, _, entry = name.rpartition(".")
        if not equals or not text or not entry.isidentifier():
            raise SettingError(setting)
        if entry in ENTRIES:
            entries.append(Setting(phase, _entry(entry, text, setting, module)))
        elif phase:
            help = did_you_mean(entry, ENTRIES) or "there are " + ", ".join(ENTRIES)
            source = Source(setting, "--set")
            raise fail("E0202", f"a recipe has no entry `{entry}`", _whole(source), help)
        else:
            parameters[entry] = value_of(text, f"--set {entry}", module)
    return entries, parameters


def _require_known(parameters: Mapping[str, Any], found: Found) -> None:
    """That what is set is an entry of recipes or a parameter of the network. Raises SpecError."""
    names = [parameter.name for parameter in found.declaration.parameters or ()]
    for name in parameters:
        if name not in names:
            message = f"neither a recipe nor `{found.declaration.name}` has `{name}`"
            shown = f"the network has {', '.join(names)}" if names else "the network has no parameters"
            help = did_you_mean(name, [*ENTRIES, *names]) or f"a recipe has {', '.join(ENTRIES)}; {shown}"
            raise fail("E0202", message, _whole(Source(name, "--set")), help)


class SettingError(TrainError):
    """What is given from outside is not written NAME=VALUE."""

    def __init__(self, setting: str) -> None:
        super().__init__(
            "E0204", f"--set takes NAME=VALUE, found {setting!r}", "e.g. --set batch=32 --set head.epochs=1"
        )


def _whole(source: Source) -> Any:
    return syntax.Module(source, (), ()).span(syntax.Syntax((0, len(source.text))))


def _entry(name: str, text: str, setting: str, module: LoadedModule) -> Placed:
    """One entry, from its text. Relative paths in it start where the command runs."""
    head = f"recipe settings for {_FOR} {{ "
    tree = parse(Source(f"{head}{name} {text} }}", f"--set {setting}"))
    (recipe,) = tree.declarations
    assert isinstance(recipe, syntax.Recipe)
    items = recipe.items
    if len(items) != 1 or not isinstance(items[0], syntax.Entry):
        raise SettingError(setting)
    place = LoadedModule(tree, None)
    place.declarations = module.declarations
    wrong = check_entry(items[0], place)
    if wrong:
        raise SpecError(wrong)
    return Placed(items[0], place)
