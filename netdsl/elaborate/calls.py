"""Calls that stand outside of a network, in a recipe: `sgd(lr = 0.01)`. From the call to a frozen model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from netdsl.elaborate.context import Context, Flow, Scope
from netdsl.elaborate.expressions import Evaluator
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.models import Models
from netdsl.elaborate.values import Bound
from netdsl.language import syntax
from netdsl.language.diagnostics import did_you_mean, fail
from netdsl.layers.vocabulary import option_words_of

M = TypeVar("M", bound=BaseModel)


class Calls:
    """Builds the models of calls in one file, whose constants and functions may be used."""

    def __init__(self, module: LoadedModule, limits: Limits | None = None) -> None:
        self.span = module.syntax.span
        self._evaluator = Evaluator(limits or Limits(), lambda name, context: None)
        self._models = Models(self._evaluator)
        self._context = Context(module, {}, Flow(None), Scope(""))

    def model(self, call: syntax.Call, table: Mapping[str, type[M]], what: str) -> M:
        """The model that a call names in a vocabulary. Raises SpecError."""
        return self.model_and_more(call, table, what, ())[0]

    def model_and_more(
        self, call: syntax.Call, table: Mapping[str, type[M]], what: str, more: Collection[str]
    ) -> tuple[M, dict[str, tuple[Any, syntax.Argument]]]:
        """The same, where keywords of `more` are not the model's: they come back with their values."""
        kind = table.get(call.name)
        if kind is None:
            help = did_you_mean(call.name, table) or "there are " + ", ".join(sorted(table))
            raise fail("E0201", f"unknown {what} `{call.name}`", self.span(call), help)
        own = tuple(argument for argument in call.arguments or () if argument.name not in more)
        self._require_words(own, call, kind)
        arguments = self._evaluator.arguments(own, self._context, kind)
        others = self._evaluator.arguments(
            tuple(argument for argument in call.arguments or () if argument.name in more), self._context
        )
        found: dict[str, tuple[Any, syntax.Argument]] = {}
        for bound in others:
            assert bound.name is not None
            if bound.name in found:
                raise fail("E0206", f"`{bound.name}` of `{call.name}` is given twice", self.span(bound.node))
            found[bound.name] = (bound.value, bound.node)
        return self._models.build(kind, call.name, arguments, call, self._context), found

    def values(self, arguments: tuple[syntax.Argument, ...]) -> tuple[Bound, ...]:
        """The values of arguments. Raises SpecError."""
        return self._evaluator.arguments(arguments, self._context)

    def _require_words(self, arguments: tuple[syntax.Argument, ...], call: syntax.Call, kind: type[BaseModel]) -> None:
        """Says which words an attribute takes, where one stands that means nothing at all. Raises SpecError."""
        words = option_words_of(kind)
        positional: tuple[str, ...] = getattr(kind, "positional", ())
        known = self._evaluator.names(self._context) | self._evaluator.words
        for place, argument in enumerate(arguments):
            name = argument.name or (positional[place] if place < len(positional) else "")
            value = argument.value
            if name in words and isinstance(value, syntax.Name) and value.name not in words[name] | known:
                help = did_you_mean(value.name, words[name])
                message = f"`{name}` of `{call.name}` is {value.name}, expected {' or '.join(sorted(words[name]))}"
                raise fail("E0204", message, self.span(argument), help)
