"""A model that runs Programs: the same outside as the reference executor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np

from netdsl.backends.errors import RunError
from netdsl.backends.inputs import checked_inputs
from netdsl.backends.locks import give_lock
from netdsl.backends.reference import Array, Model, needed
from netdsl.backends.registry import Backend, DeviceBackend, Executable, backend, fastest
from netdsl.backends.threads import wanted_threads
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.passes import Bound, bind, run
from netdsl.program.ir import Program
from netdsl.program.lower import lower
from netdsl.program.specialise import types_for

MOST_PROGRAMS = 8
"""Programs that a model keeps, each with its arena: for other shapes of the inputs, other batches, other taps."""

FLOAT32 = np.dtype(np.float32)

Taps = tuple[str, ...]
Key = tuple[tuple[tuple[int, ...], ...], Taps]
"""The shapes of the inputs in the network's order, batch included, and the taps as they were asked for."""


class Plan(NamedTuple):
    """What a call with inputs of some shapes comes to, everything having been checked."""

    executable: Executable
    outputs: Taps
    taps: Mapping[str, str]
    """Name of a tap, as it was asked for -> name of the output that it is."""


class CompiledModel(Model):
    """A network that runs on a back-end: lowered to a Program for each shape of its inputs that comes.

    What was checked and made ready for some shapes is kept until the weights change; the next call with such inputs is
    a look-up and a run. May be called from several threads; they take turns.
    """

    lock: Lock

    def __init__(self, network: Network, engine: Backend, threads: int | None = None) -> None:
        super().__init__(network)
        self.backend = engine
        self.threads = threads
        give_lock(self)
        self._names = tuple(network.inputs)
        self._bound: dict[Taps, tuple[Bound, dict[Any, Any]]] = {}
        self._plans: OrderedDict[Key, Plan] = OrderedDict()
        self._version = self.store.version

    def run(self, x: object, tap: Sequence[str] = ()) -> tuple[dict[str, Array], dict[str, Array]]:
        inputs = self._at_hand(x)
        with self.lock:
            if self._version != self.store.version:
                self._renew()
            key = key_of(inputs, tap)
            plan = self._plans.get(key)
            if plan is None:
                inputs, plan = self._planned(x, tap)
            else:
                self._plans.move_to_end(key)
            try:
                found = plan.executable(inputs)
            except MemoryError:
                raise self._too_large(inputs) from None
        if not plan.taps:
            return found, {}
        return {name: found[name] for name in plan.outputs}, {name: found[out] for name, out in plan.taps.items()}

    def _renew(self) -> None:
        """Where weights have changed, what was folded and packed is void."""
        if self._version != self.store.version:
            self._bound.clear()
            self._plans.clear()
            self._version = self.store.version

    def _as_array(self, x: object) -> Any:
        """An input as an array. Raises TypeError, ValueError, RuntimeError."""
        return np.asarray(x)

    def _at_hand(self, x: object) -> dict[str, Array]:
        """The float32 arrays by input name, in the network's order, where they are plainly that; else nothing."""
        if type(x) is np.ndarray and x.dtype is FLOAT32 and len(self._names) == 1:
            # The usual case by the shortest way: a small network answers in microseconds.
            return {self._names[0]: x}
        given = {self._names[0]: x} if len(self._names) == 1 and not isinstance(x, dict) else x
        if not isinstance(given, dict) or len(given) != len(self._names):
            return {}
        found: dict[str, Array] = {}
        for name in self._names:
            array = given.get(name)
            if type(array) is not np.ndarray or array.dtype.kind != "f":
                return {}
            found[name] = np.asarray(array, np.float32)
        return found

    def _planned(self, x: object, tap: Sequence[str]) -> tuple[dict[str, Array], Plan]:
        """Checks everything, and makes a Program ready for such inputs, unless there is one."""
        tapped = {name: self._resolve(name) for name in tap}
        nodes = needed(self.network, {*self.network.outputs.values(), *tapped.values()})
        self._require_weights(nodes)
        inputs = checked_inputs(self.network, x, self.dtype, self._as_array)
        types = {name: TensorType(array.shape[1:]) for name, array in inputs.items()}
        # Says where in the spec a size does not fit, before passes have renamed anything.
        types_for(self.network, nodes, types)
        key = key_of(inputs, tap)
        plan = self._plans.get(key)
        if plan is None:
            while len(self._plans) >= MOST_PROGRAMS:
                self._plans.popitem(last=False)
            try:
                bound, packs = self._passed(tuple(dict.fromkeys(tapped.values())))
                ready = self.backend.build(lower(bound, types, len(next(iter(inputs.values())))), self.threads, packs)
            except MemoryError:
                raise self._too_large(inputs) from None
            plan = Plan(ready, tuple(self.network.outputs), {name: f"tap {node}" for name, node in tapped.items()})
            self._plans[key] = plan
        return inputs, plan

    def _too_large(self, inputs: Mapping[str, Array]) -> RunError:
        batch = len(next(iter(inputs.values())))
        sizes = ", ".join(f"{name} {TensorType(array.shape[1:])}" for name, array in inputs.items())
        return RunError(
            "E0714", f"not enough memory for {self.network.name} on {batch} x {sizes}", "run fewer images at a time"
        )

    def program(self, batch: int = 1, shapes: Mapping[str, TensorType] | None = None) -> Program:
        """The Program for a batch of inputs: of the types of the network, or of `shapes`."""
        self.require_weights()
        self._renew()
        bound, _ = self._passed(())
        return lower(bound, shapes or self.network.input_types(), batch)

    def _passed(self, taps: Taps) -> tuple[Bound, dict[Any, Any]]:
        """The network after the passes, and the weights packed for it. A tapped tensor is an output like others."""
        if taps not in self._bound:
            wanted = self.network.outputs | {f"tap {node}": node for node in taps}
            self._bound[taps] = (run(bind(self.network, self.weights, wanted)), {})
        return self._bound[taps]


