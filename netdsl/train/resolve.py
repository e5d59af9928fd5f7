"""From a recipe of the syntax tree to one whose names and numbers are settled, with every finding as a diagnostic.

Loads no array library and opens no data: `netdsl check` runs it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from netdsl.analysis.training import default_trainable
from netdsl.data.augment import Pipeline
from netdsl.data.resolve import resolve_augment, resolve_data
from netdsl.elaborate.calls import Calls
from netdsl.elaborate.linked import LoadedModule
from netdsl.elaborate.recipes import check_recipe
from netdsl.ir.network import Network
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, SpecError, did_you_mean
from netdsl.language.source import Span
from netdsl.train import recipe_parts as parts
from netdsl.train.demands import demands
from netdsl.train.entries import Placed, clip_of, number, rate_of, text_of, whole, word_of
from netdsl.train.freezing import Owners, frozen, words_behind_except, written
from netdsl.train.losses import LOSSES, CrossEntropy, Loss
from netdsl.train.recipe import DEFAULT_BATCH, Phase, Recipe

DEFAULT_AUXILIARY = 0.3
"""Weight of the loss of an auxiliary head, where a recipe does not say (Szegedy et al. 2015, section 5)."""

T = TypeVar("T")


Entries = dict[str, Placed]


class Setting(NamedTuple):
    """An entry that is replaced from outside; `phase` is empty where it holds for all of them."""

    phase: str
    placed: Placed


def resolve(
    declaration: syntax.Recipe, module: LoadedModule, network: Network, settings: Sequence[Setting] = ()
) -> Recipe:
    """The recipe for a network. `settings` replace entries. Raises SpecError with everything that is wrong with it."""
    found = check_recipe(declaration, module)
    if found:
        raise SpecError(found)
    return _Resolver(declaration, module, network).recipe(settings)


class _Resolver:
    def __init__(self, declaration: syntax.Recipe, module: LoadedModule, network: Network) -> None:
        self._declaration = declaration
        self._module = module
        self._network = network
        self._owners = Owners(network)
        self._found: list[Diagnostic] = []
        self._places: dict[str, Span] = {}

    def recipe(self, settings: Sequence[Setting]) -> Recipe:
        items = self._declaration.items
        above: Entries = {item.name: Placed(item, self._module) for item in items if isinstance(item, syntax.Entry)}
        phases: dict[str, Entries] = {
            item.name: {
                inner.name: Placed(inner, self._module) for inner in item.items if isinstance(inner, syntax.Entry)
            }
            for item in items
            if isinstance(item, syntax.Phase)
        }
        spans = {item.name: self._module.syntax.span(item) for item in items if isinstance(item, syntax.Phase)}
        self._apply(settings, above, phases)
        self._places.update({name: placed.span for name, placed in above.items()})
        data = self._value("data", above, lambda p: resolve_data(p.entry, p.module))
        if "data" not in above:
            help = 'write `data folder("images", validation = 20%)`'
            self._wrong("E0203", f"the recipe `{self._declaration.name}` has no `data`", self._head(), help)
        batch = self._value("batch", above, lambda p: whole(p, 1, parts.MAX_BATCH))
        seed = self._value("seed", above, lambda p: whole(p, 0, parts.MAX_SEED))
        precision = self._value("precision", above, word_of)
        resolved = [
            phase
            for name, own in (phases or {"train": {}}).items()
            if (phase := self._phase(name, above, own, spans.get(name, self._head()), bool(phases))) is not None
        ]
        weights = above.get("weights")
        if self._found:
            raise SpecError(sorted(self._found, key=_place))
        assert data is not None
        return Recipe(
            name=self._declaration.name,
            network=self._network.name,
            data=data,
            weights=None if weights is None else text_of(weights.entry.operands[0]),
            weights_except=() if weights is None else words_behind_except(iter(weights.entry.operands)),
            batch=DEFAULT_BATCH if batch is None else batch,
            seed=0 if seed is None else seed,
            phases=tuple(resolved),
            precision="float32" if precision is None else precision,
            base=self._module.folder,
            data_base=above["data"].module.folder,
            weights_base=None if weights is None else weights.module.folder,
            places=self._places,
        )

    def _apply(self, settings: Sequence[Setting], above: Entries, phases: Mapping[str, Entries]) -> None:
        for phase, placed in settings:
            name = placed.entry.name
            if phase:
                if phase not in phases:
                    help = did_you_mean(phase, phases) or f"it has {', '.join(phases) or 'none'}"
                    self._wrong("E0202", f"the recipe has no phase `{phase}`", placed.span, help)
                    continue
                phases[phase][name] = placed
            else:
                above[name] = placed
                for own in phases.values():
                    own.pop(name, None)
                    if name == "optimizer":
                        own.pop("lr", None)
            if name in ("lr", "optimizer"):
                self._settle_rate(name, phases[phase] if phase else above)

    def _settle_rate(self, name: str, entries: Entries) -> None:
        """A rate set from outside goes before that of the optimiser, and a new optimiser brings its own."""
        other = entries.get("optimizer" if name == "lr" else "lr")
        if other is None:
            return
        if name == "optimizer":
            del entries["lr"]
            return
        (call,) = other.entry.operands
        assert isinstance(call, syntax.Call)
        kept = tuple(argument for argument in call.arguments or () if argument.name not in ("lr", None))
        bare = syntax.Call(call.at, call.name, kept)
        entries["optimizer"] = Placed(syntax.Entry(other.entry.at, "optimizer", (bare,), ("",)), other.module)

    # ---------------------------------------------------------------------------------------------------------- phases

    def _phase(self, name: str, above: Entries, own: Entries, span: Span, is_phase: bool) -> Phase | None:
        before = len(self._found)
        merged = above | own
        self._places.update({f"{name}.{key}": placed.span for key, placed in merged.items()})
        epochs = self._value("epochs", merged, lambda p: whole(p, 1, parts.MAX_EPOCHS))
        if "epochs" not in merged:
            subject = f"the phase `{name}`" if is_phase else f"the recipe `{self._declaration.name}`"
            self._wrong("E0203", f"{subject} does not say how long", span, "write `epochs 10`")
        optimizer, lr = self._optimizer(above, own, span)
        schedule = self._call("schedule", merged, parts.SCHEDULES, parts.Constant.model_validate({}))
        loss, auxiliary = self._loss(merged)
        augment = self._value("augment", merged, lambda p: resolve_augment(p.entry, p.module)) or Pipeline(())
        clip = self._value("clip", merged, clip_of)
        ema = self._value("ema", merged, lambda p: number(p, 0, 1, "from 0 to below 1, e.g. 0.9999"))
        features = self._call("cache", merged, parts.CACHES, None)
        trainable, freeze = self._trainable(name, merged, auxiliary, span, is_phase)
        # What stands above is reported once, at the first phase.
        if len(self._found) > before or epochs is None or optimizer is None or lr is None:
            return None
        assert isinstance(schedule, parts.Schedule)
        phase = Phase(
            name, epochs, trainable, freeze, lr, optimizer, schedule, loss, auxiliary, augment,
            clip, ema, features,  # type: ignore[arg-type]
        )  # fmt: skip
        self._add(list(demands(phase, self._network, merged, span)))
        return phase

    def _optimizer(self, above: Entries, own: Entries, span: Span) -> tuple[parts.Optimizer | None, float | None]:
        """The optimiser, and the rate: what is said closest to the phase counts."""
        placed = own.get("optimizer") or above.get("optimizer")
        if placed is None:
            help = "write `optimizer sgd(lr = 0.01, momentum = 0.9)`"
            self._wrong("E0203", f"the recipe `{self._declaration.name}` has no `optimizer`", self._head(), help)
            return None, None
        model = self._call("optimizer", {"optimizer": placed}, parts.OPTIMIZERS, None)
        for entries in (above, own):
            both = entries.get("optimizer"), entries.get("lr")
            if None not in both and self._call("optimizer", entries, parts.OPTIMIZERS, None, quiet=True, rate=True):
                where = entries["lr"].span
                if not any(found.span == where for found in self._found):
                    self._wrong(
                        "E0961", "the learning rate is said twice here", where, "take `lr` out of the optimizer"
                    )
        stated = self._value("lr", own, rate_of)
        if not isinstance(model, parts.Optimizer):
            return None, None
        if "lr" in own:
            lr = stated
        elif "optimizer" in own and model.lr is not None:
            lr = model.lr
        elif "lr" in above:
            lr = self._value("lr", above, rate_of)
        else:
            lr = model.lr
        if lr is None and not any(found.code == "E0204" for found in self._found):
            self._wrong("E0203", "there is no learning rate", placed.span, f"write `{model.kind}(lr = 0.01)`")
        return model.model_copy(update={"lr": None}), lr

    def _loss(self, merged: Entries) -> tuple[Loss, dict[str, float]]:
        heads = list(self._network.auxiliary)
        loss: Loss = CrossEntropy.model_validate({})
        weights = dict.fromkeys(heads, DEFAULT_AUXILIARY)
        placed = merged.get("loss")
        if placed is not None:
            call = placed.entry.operands[0]
            assert isinstance(call, syntax.Call)
            try:
                loss, more = Calls(placed.module).model_and_more(call, LOSSES, "loss", ["auxiliary", *heads])
            except SpecError as error:
                self._add(error.diagnostics)
                return loss, {}
            # A weight for all first, then those by name.
            for name, (value, node) in sorted(more.items(), key=lambda item: item[0] != "auxiliary"):
                place = placed.module.syntax.span(node)
                if name == "auxiliary" and not heads:
                    self._wrong("E0961", f"{self._network.name} has no auxiliary heads to weigh", place)
                elif not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
                    self._wrong("E0204", f"`{name}` is the weight of a loss, a number from 0 up", place)
                else:
                    weights.update(dict.fromkeys(heads if name == "auxiliary" else [name], float(value)))
        return loss, {name: weight for name, weight in weights.items() if weight}

    def _trainable(
        self, name: str, merged: Entries, auxiliary: Mapping[str, float], span: Span, is_phase: bool
    ) -> tuple[tuple[str, ...], str]:
        placed = merged.get("freeze")
        kept: frozenset[str] = frozenset()
        if placed is not None:
            kept, wrong = frozen(placed.entry, self._owners, self._network.name, placed.span)
            self._add(wrong)
            if wrong:
                return (), ""
        learned = default_trainable(self._network, auxiliary) - kept
        if not learned:
            subject = f"the phase `{name}`" if is_phase else f"the recipe `{self._declaration.name}`"
            help = (
                "`freeze all except fc` leaves a layer to train" if kept else "the network has no trainable parameters"
            )
            self._wrong("E0963", f"{subject} trains nothing", placed.span if placed is not None else span, help)
        order = tuple(parameter for parameter in self._owners.parameters if parameter in learned)
        return order, "" if placed is None else written(placed.entry)

    # ----------------------------------------------------------------------------------------------------------- tools

    def _head(self) -> Span:
        start = self._declaration.at[0]
        return Span(self._module.syntax.source, start, start + len("recipe ") + len(self._declaration.name))

    def _wrong(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        self._add([Diagnostic(code, message, span, help)])

    def _add(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Takes findings over, each once: what stands above is looked at for every phase."""
        for diagnostic in diagnostics:
            if not any((found.code, found.span) == (diagnostic.code, diagnostic.span) for found in self._found):
                self._found.append(diagnostic)

    def _value(self, name: str, entries: Entries, read: Callable[[Placed], T]) -> T | None:
        """What an entry says; None where there is none, or it is wrong."""
        placed = entries.get(name)
        if placed is None:
            return None
        try:
            return read(placed)
        except SpecError as error:
            self._add(error.diagnostics)
            return None

    def _call(
        self,
        name: str,
        entries: Entries,
        table: Mapping[str, type[parts.Part]],
        default: parts.Part | None,
        quiet: bool = False,
        rate: bool = False,
    ) -> parts.Part | None:
        """The model of the call that an entry takes. With `quiet` nothing is reported; with `rate` only one with an
        own learning rate counts."""
        placed = entries.get(name)
        if placed is None:
            return default
        call = placed.entry.operands[0]
        assert isinstance(call, syntax.Call)
        try:
            model = Calls(placed.module).model(call, table, _WHAT[name])
        except SpecError as error:
            if not quiet:
                self._add(error.diagnostics)
            return default
        return default if rate and getattr(model, "lr", None) is None else model


def _place(diagnostic: Diagnostic) -> tuple[str, int]:
    """Where a finding stands: they are told from top to bottom."""
    span = diagnostic.span
    return ("", 0) if span is None else (span.source.name, span.start)


_WHAT = {"optimizer": "optimizer", "schedule": "schedule", "cache": "cache", "clip": "clipping"}
