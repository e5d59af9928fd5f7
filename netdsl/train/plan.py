"""What a run would do, before it does: what is trained in each phase, how many steps, how much memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from netdsl.analysis.cut import body_of
from netdsl.analysis.training import TrainingPlan, parameters, training_plan
from netdsl.ir.network import Network
from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.program.training.build import lower_training, prepare
from netdsl.train import recipe_parts as parts
from netdsl.train.feed import require_sizes
from netdsl.train.recipe import Phase
from netdsl.train.schedules import rate
from netdsl.train.session import Session


class Memory(NamedTuple):
    """Bytes, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    """What the optimiser remembers, and the moving average."""
    activations: int | None
    """The arena of a training step: activations, their gradients and room to work; None where it is not known."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + (self.activations or 0)


class PhasePlan(NamedTuple):
    """What one phase does."""

    phase: Phase
    steps: int
    """Of an epoch."""
    trained: int
    """Numbers in the parameters that are trained."""
    frozen: int
    scopes: tuple[str, ...]
    """What is trained: the outermost scopes that are trained as a whole."""
    forward_only: int
    """Layers in front of the first trainable one, through which no gradient goes."""
    layers: int
    rates: tuple[float, float, float]
    """The learning rate of the first step, the largest, that of the last step."""
    memory: Memory
    features: int | None
    """Bytes of cached features; None where none are kept."""


class Plan(NamedTuple):
    images: int
    validation: int
    classes: int
    phases: tuple[PhasePlan, ...]

    @property
    def steps(self) -> int:
        return sum(each.steps * each.phase.epochs for each in self.phases)


def plan_of(session: Session) -> Plan:
    """The plan of a session. Nothing is trained. Raises CodedError for what would go wrong at the first step."""
    data = session.data
    require_sizes(session.network, data, session.recipe.phases)
    images = len(data.training.indices)
    batch = session.recipe.batch
    steps = images // batch + (images % batch > 0 and not session.drops_last)
    held = 0 if data.validation is None else len(data.validation.indices)
    phases = tuple(_phase(session, phase, steps, images, held) for phase in session.recipe.phases)
    return Plan(images, held, len(data.classes), phases)


def _phase(session: Session, phase: Phase, steps: int, images: int, held: int) -> PhasePlan:
    network = session.network
    plan = training_plan(network, phase.trainable, phase.auxiliary)
    owned = {name: weight.size for name, weight in parameters(network).items()}
    trained = sum(owned[name] for name in phase.trainable)
    rates = [rate(phase.schedule, phase.lr, t, steps, steps * phase.epochs) for t in _steps(steps * phase.epochs)]
    kept = sum(network.type_of(name).elements or 0 for name in plan.fixed_frontier) * BYTES_PER_ELEMENT
    return PhasePlan(
        phase=phase,
        steps=steps,
        trained=trained,
        frozen=sum(owned.values()) - trained,
        scopes=scopes(list(owned), set(phase.trainable)),
        forward_only=sum(not role.gradient and bool(role.node.inputs) for role in plan.roles.values()),
        layers=sum(bool(role.node.inputs) for role in plan.roles.values()),
        rates=(rates[0], max(rates), rates[-1]),
        memory=Memory(
            sum(slot.weight.size for slot in session.store.slots.values()) * BYTES_PER_ELEMENT,
            trained * BYTES_PER_ELEMENT,
            trained * BYTES_PER_ELEMENT * (_letters(phase.optimizer) + (phase.ema is not None)),
            _arena(session, plan, phase),
        ),
        features=None if phase.views is None else kept * (images * phase.views + held),
    )


def _steps(total: int) -> range:
    """Every step, or enough of them to see the largest rate."""
    return range(total) if total <= 100_000 else range(0, total, total // 100_000)


def _letters(optimizer: parts.Optimizer) -> int:
    """How many vectors an optimiser remembers."""
    if isinstance(optimizer, parts.Adam):
        return 2
    if isinstance(optimizer, parts.RmsProp):
        return 1 + optimizer.centered + (optimizer.momentum > 0)
    return int(isinstance(optimizer, parts.Sgd) and optimizer.momentum > 0)


def _arena(session: Session, plan: TrainingPlan, phase: Phase) -> int | None:
    network: Network = session.network
    types = network.input_types()
    if phase.features is not None:
        network = body_of(plan)
        plan = training_plan(network, phase.trainable, phase.auxiliary)
        types = network.input_types()
    if any(None in type_.shape for type_ in types.values()):
        return None
    program = lower_training(prepare(plan, session.store.values), types, session.recipe.batch)
    return program.arena_bytes


def scopes(order: list[str], chosen: set[str]) -> tuple[str, ...]:
    """Names as few as will do: a scope stands for its parameters where all of them are chosen."""
    found: list[str] = []
    for name in order:
        if name not in chosen or any(name == scope or name.startswith(f"{scope}.") for scope in found):
            continue
        best = name
        scope = name.rpartition(".")[0]
        while scope and all(other in chosen for other in order if other.startswith(f"{scope}.")):
            best = scope
            scope = scope.rpartition(".")[0]
        found.append(best)
    return tuple(found)


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    return {
        "images": plan.images,
        "validation": plan.validation,
        "classes": plan.classes,
        "steps": plan.steps,
        "phases": [
            {
                "name": each.phase.name,
                **each.phase.describe(),
                "steps_per_epoch": each.steps,
                "trainable_parameters": each.trained,
                "frozen_parameters": each.frozen,
                "trainable": list(each.scopes),
                "layers": each.layers,
                "layers_without_gradient": each.forward_only,
                "lr_first": each.rates[0],
                "lr_largest": each.rates[1],
                "lr_last": each.rates[2],
                "memory": {**each.memory._asdict(), "total": each.memory.total},
                "features_bytes": each.features,
            }
            for each in plan.phases
        ],
    }
