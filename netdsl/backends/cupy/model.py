"""A model on a GPU: like others, and arrays that lie on the device need not leave it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from netdsl.analysis.notation import byte_size
from netdsl.backends.compiled import CompiledModel, key_of
from netdsl.backends.cupy.dlpack import adopted, on_device, to_host
from netdsl.backends.cupy.errors import DeviceMemoryError
from netdsl.backends.errors import RunError
from netdsl.backends.reference import Array
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.program.device_memory import inference_plan, largest_batch
from netdsl.program.lower import lower

if TYPE_CHECKING:
    from netdsl.backends.cupy.backend import CupyBackend
    from netdsl.backends.cupy.executor import CupyExecutable


IN_FLIGHT = 2
"""Batches of a stream that are on their way at a time."""


class DeviceModel(CompiledModel):
    """A network that runs on a GPU.

    `model(x)` takes arrays of the host and of the device (whatever knows DLPack: torch, CuPy, JAX) and gives arrays of
    the host; `model.on_device(x)` leaves the results where they are.
    """

    def __init__(self, network: Network, engine: CupyBackend) -> None:
        super().__init__(network, engine)
        self.device = engine.device
        self.precision = engine.precision

    def run(self, x: object, tap: Sequence[str] = ()) -> tuple[dict[str, Array], dict[str, Array]]:
        if not on_device(x):
            return super().run(x, tap)
        outputs, taps = self.run_on_device(x, tap)
        return to_host(outputs), to_host(taps)

    def on_device(self, x: object, *, tap: str | Sequence[str] | None = None) -> Any:
        """Like calling the model, but results are arrays of the device (CuPy's, which know DLPack), float32."""
        outputs, taps = self.run_on_device(x, [tap] if isinstance(tap, str) else tap or ())
        result = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return result if tap is None else (result, taps)

    def run_on_device(self, x: object, tap: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
        """Like `run`; what is on the device is not copied through the host."""
        self.device.follow()
        with self.lock, self.device.use():
            self._renew()
            given = self._adopted(x)
            inputs, plan = self._planned(given, tap)
            device_inputs = {name: self._there(array) for name, array in inputs.items()}
            try:
                found = cast("CupyExecutable", plan.executable).on_device(device_inputs)
            except MemoryError:
                raise self._too_large(inputs) from None
        if not plan.taps:
            return found, {}
        return {name: found[name] for name in plan.outputs}, {name: found[out] for name, out in plan.taps.items()}

    def stream(self, batches: Iterable[object]) -> Iterator[Any]:
        """The outputs for each of many batches, in order: while one is computed the next is on its way to the device,
        and the one before on its way back. Each batch is what the model would be called with, arrays of the host."""
        waiting: deque[tuple[CupyExecutable, int]] = deque()
        try:
            for x in batches:
                done = None
                with self.lock:
                    self._renew()
                    executable, inputs = self._ready(x)
                    if len(waiting) == IN_FLIGHT:
                        done = _collected(waiting)
                    index = executable.acquire()
                    waiting.append((executable, index))
                    try:
                        executable.submit(index, inputs)
                    except MemoryError:
                        raise self._too_large(inputs) from None
                if done is not None:
                    yield _single(done)
            while waiting:
                with self.lock:
                    done = _collected(waiting)
                yield _single(done)
        finally:
            for executable, index in waiting:
                executable.release(index)

    def _ready(self, x: object) -> tuple[CupyExecutable, Mapping[str, Array]]:
        """What runs a batch, and its arrays."""
        inputs: Mapping[str, Array] = self._at_hand(x)
        plan = self._plans.get(key_of(inputs, ()))
        if plan is None:
            inputs, plan = self._planned(x, ())
        return cast("CupyExecutable", plan.executable), inputs

    def _adopted(self, x: object) -> object:
        """Arrays on the device as the device's library has them."""
        if isinstance(x, Mapping):
            return {name: adopted(self.device, str(name), array) for name, array in x.items()}
        return adopted(self.device, next(iter(self.network.inputs)), x)

    def _as_array(self, x: object) -> Any:
        return x if on_device(x) else np.asarray(x)

    def _there(self, array: Any) -> Any:
        return array if on_device(array) else self.device.xp.asarray(np.ascontiguousarray(array))

    def _too_large(self, inputs: Mapping[str, Any]) -> RunError:
        """What the plan takes, and the largest batch that fits."""
        error = sys.exception()
        free = error.free if isinstance(error, DeviceMemoryError) else None
        shapes = tuple(tuple(array.shape) for array in inputs.values())
        for key in [key for key in self._plans if key[0] == shapes]:
            # It was built and could not run: what it holds is free again.
            held = cast("CupyExecutable", self._plans.pop(key).executable).bytes
            free = None if free is None else free + held
        batch = len(next(iter(inputs.values())))
        types = {name: TensorType(tuple(array.shape[1:])) for name, array in inputs.items()}
        sizes = ", ".join(f"{name} {type_}" for name, type_ in types.items())
        bound, packs = self._passed(())
        itemsize = self.precision.itemsize

        def plan(images: int) -> Any:
            return inference_plan(lower(bound, types, images), itemsize, packed=bool(packs), reserve=False)

        needed = plan(batch)
        message = f"not enough memory for {self.network.name} on {batch} x {sizes} in {self.precision.name}: "
        message += f"the plan takes {byte_size(needed.total)}"
        if free is None:
            return RunError("E0714", message, "run fewer images at a time")
        message += f", and {byte_size(free)} of {byte_size(self.device.info.memory)} are free"
        most = largest_batch(plan, free, batch)
        if most >= batch:
            # The plan fits, what kernels take besides does not.
            return RunError("E0714", message, "run fewer images at a time, or free memory of the device")
        if not most:
            return RunError("E0714", message, "not even one image fits: a smaller image, or --precision bfloat16")
        return RunError("E0714", message, f"the largest batch that fits is {most}")


def _collected(waiting: deque[tuple[CupyExecutable, int]]) -> dict[str, Array]:
    """The outputs of the batch that has been on its way the longest."""
    executable, index = waiting[0]
    found = executable.collect(index)
    waiting.popleft()
    executable.release(index)
    return found


def _single(outputs: dict[str, Array]) -> Any:
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
