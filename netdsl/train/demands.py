"""What the entries of a phase demand of each other, and of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netdsl.analysis.training import TrainingPlan, training_plan
from netdsl.ir.network import Network
from netdsl.language.diagnostics import CodedError, Diagnostic
from netdsl.language.source import Span
from netdsl.train.entries import Placed
from netdsl.train.recipe import Phase


def demands(phase: Phase, network: Network, entries: Mapping[str, Placed], span: Span) -> Iterator[Diagnostic]:
    """What is wrong with a phase whose entries are right by themselves. `span` is that of the phase."""
    try:
        plan = training_plan(network, phase.trainable, phase.auxiliary)
    except CodedError as error:
        yield Diagnostic(error.code, error.message, span, error.help)
        return
    warmup = phase.schedule.warmup
    if warmup and warmup >= phase.epochs:
        message = f"warm-up of {warmup:g} epochs takes all of the {phase.epochs} that `{phase.name}` lasts"
        help = "shorten it, or give it in steps: `warmup_steps = 100`"
        yield Diagnostic("E0961", message, entries["schedule"].span, help)
    mixing = phase.augment.mixing
    if mixing and phase.loss.kind == "mean_squared_error":
        message = f"`{mixing[0][1].kind}` mixes labels, and mean_squared_error has none"
        yield Diagnostic("E0961", message, entries["augment"].span)
    if phase.features is not None:
        misfit = _uncachable(phase, plan)
        if misfit is not None:
            yield Diagnostic("E0964", misfit[0], entries["cache"].span, misfit[1])


def _uncachable(phase: Phase, plan: TrainingPlan) -> tuple[str, str] | None:
    """Why the features of a phase cannot be cached, and what helps."""
    assert phase.features is not None
    views, mixing = phase.features.views, phase.augment.mixing
    if not any(role.fixed and role.weights for role in plan.roles.values()):
        first = next(name for name, role in plan.roles.items() if role.wanted_weights)
        return (
            f"there are no features to cache: in front of `{first}`, the first trainable layer, nothing is frozen",
            "freeze the part whose activations are kept: `freeze all except fc`",
        )
    if mixing:
        kind = mixing[0][1].kind
        return (
            f"`cache features` keeps each image by itself, and `{kind}` mixes the images of a batch",
            f"leave `{kind}` out of the phase, or do not cache",
        )
    if phase.augment and views is None:
        return (
            f"`{phase.augment[0].kind}` makes another image each time; cached features would be those of one of them",
            "`cache features(views = 4)` keeps 4 augmented views of each image; or leave `augment` to other phases",
        )
    if views is not None and views > 1 and not phase.augment:
        return (
            f"nothing is random: {views} views of an image would be the same",
            "write `cache features`, or an `augment`",
        )
    return None
