"""A Program on native code: one arena, the engine, and NumPy for the steps that have no kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.locks import give_lock
from netdsl.backends.native.engine import Engine
from netdsl.backends.native.fallback import Fallback, channels_first
from netdsl.backends.native.lower import Context, NoKernelError, lower
from netdsl.backends.native.lower.context import flat
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.transpose import transpose_step
from netdsl.backends.native.steps.view import Array, aligned
from netdsl.backends.native.target import Target, host_target
from netdsl.backends.threads import MOST_THREADS, default_threads
from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.passes.values import forget
from netdsl.program.ir import Program, Step, Tensor

MOST_PACKERS = 8
"""Threads that pack weights: each holds the unpacked weights of one step."""
STEPS_WORTH_SHARING = 16
"""Steps of a Program for which threads are started to pack weights."""


class Segment(NamedTuple):
    """Native steps `first` to `end`, then a step in NumPy where there is one."""

    first: int
    end: int
    fallback: Fallback | None


class Report(NamedTuple):
    """How one step of the Program is computed: by kernels, or in NumPy (`kernel` is the layer's kind) for a reason."""

    name: str
    kernel: str
    native: bool
    reason: str


STAGED_BYTES = 16 * 1024
"""An input or output up to this size is copied to or from a place of our own: finding an address takes NumPy longer."""


class End(NamedTuple):
    """An input or output: its shape, and where NumPy puts it or finds it (`inside`), or else the argument of the
    native step that moves it which is its address."""

    name: str
    shape: tuple[int, ...]
    place: int
    inside: Array | None


def _title(step: NativeStep) -> str:
    """The kernel of a native step: conv, winograd, window, map."""
    return type(step.kernel).__name__.removesuffix("Kernel").lower()


class NativeProgram:
    """Runs a Program. Weights are packed once; the Program's own arrays are let go."""

    lock: Lock

    def __init__(
        self,
        program: Program,
        threads: int | None = None,
        target: Target | None = None,
        packs: dict[Any, Any] | None = None,
    ) -> None:
        """`packs` keeps packed weights: Programs of one network for other shapes use them too.

        Raises TargetError where NETDSL_NATIVE_TARGET names what this processor does not run.
        """
        self.target = target or host_target()
        self.threads = default_threads() if threads is None else max(1, min(threads, MOST_THREADS))
        give_lock(self)
        self._arena = aligned(program.arena_bytes // BYTES_PER_ELEMENT)
        offsets = {buffer.number: buffer.offset for buffer in program.buffers}
        self._starts = {number: offset // BYTES_PER_ELEMENT for number, offset in offsets.items()}
        context = Context(
            self.target, self.threads, int(self._arena.ctypes.data), offsets, {} if packs is None else packs
        )
        self.report: list[Report] = []
        self._native: list[NativeStep] = []
        self._segments: list[Segment] = []
        doors_in = self._doors(program.inputs, context, inward=True)
        self._lower(program, context)
        doors_out = self._doors(program.outputs, context, inward=False)
        self._close(None)
        self._engine = Engine(self._native, self.target, self.threads)
        self._entries = self._ends(program.inputs, doors_in, "x")
        self._exits = self._ends(program.outputs, doors_out, "out")

    def _lower(self, program: Program, context: Context) -> None:
        for step, found in zip(program.steps, _lowered(program, context), strict=True):
            if isinstance(found, NoKernelError):
                self.report.append(Report(step.name, step.kernel, False, str(found)))
                self._close(Fallback(step, str(found), self._arena, self._starts))
                continue
            self.report.append(Report(step.name, "+".join(dict.fromkeys(map(_title, found))) or "nothing", True, ""))
            self._native.extend(found)

    def _close(self, fallback: Fallback | None) -> None:
        """Ends a segment of native steps."""
        first = self._segments[-1].end if self._segments else 0
        self._segments.append(Segment(first, len(self._native), fallback))

    def _doors(self, tensors: Mapping[str, Tensor], context: Context, inward: bool) -> dict[str, int]:
        """Native steps that move maps in or out, by the name of the input or output; NumPy moves the others."""
        doors = {}
        for name, tensor in tensors.items():
            if len(tensor.shape) < 3 or (tensor.bytes <= STAGED_BYTES and _lies_as_it_comes(tensor)):
                continue
            try:
                view = flat(context.view(tensor))
            except NoKernelError:
                continue
            doors[name] = len(self._native)
            self._native.append(transpose_step(name, view, inward))
        return doors

    @property
    def kernels(self) -> list[str]:
        """What computes each step of the Program, for people."""
        return [report.kernel if report.native else f"numpy ({report.reason})" for report in self.report]

    @property
    def steps(self) -> tuple[NativeStep, ...]:
        """The native steps in order."""
        return tuple(self._native)

    def parts(self, inputs: Mapping[str, Array]) -> list[tuple[str, Callable[[], object]]]:
        """What a run consists of, in order, by the name of the step: to time each by itself."""
        arguments, keep = self._engine.arguments, []
        found: list[tuple[str, Callable[[], object]]] = []
        for name, _, place, inside in self._entries:
            array = np.ascontiguousarray(inputs[name], dtype=np.float32)
            if inside is None:
                arguments[place] = _address(array)
                keep.append(array)
            else:
                found.append((name, partial(np.copyto, inside, array)))
        for _, shape, place, inside in self._exits:
            if inside is None:
                keep.append(np.empty(shape, dtype=np.float32))
                arguments[place] = _address(keep[-1])
        for first, end, fallback in self._segments:
            found += [(self._native[index].name, partial(self._part, index, keep)) for index in range(first, end)]
            if fallback is not None:
                found.append((fallback.step.name, fallback.run))
        return found

    def _part(self, index: int, keep: object) -> None:
        """One native step; `keep` holds the arrays whose addresses are in the table."""
        self._engine.run(index, index + 1)

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The same as `run`."""
        return self.run(inputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, float32 of shape (N, C, *spatial), from inputs of such shapes.

        Raises ValueError for an input of another shape.
        """
        with self.lock:
            return self._run(inputs)

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        arguments = self._engine.arguments
        held = []  # whose addresses are used must stay
        for name, expected, place, inside in self._entries:
            array = inputs[name]
            if array.shape != expected:
                raise ValueError(f"the input {name} has shape {array.shape}, the Program is for {expected}")
            if inside is None:
                array = np.ascontiguousarray(array, dtype=np.float32)
                arguments[place] = _address(array)
                held.append(array)
            else:
                inside[...] = array
        results = {}
        for name, shape, place, inside in self._exits:
            if inside is None:
                results[name] = array = np.empty(shape, dtype=np.float32)
                arguments[place] = _address(array)
        for first, end, fallback in self._segments:
            if end > first:
                self._engine.run(first, end)
            if fallback is not None:
                fallback.run()
        return {name: results[name] if inside is None else inside.copy() for name, _, _, inside in self._exits}

    def _ends(self, tensors: Mapping[str, Tensor], doors: Mapping[str, int], argument: str) -> list[End]:
        ends = []
        for name, tensor in tensors.items():
            shape = (tensor.batch, *(extent or 0 for extent in tensor.type.shape))
            if name not in doors:
                ends.append(End(name, shape, 0, channels_first(self._arena, self._starts, tensor)))
                continue
            place = self._engine.place(doors[name], argument)
            staged = None
            if tensor.bytes <= STAGED_BYTES:
                staged = aligned(tensor.size).reshape(shape)
                self._engine.arguments[place] = _address(staged)
            ends.append(End(name, shape, place, staged))
        return ends


def _lowered(program: Program, context: Context) -> list[list[NativeStep] | NoKernelError]:
    """The native steps of each step, or why there are none. Most of the time goes into packing weights, which is shared
    between the threads.
    """

    def one(step: Step) -> list[NativeStep] | NoKernelError:
        try:
            return lower(step, context)
        except NoKernelError as error:
            return error
        finally:
            forget(step.weights)

    if context.threads == 1 or len(program.steps) < STEPS_WORTH_SHARING:
        return [one(step) for step in program.steps]
    pool = ThreadPoolExecutor(min(context.threads, MOST_PACKERS), thread_name_prefix="netdsl-pack")
    try:
        return list(pool.map(one, program.steps))
    finally:
        pool.shutdown(cancel_futures=True)


def _lies_as_it_comes(tensor: Tensor) -> bool:
    """Whether channels first and channels last are the same order, without gaps."""
    return tensor.dense and (tensor.shape[-1] == 1 or tensor.size == tensor.batch * tensor.shape[-1])


def _address(array: Array) -> int:
    """Where the numbers of an array begin."""
    address: int = array.__array_interface__["data"][0]
    return address
