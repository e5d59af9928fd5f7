"""The form of recipes: which entries there are, what each takes, and for which network it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from netdsl.elaborate.library import index
from netdsl.elaborate.linked import LoadedModule
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, did_you_mean

Operand = syntax.Call | syntax.Expression
Form = Callable[[syntax.Entry], str | None]
"""What is wrong with the operands of an entry, as "it takes ..."; None where they fit."""


def _word(operand: Operand) -> str | None:
    """A bare name, dotted or not."""
    if isinstance(operand, syntax.Path):
        return operand.path
    return operand.name if isinstance(operand, syntax.Call) and operand.arguments is None else None


def _is_call(operand: Operand) -> bool:
    return isinstance(operand, syntax.Call)


def _is_number(operand: Operand) -> bool:
    return isinstance(operand, syntax.Constant) and type(operand.value) in (int, float)


def _is_string(operand: Operand) -> bool:
    return isinstance(operand, syntax.Constant) and isinstance(operand.value, str)


def _call(what: str) -> Form:
    def form(entry: syntax.Entry) -> str | None:
        return None if len(entry.operands) == 1 and _is_call(entry.operands[0]) else f"it takes {what}"

    return form


def _number(what: str) -> Form:
    def form(entry: syntax.Entry) -> str | None:
        return None if len(entry.operands) == 1 and _is_number(entry.operands[0]) else f"it takes {what}"

    return form


def _pipeline(entry: syntax.Entry) -> str | None:
    calls = all(_is_call(operand) for operand in entry.operands)
    arrows = entry.marks[0] == "" and all(mark == "->" for mark in entry.marks[1:])
    return None if calls and arrows else "it takes steps: `random_flip -> random_crop(32, padding = 4)`"


def _weights(entry: syntax.Entry) -> str | None:
    wrong = 'it takes a file and perhaps exceptions: `"resnet50.safetensors" except fc`'
    if not _is_string(entry.operands[0]):
        return wrong
    rest = list(zip(entry.operands[1:], entry.marks[1:], strict=True))
    return None if not rest or _excepts(rest) else wrong


def _freeze(entry: syntax.Entry) -> str | None:
    wrong = "it takes names or ranges of names: `all except fc`, `conv1 to layer2`, `stem, layer1`"
    parts = list(zip(entry.operands, entry.marks, strict=True))
    words = [_word(operand) for operand, _ in parts]
    if "except" in words:
        place = words.index("except")
        if not _excepts(parts[place:]):
            return wrong
        parts = parts[:place]
    return None if _names(parts, ranges=True) else wrong


def _excepts(parts: Sequence[tuple[Operand, str]]) -> bool:
    """`except a, b`"""
    return len(parts) > 1 and _word(parts[0][0]) == "except" and parts[0][1] == "" and _names(parts[1:], ranges=False)


def _names(parts: Sequence[tuple[Operand, str]], ranges: bool) -> bool:
    """`a, b`, and `a to b` where ranges are allowed."""
    if not parts or any(_word(operand) is None for operand, _ in parts) or parts[0][1] != "":
        return False
    position = 0
    while position < len(parts):
        if position and parts[position][1] != ",":
            return False
        position += 1
        if ranges and position < len(parts) and _word(parts[position][0]) == "to" and parts[position][1] == "":
            if position + 1 >= len(parts) or parts[position + 1][1] != "":
                return False
            position += 2
    return True


def _cache(entry: syntax.Entry) -> str | None:
    (first, *rest) = entry.operands
    fits = not rest and isinstance(first, syntax.Call) and first.name == "features"
    return None if fits else "it takes `features`, or `features(views = 4)`"


def _clip(entry: syntax.Entry) -> str | None:
    fits = len(entry.operands) == 1 and (_is_number(entry.operands[0]) or _is_call(entry.operands[0]))
    return None if fits else "it takes the largest norm of the gradients, `clip 1.0`, or `norm(1.0)`, `value(0.5)`"


PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
"""Numbers that activations may be stored and multiplied in while a network is trained."""


def _precision(entry: syntax.Entry) -> str | None:
    fits = len(entry.operands) == 1 and _word(entry.operands[0]) in PRECISIONS
    return None if fits else f"it takes one of {', '.join(PRECISIONS)}"


ENTRIES: dict[str, Form] = {
    "data": _call('where the images are: `folder("pets", validation = 20%)`'),
    "weights": _weights,
    "augment": _pipeline,
    "optimizer": _call("an optimiser: `sgd(lr = 0.01, momentum = 0.9)`"),
    "schedule": _call("a schedule: `cosine(warmup = 1)`"),
    "loss": _call("a loss: `cross_entropy(label_smoothing = 0.1)`"),
    "batch": _number("a number of images"),
    "epochs": _number("a number"),
    "lr": _number("a learning rate"),
    "seed": _number("a whole number"),
    "freeze": _freeze,
    "cache": _cache,
    "clip": _clip,
    "ema": _number("how slowly the average forgets, from 0 to 1"),
    "precision": _precision,
}
"""Every entry and what its operands have to look like."""

_ONLY_ABOVE = {"data", "weights", "batch", "seed", "precision"}
"""Entries that hold for the whole recipe, and do not stand in a phase."""


def check_recipes(module: LoadedModule) -> list[Diagnostic]:
    """What is wrong with the form of the recipes of a file."""
    found: list[Diagnostic] = []
    for declaration in module.syntax.declarations:
        if isinstance(declaration, syntax.Recipe):
            found += check_recipe(declaration, module)
    return found


def check_recipe(recipe: syntax.Recipe, module: LoadedModule) -> list[Diagnostic]:
    """What is wrong with the form of one recipe."""
    return list(_recipe(recipe, module))


def check_entry(entry: syntax.Entry, module: LoadedModule, in_phase: bool = False) -> list[Diagnostic]:
    """What is wrong with the form of one entry, e.g. one that is given from outside."""
    return list(_items([entry], module, in_phase))


def _recipe(recipe: syntax.Recipe, module: LoadedModule) -> Iterator[Diagnostic]:
    known = {name for network in module.networks().values() for name in (network.name, *_variants(network))}
    if recipe.network not in known and recipe.network not in index():
        help = did_you_mean(recipe.network, known | set(index()))
        message = f"there is no network called `{recipe.network}`, in this file or in the library"
        yield Diagnostic("E0604", message, module.syntax.span(recipe), help)
    yield from _items(recipe.items, module, in_phase=False)


def _variants(network: syntax.Network) -> list[str]:
    return [variant.name for variant in network.variants()]


def _items(items: Sequence[syntax.Entry | syntax.Phase], module: LoadedModule, in_phase: bool) -> Iterator[Diagnostic]:
    seen: dict[str, syntax.Syntax] = {}
    for item in items:
        span = module.syntax.span(item)
        key = f"phase {item.name}" if isinstance(item, syntax.Phase) else item.name
        if key in seen:
            line, _ = module.syntax.source.position(seen[key].at[0])
            yield Diagnostic("E0205", f"`{key}` stands twice here", span, f"the first is in line {line}")
        seen.setdefault(key, item)
        if isinstance(item, syntax.Phase):
            if in_phase:
                yield Diagnostic("E0208", "a phase stands in a recipe, not in another phase", span)
            yield from _items(item.items, module, in_phase=True)
        elif item.name not in ENTRIES:
            help = did_you_mean(item.name, [*ENTRIES, "phase"]) or "there are " + ", ".join(ENTRIES)
            yield Diagnostic("E0202", f"a recipe has no entry `{item.name}`", span, help)
        elif in_phase and item.name in _ONLY_ABOVE:
            yield Diagnostic("E0208", f"`{item.name}` holds for the whole recipe, not for a phase", span)
        else:
            wrong = ENTRIES[item.name](item)
            if wrong is not None:
                yield Diagnostic("E0204", f"`{item.name}` is not written like this", span, wrong)
