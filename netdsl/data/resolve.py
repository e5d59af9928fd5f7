"""From the entries `data` and `augment` of a recipe to models, with diagnostics. Loads no array library."""

from __future__ import annotations

from netdsl.data.augment.pipeline import Pipeline, misfits
from netdsl.data.augment.steps import AUGMENT
from netdsl.data.sources import SOURCES, DataSource
from netdsl.elaborate.calls import Calls
from netdsl.elaborate.limits import Limits
from netdsl.elaborate.linked import LoadedModule
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, SpecError


def resolve_data(entry: syntax.Entry, module: LoadedModule, limits: Limits | None = None) -> DataSource:
    """What `data` of a recipe names. `module` is the file of the recipe: its constants and functions may be used.

    Raises SpecError with every finding.
    """
    call = entry.operands[0] if len(entry.operands) == 1 else None
    if not isinstance(call, syntax.Call):
        message = "`data` takes one call: where the images are"
        help = 'e.g. folder("pets", validation = 20%)'
        raise SpecError([Diagnostic("E0204", message, module.syntax.span(entry), help)])
    return Calls(module, limits).model(call, SOURCES, "kind of data")


def resolve_augment(entry: syntax.Entry, module: LoadedModule, limits: Limits | None = None) -> Pipeline:
    """The steps of `augment` in a recipe. `module` is the file of the recipe: its constants and functions may be used.

    Raises SpecError with every finding.
    """
    models = Calls(module, limits)
    calls = [operand for operand in entry.operands if isinstance(operand, syntax.Call)]
    if len(calls) != len(entry.operands) or entry.marks != ("", *("->" for _ in calls[1:])):
        message = "`augment` takes steps, joined by `->`"
        help = "e.g. random_flip -> random_crop(32, padding = 4)"
        raise SpecError([Diagnostic("E0204", message, module.syntax.span(entry), help)])
    steps = []
    found: list[Diagnostic] = []
    for call in calls:
        try:
            steps.append(models.model(call, AUGMENT, "augmentation"))
        except SpecError as error:
            found += error.diagnostics
    if not found:
        span = module.syntax.span
        found = [Diagnostic("E0204", text, span(calls[place]), help) for place, text, help in misfits(tuple(steps))]
    if found:
        raise SpecError(found)
    return Pipeline(steps)
