"""From the entries `data` and `augment` of a recipe to models, with diagnostics. Loads no array library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel

from netdsl.data.augment.pipeline import Pipeline, misfits
from netdsl.data.augment.steps import AUGMENT
from netdsl.data.sources import SOURCES, DataSource
from netdsl.elaborate.context import Context, Flow, Scope
from netdsl.elaborate.expressions import Evaluator
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.models import Models
from netdsl.elaborate.values import Poison
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, SpecError, did_you_mean
from netdsl.layers.vocabulary import option_words_of

M = TypeVar("M", bound=BaseModel)


def resolve_data(entry: syntax.Entry, module: LoadedModule, limits: Limits | None = None) -> DataSource:
    """What `data` of a recipe names. `module` is the file of the recipe: its constants and functions may be used.

    Raises SpecError with every finding.
    """
    call = entry.operands[0] if len(entry.operands) == 1 else None
    if not isinstance(call, syntax.Call):
        message = "`data` takes one call: where the images are"
        help = 'e.g. folder("pets", validation = 20%)'
        raise SpecError([Diagnostic("E0204", message, module.syntax.span(entry), help)])
    return _Resolver(module, limits).model(call, SOURCES, "kind of data")


def resolve_augment(entry: syntax.Entry, module: LoadedModule, limits: Limits | None = None) -> Pipeline:
    """The steps of `augment` in a recipe. `module` is the file of the recipe: its constants and functions may be used.

    Raises SpecError with every finding.
    """
    resolver = _Resolver(module, limits)
    calls = [operand for operand in entry.operands if isinstance(operand, syntax.Call)]
    if len(calls) != len(entry.operands) or entry.marks != ("", *("->" for _ in calls[1:])):
        message = "`augment` takes steps, joined by `->`"
        help = "e.g. random_flip -> random_crop(32, padding = 4)"
        raise SpecError([Diagnostic("E0204", message, module.syntax.span(entry), help)])
    steps = []
    found: list[Diagnostic] = []
    for call in calls:
        try:
            steps.append(resolver.model(call, AUGMENT, "augmentation"))
        except SpecError as error:
            found += error.diagnostics
    if not found:
        span = module.syntax.span
        found = [Diagnostic("E0204", text, span(calls[place]), help) for place, text, help in misfits(tuple(steps))]
    if found:
        raise SpecError(found)
    return Pipeline(steps)


class _Resolver:
    """Builds the models of calls in one file."""

    def __init__(self, module: LoadedModule, limits: Limits | None) -> None:
        self._span = module.syntax.span
        self._evaluator = Evaluator(limits or Limits(), lambda name, context: None)
        self._models = Models(self._evaluator)
        self._context = Context(module, {}, Flow(None), Scope(""))

    def model(self, call: syntax.Call, table: Mapping[str, type[M]], what: str) -> M:
        """The model that a call names in a vocabulary. Raises SpecError."""
        kind = table.get(call.name)
        if kind is None:
            help = did_you_mean(call.name, table) or "there are " + ", ".join(sorted(table))
            raise SpecError([Diagnostic("E0201", f"unknown {what} `{call.name}`", self._span(call), help)])
        self._require_words(call, kind)
        arguments = self._evaluator.arguments(call.arguments or (), self._context, kind)
        assert not any(isinstance(bound.value, Poison) for bound in arguments)  # nothing is reported and gone on from
        return self._models.build(kind, call.name, arguments, call, self._context)

    def _require_words(self, call: syntax.Call, kind: type[BaseModel]) -> None:
        """Says which words an attribute takes, where one stands that means nothing at all. Raises SpecError."""
        words = option_words_of(kind)
        positional: tuple[str, ...] = getattr(kind, "positional", ())
        known = self._evaluator.names(self._context) | self._evaluator.words
        found: list[Diagnostic] = []
        for place, argument in enumerate(call.arguments or ()):
            name = argument.name or (positional[place] if place < len(positional) else "")
            value = argument.value
            if name in words and isinstance(value, syntax.Name) and value.name not in words[name] | known:
                help = did_you_mean(value.name, words[name])
                message = f"`{name}` of `{call.name}` is {value.name}, expected {' or '.join(sorted(words[name]))}"
                found.append(Diagnostic("E0204", message, self._span(argument), help))
        if found:
            raise SpecError(found)
