"""All weights of a network on a device, in float32: the masters of mixed precision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod
from typing import Any

import numpy as np

from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.training.bench import FLOAT
from netdsl.ir.layer import Array
from netdsl.train.parameters import Parameters


class State:
    """The trained parameters in one vector with their gradients in another, laid out as `Parameters`; buffers and what
    is frozen beside them. `weights` and `gradients` are views by full name.

    The host's arrays are as they were until `pull`; what the host changes is not seen here until `push`. Raises
    DeviceMemoryError.
    """

    def __init__(
        self, device: Device, values: Mapping[str, Array], parameters: Parameters, statistics: Collection[str] = ()
    ) -> None:
        """`values` are all weights of the host by full name, `statistics` those of them that training moves beside the
        parameters."""
        self.device = device
        self._host, self._parameters = values, parameters
        self.buffers = [name for name in statistics if values[name].dtype.kind == "f"]
        """Running statistics, by full name."""
        xp = device.xp
        with device.use():
            self.flat = xp.zeros(max(1, parameters.size), FLOAT)
            self.gradient = xp.zeros(max(1, parameters.size), FLOAT)
            self.weights: dict[str, Any] = {}
            self.gradients: dict[str, Any] = {}
            for name, place in parameters.slices.items():
                shape = parameters.views[name].shape
                self.weights[name] = self.flat[place].reshape(shape)
                self.gradients[name] = self.gradient[place].reshape(shape)
            self._others = [name for name in values if name not in parameters.slices]
            for name in self._others:
                # Counters of batches are kept by the host: nothing on the device reads them.
                if values[name].dtype.kind == "f":
                    self.weights[name] = xp.zeros(values[name].shape, FLOAT)
                else:
                    self.weights[name] = xp.asarray(np.array(values[name]))
        self._pinned = device.pinned((max(1, parameters.size),), FLOAT)
        self.push()

    def push(self) -> None:
        """Takes the host's numbers over."""
        self._send(self.flat, self._parameters.flat)
        for name in self._others:
            if self._host[name].dtype.kind == "f":
                self._send(self.weights[name], self._host[name])
        self.device.await_copies()

    def pull(self) -> None:
        """Gives parameters and running statistics to the host."""
        self._fetch(self._parameters.flat, self.flat)
        for name in self.buffers:
            self._fetch(self._host[name], self.weights[name])

    def pull_gradients(self, target: Array) -> None:
        """Gives the gradients to the host."""
        self._fetch(target, self.gradient)

    def _send(self, target: Any, source: Array) -> None:
        if not source.size:
            return
        # Nobody reads what is written over before it is read.
        self.device.synchronize()
        room = self._pinned[: source.size] if source.size <= self._pinned.size else np.empty(source.size, FLOAT)
        room[...] = source.reshape(-1)
        self.device.upload(target.reshape(-1)[: source.size], room)
        self.device.mark(copies=True).wait()

    def _fetch(self, target: Array, source: Any) -> None:
        if not target.size:
            return
        room = self._pinned[: target.size] if target.size <= self._pinned.size else np.empty(target.size, FLOAT)
        self.device.synchronize()
        self.device.download(room, source.reshape(-1)[: target.size])
        self.device.mark(copies=True).wait()
        target[...] = room.reshape(target.shape)

    @property
    def bytes(self) -> int:
        """What it takes on the device."""
        sizes = [prod(array.shape) * array.dtype.itemsize for array in (*self.weights.values(), self.gradient)]
        return sum(sizes)
