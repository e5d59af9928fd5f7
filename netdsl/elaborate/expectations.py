"""`expect`: what a spec states about itself, checked by every compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from netdsl.analysis.cost import measure
from netdsl.elaborate.context import Context, Flow
from netdsl.elaborate.expressions import COMPARISONS, QUANTITIES, Evaluator
from netdsl.elaborate.values import Poison, Tensor, Value, show
from netdsl.ir import Network
from netdsl.language import syntax
from netdsl.language.builder import SUFFIXES
from netdsl.language.diagnostics import Diagnostic, SpecError, fail


def quantities(network: Network) -> dict[str, Value]:
    """What an expectation can ask of the whole network. A cost is None while an extent is unknown."""
    report = measure(network)
    return {
        "params": report.parameters,
        "trainable": report.trainable_parameters,
        "auxiliary_params": report.with_auxiliary.parameters - report.main.parameters,
        "buffers": report.buffers,
        "macs": report.macs,
        "flops": report.flops,
        "connections": report.connections,
        "layers": sum(len(network.node(name).inputs) > 0 for name in network.main()),
    }


class Expectations:
    """Checks claims about the current tensor at once, and those about the whole network when it is complete."""

    def __init__(self, evaluator: Evaluator, network: Network, overridden: bool) -> None:
        self._evaluator = evaluator
        self._network = network
        self._overridden = overridden
        self._pending: list[tuple[syntax.Claim, Context]] = []
        self.skipped: list[syntax.Claim] = []

    def expect(self, node: syntax.Expect, context: Context) -> None:
        current = context.flow.current
        errors: list[Diagnostic] = []
        for claim in node.claims:
            if isinstance(current, Poison):
                continue
            if self._overridden and _is_plain(claim):
                # A fact about the spec as it is declared, and the caller has changed that.
                self.skipped.append(claim)
            elif _asks(claim):
                # The tensor may flow on; the claim is about the one that is current here.
                self._pending.append((claim, context.inner(flow=Flow(current))))
            else:
                errors += self._check(claim, context)
        self._raise(errors, context, current)

    def settle(self, variant: syntax.Variant | None, context: Context) -> None:
        """Checks what was put off, and what the variant states."""
        if variant is not None and variant.expect is not None:
            for claim in variant.expect.claims:
                if self._overridden and _is_plain(claim):
                    self.skipped.append(claim)
                else:
                    self._pending.append((claim, context))
        if not self._pending:
            return
        self._evaluator.quantities = quantities(self._network)
        errors = [error for claim, place in self._pending for error in self._check(claim, place)]
        self._evaluator.quantities = {}
        self._raise(errors, context, context.flow.current)

    def _raise(self, errors: list[Diagnostic], context: Context, current: Any) -> None:
        if errors:
            raise SpecError(errors)

    def _check(self, claim: syntax.Claim, context: Context) -> list[Diagnostic]:
        span = context.module.syntax.span(claim)
        evaluate: Callable[[syntax.Expression], Value] = lambda node: self._evaluator.evaluate(node, context)  # noqa: E731
        if claim.about is not None:
            return self._approximate(claim, evaluate(claim.left), evaluate(claim.about), context)
        node = claim.left
        if isinstance(node, syntax.Binary) and node.operator in COMPARISONS:
            left, right = evaluate(node.left), evaluate(node.right)
            if isinstance(left, Poison) or isinstance(right, Poison):
                return []
            for side, value in ((node.left, left), (node.right, right)):
                if value is None and isinstance(side, syntax.Name) and side.name in QUANTITIES:
                    message = f"`{side.name}` is not known: an extent of the input is `?`"
                    return [
                        Diagnostic("E0402", message, span, "give the input a fixed size, with `--shape` for example")
                    ]
            truth = self._evaluator.evaluate(node, context)
            if truth is True:
                return []
            message = f"expected {span.text}, found {_found(left)}"
            if isinstance(node.right, syntax.Name | syntax.Attribute):
                message += f" {node.operator} {_found(right)}"
            return [Diagnostic("E0401", message + _difference(node.operator, left, right), span)]
        value = evaluate(node)
        if isinstance(value, Poison) or value is True:
            return []
        if isinstance(value, tuple) or (isinstance(value, int) and not isinstance(value, bool)):
            return self._shape(value if isinstance(value, tuple) else (value,), context, claim)
        if value is False:
            return [Diagnostic("E0401", f"expected {span.text}, and it is false", span)]
        raise fail("E0402", f"this is {show(value)}, not something that can be true", span)

    def _shape(self, shape: tuple[Any, ...], context: Context, claim: syntax.Claim) -> list[Diagnostic]:
        span = context.module.syntax.span(claim)
        current = context.flow.current
        if not isinstance(current, Tensor):
            return [Diagnostic("E0212", "there is no tensor yet whose shape could be expected", span)]
        if current.type.shape == shape:
            return []
        return [Diagnostic("E0401", f"expected the shape {span.text}, found {current.type}", span)]

    def _approximate(self, claim: syntax.Claim, found: Value, about: Value, context: Context) -> list[Diagnostic]:
        """`~`: equal to the digits that are written."""
        span = context.module.syntax.span(claim)
        if isinstance(found, Poison) or isinstance(about, Poison):
            return []
        numbers = isinstance(found, int | float) and isinstance(about, int | float)
        if not numbers or not isinstance(claim.about, syntax.Constant):
            raise fail("E0402", f"`~` compares with a number as it is written, found {show(about)}", span)
        half = _last_digit(claim.about.text) / 2
        if abs(found - about) <= half * (1 + 1e-9):
            return []
        return [Diagnostic("E0401", f"expected {span.text}, found {_found(found)}", span)]


def _last_digit(text: str) -> float:
    """What one in the last digit of a number is worth: 10 million in `4.09G`."""
    scale = 1.0
    digits = text.replace("_", "")
    if digits[-1] in SUFFIXES:
        scale = float(SUFFIXES[digits[-1]])
        digits = digits[:-1]
    elif digits[-1] == "%":
        scale = 0.01
        digits = digits[:-1]
    mantissa, _, exponent = digits.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return scale * 10.0 ** (int(exponent or 0) - decimals)


def _found(value: Value) -> str:
    return str(value.type) if isinstance(value, Tensor) else show(value)


def _difference(operator: str, left: Value, right: Value) -> str:
    both = isinstance(left, int | float) and isinstance(right, int | float)
    return f" (a difference of {left - right:+,})" if operator == "==" and both and left is not right else ""


def _names(node: Any) -> Iterator[str]:
    """Every name in an expression."""
    if isinstance(node, syntax.Name):
        yield node.name
    elif isinstance(node, syntax.Syntax):
        for field in node.__dataclass_fields__:
            if field != "at":
                yield from _names(getattr(node, field))
    elif isinstance(node, tuple):
        for item in node:
            yield from _names(item)


def _asks(claim: syntax.Claim) -> bool:
    """Whether a claim is about the whole network."""
    return any(name in QUANTITIES for name in _names((claim.left, claim.about)))


def _is_plain(claim: syntax.Claim) -> bool:
    """Whether a claim is made of numbers and quantities alone, and so holds for the spec as it is declared."""
    return all(name in QUANTITIES or name == "x" for name in _names((claim.left, claim.about)))