def key_of(inputs: Mapping[str, Array], tap: Sequence[str]) -> Key:
    """What plans are kept by."""
    return tuple([array.shape for array in inputs.values()]), tuple(tap) if tap else ()


def model(
    network: Network,
    dtype: Literal["float32", "float64"] = "float32",
    name: str = "auto",
    threads: int | None = None,
    *,
    precision: str | None = None,
    device: int | None = None,
    autotune: str | None = None,
    deterministic: bool = True,
) -> Model:
    """A model on the back-end called `name`; `auto` is the fastest that there is, and the reference in float64.

    `precision`, `device`, `autotune` and `deterministic` are for back-ends that run on a device. Raises RunError
    (E0716).
    """
    if name == "reference" or (name == "auto" and dtype == "float64"):
        _only_on_devices(name, precision, device, autotune)
        return Model(network, dtype)
    if dtype != "float32":
        raise RunError("E0716", f"the back-end `{name}` computes in float32", "backend = reference computes in float64")
    engine = fastest() if name == "auto" else backend(name)
    if isinstance(engine, DeviceBackend):
        return engine.configured(precision, device, autotune, deterministic).model(network)
    _only_on_devices(engine.name, precision, device, autotune)
    return CompiledModel(network, engine, threads or wanted_threads())


def _only_on_devices(name: str, precision: str | None, device: int | None, autotune: str | None) -> None:
    """Raises RunError (E0716) where something is asked for that only devices have."""
    if precision not in (None, "float32"):
        raise RunError(
            "E0716", f"the back-end `{name}` computes in float32, not in {precision}",
            "--backend cupy computes in tf32, float16 and bfloat16 on a GPU",
        )  # fmt: skip
    if device is not None or autotune not in (None, "off"):
        what = f"device {device}" if device is not None else f"autotune = {autotune}"
        raise RunError("E0716", f"the back-end `{name}` runs on the CPU: there is no {what}", "--backend cupy")
