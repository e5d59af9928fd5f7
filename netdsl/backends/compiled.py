"""A model that runs Programs: the same outside as the reference executor."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from netdsl.backends.errors import RunError
from netdsl.backends.inputs import checked_inputs
from netdsl.backends.reference import Array, Model, needed
from netdsl.backends.registry import AUTO, Backend, Executable, backend
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.passes import Bound, bind, run
from netdsl.program.ir import Program
from netdsl.program.lower import lower
from netdsl.program.specialise import types_for
from netdsl.weights.patterns import Patterns
from netdsl.weights.report import LoadReport
from netdsl.weights.rules import Rules
from netdsl.weights.store import Source
from netdsl.weights.stored import Limits

MOST_PROGRAMS = 8
"""Programs that a model keeps, each with its arena: for other shapes of the inputs, other batches, other taps."""

Taps = tuple[str, ...]


class CompiledModel(Model):
    """A network that runs on a back-end: lowered to a Program for each shape of its inputs that comes.

    May be called from several threads; they take turns.
    """

    def __init__(self, network: Network, engine: Backend, threads: int | None = None) -> None:
        super().__init__(network)
        self.backend = engine
        self.threads = threads
        self._lock = threading.Lock()
        self._bound: dict[Taps, tuple[Bound, dict[Any, Any]]] = {}
        self._ready: OrderedDict[Any, Executable] = OrderedDict()

    def load(
        self,
        source: Source,
        *,
        except_: Patterns = (),
        rules: Rules | str | os.PathLike[str] | None = None,
        by_position: bool = False,
        limits: Limits | None = None,
    ) -> LoadReport:
        report = super().load(source, except_=except_, rules=rules, by_position=by_position, limits=limits)
        self._forget()
        return report

    def initialize(self, seed: int, *, everything: bool = False) -> tuple[str, ...]:
        names = super().initialize(seed, everything=everything)
        self._forget()
        return names

    def _forget(self) -> None:
        """Weights have changed: what was folded and packed is void."""
        with self._lock:
            self._bound.clear()
            self._ready.clear()

    def run(self, x: object, tap: Sequence[str] = ()) -> tuple[dict[str, Array], dict[str, Array]]:
        tapped = {name: self._resolve(name) for name in tap}
        nodes = needed(self.network, {*self.network.outputs.values(), *tapped.values()})
        self._require_weights(nodes)
        inputs = checked_inputs(self.network, x, self.dtype)
        types = {name: TensorType(array.shape[1:]) for name, array in inputs.items()}
        # Says where in the spec a size does not fit, before passes have renamed anything.
        types_for(self.network, nodes, types)
        batch = len(next(iter(inputs.values())))
        with self._lock:
            try:
                found = self._executable(tuple(dict.fromkeys(tapped.values())), types, batch)(inputs)
            except MemoryError:
                sizes = ", ".join(f"{name} {type_}" for name, type_ in types.items())
                raise RunError(
                    "E0714",
                    f"not enough memory for {self.network.name} on {batch} x {sizes}",
                    "run fewer images at a time",
                ) from None
        outputs = {name: found[name] for name in self.network.outputs}
        return outputs, {name: found[f"tap {node}"] for name, node in tapped.items()}

    def program(self, batch: int = 1, shapes: Mapping[str, TensorType] | None = None) -> Program:
        """The Program for a batch of inputs: of the types of the network, or of `shapes`."""
        self.require_weights()
        bound, _ = self._passed(())
        return lower(bound, shapes or self.network.input_types(), batch)

    def _passed(self, taps: Taps) -> tuple[Bound, dict[Any, Any]]:
        """The network after the passes, and the weights packed for it. A tapped tensor is an output like others."""
        if taps not in self._bound:
            wanted = self.network.outputs | {f"tap {node}": node for node in taps}
            self._bound[taps] = (run(bind(self.network, self.weights, wanted)), {})
        return self._bound[taps]

    def _executable(self, taps: Taps, types: Mapping[str, TensorType], batch: int) -> Executable:
        key = (taps, batch, tuple(types.items()))
        ready = self._ready.get(key)
        if ready is None:
            bound, packs = self._passed(taps)
            ready = self.backend.build(lower(bound, types, batch), self.threads, packs)
            self._ready[key] = ready
            if len(self._ready) > MOST_PROGRAMS:
                self._ready.popitem(last=False)
        self._ready.move_to_end(key)
        return ready


def model(
    network: Network, dtype: Literal["float32", "float64"] = "float32", name: str = "auto", threads: int | None = None
) -> Model:
    """A model on the back-end called `name`. Raises RunError (E0716)."""
    name = AUTO if name == "auto" else name
    if name == "reference":
        return Model(network, dtype)
    if dtype != "float32":
        raise RunError("E0716", f"the back-end `{name}` computes in float32", "backend = reference computes in float64")
    return CompiledModel(network, backend(name), threads or default_threads())


def default_threads() -> int | None:
    """`NETDSL_NUM_THREADS`, where it is set to a number; else the back-end decides."""
    value = os.environ.get("NETDSL_NUM_THREADS", "")
    return int(value) if value.isdigit() and int(value) > 0 else None
