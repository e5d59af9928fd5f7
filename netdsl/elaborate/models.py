"""From the arguments of a call to a layer: validation by pydantic, errors in the words of the spec."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from netdsl.elaborate.context import Context
from netdsl.elaborate.values import (
    BlockValue,
    Bound,
    Builtin,
    FunctionValue,
    LayerValue,
    Partial,
    Tensor,
    Unknown,
    show,
)
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, SpecError, did_you_mean

if TYPE_CHECKING:
    from netdsl.elaborate.expressions import Evaluator

M = TypeVar("M", bound=BaseModel)


class Models:
    """Builds layers and preprocessing steps, each set of arguments once."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._built: dict[Any, Any] = {}

    def build(self, kind: type[M], name: str, arguments: Sequence[Bound], call: syntax.Syntax, context: Context) -> M:
        """The model of a call. Raises SpecError with one diagnostic for each argument that does not fit."""
        freeze = self._evaluator.frozen
        key: tuple[Any, ...] = (kind,)
        values: list[Any] = []
        for bound in arguments:
            value = bound.value
            if type(value) in (list, tuple):
                value = freeze(value, bound.node, context)
            elif isinstance(value, LayerValue | BlockValue | FunctionValue | Builtin):
                # An option may have the name of a layer or block: `gelu(approximate = tanh)`.
                value = value.name
            elif isinstance(value, Unknown):
                value = freeze(value, bound.node, context)
            values.append(value)
            # 1, 1.0 and true are equal and not the same.
            key += (bound.name, type(value), value)
        try:
            found = self._built.get(key)
        except TypeError:
            found, key = None, ()
        if found is None:
            found = self._validated(kind, name, arguments, values, call, context)
            if key:
                self._built[key] = found
        built: M = found
        return built

    def _validated(
        self,
        kind: type[M],
        name: str,
        arguments: Sequence[Bound],
        values: list[Any],
        call: syntax.Syntax,
        context: Context,
    ) -> M:
        positional: tuple[str, ...] = getattr(kind, "positional", ())
        span = context.module.syntax.span
        attributes: dict[str, Any] = {}
        nodes: dict[str, syntax.Argument] = {}
        errors: list[Diagnostic] = []
        count = 0
        for bound, value in zip(arguments, values, strict=True):
            attribute = bound.name
            if attribute is None:
                if count > len(positional):
                    continue
                if count == len(positional):
                    takes = f"takes {len(positional)} by position ({', '.join(positional)})"
                    message = f"`{name}` {takes if positional else 'takes no value by position'}, found one more"
                    if isinstance(value, Tensor):
                        message = f"`{name}` takes its tensors before its other arguments"
                    elif isinstance(bound.value, BlockValue | LayerValue | Partial):
                        message = f"{span(bound.node).text} is {show(bound.value)}, a layer or block and not a tensor"
                    errors.append(Diagnostic("E0206", message, span(bound.node), _by_keyword(kind)))
                    count += 1
                    continue
                attribute = positional[count]
                count += 1
            if attribute in attributes:
                errors.append(Diagnostic("E0206", f"`{attribute}` of `{name}` is given twice", span(bound.node)))
                continue
            attributes[attribute] = value
            nodes[attribute] = bound.node
        if not errors:
            try:
                return kind(**attributes)
            except ValidationError as error:
                errors = _diagnose(error, kind, name, attributes, nodes, call, context)
        raise SpecError(errors)


def _by_keyword(kind: type[BaseModel]) -> str | None:
    names = list(kind.model_fields)
    return f"by keyword it takes {', '.join(names)}" if names else None


def _diagnose(
    error: ValidationError,
    kind: type[BaseModel],
    name: str,
    attributes: dict[str, Any],
    nodes: dict[str, syntax.Argument],
    call: syntax.Syntax,
    context: Context,
) -> list[Diagnostic]:
    span = context.module.syntax.span
    grouped: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        attribute = str(detail["loc"][0]) if detail["loc"] else ""
        grouped.setdefault(attribute, []).append(detail)
    found: list[Diagnostic] = []
    for attribute, details in grouped.items():
        types = {detail["type"] for detail in details}
        if "extra_forbidden" in types:
            known = list(kind.model_fields)
            help = did_you_mean(attribute, known) or (f"it has {', '.join(known)}" if known else "it has no attributes")
            found.append(Diagnostic("E0202", f"`{name}` has no attribute `{attribute}`", span(nodes[attribute]), help))
        elif "missing" in types:
            usage = _usage(kind, name)
            found.append(Diagnostic("E0203", f"`{name}` needs `{attribute}`", span(call), f"write `{usage}`"))
        else:
            expected = _expected(detail["msg"] for detail in details)
            place = span(nodes[attribute]) if attribute in nodes else span(call)
            field = kind.model_fields.get(attribute)
            described = f"{attribute}: {field.description}" if field is not None and field.description else None
            value = attributes.get(attribute)
            if "a whole number" in expected and isinstance(value, float) and value.is_integer() and "/" in place.text:
                described = "`/` makes a fraction; `//` divides whole numbers"
            if attribute:
                message = f"`{attribute}` of `{name}` is {show(attributes.get(attribute))}, expected {expected}"
            else:
                message = f"`{name}`: {expected}"
            found.append(Diagnostic("E0204", message, place, described))
    return found


def _usage(kind: type[BaseModel], name: str) -> str:
    """A call with the attributes that must be given."""
    positional: tuple[str, ...] = getattr(kind, "positional", ())
    order = dict.fromkeys((*positional, *kind.model_fields))
    required = [field for field in order if kind.model_fields[field].is_required()]
    shown = [field.upper() if field in positional else f"{field} = ..." for field in required]
    return f"{name}({', '.join(shown)})"


def _expected(messages: Iterable[str]) -> str:
    """Pydantic's findings for one attribute as one phrase."""
    parts: list[str] = []
    for message in messages:
        text = message.removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("Assertion failed, ")
        text = text[:1].lower() + text[1:]
        text = text.replace("a valid integer", "a whole number").replace("a valid boolean", "true or false")
        text = (
            text.replace("a valid number", "a number")
            .replace("a valid tuple", "a list")
            .replace("a valid string", "a word")
        )
        if text not in parts:
            parts.append(text)
    return " or ".join(parts)
