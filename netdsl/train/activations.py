"""The activations of one tensor of a network for every image of a dataset, into a file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from netdsl.atomic import replacing
from netdsl.data.dataset import Part
from netdsl.ir.network import Network
from netdsl.train.errors import TrainError
from netdsl.train.evaluate import Runner, batches

Array = NDArray[Any]

SUFFIXES = (".npy", ".npz")


def until(network: Network, name: str) -> Network:
    """The part of a network that makes the tensor called `name`, which is its output. Raises KeyError."""
    node = network.resolve(name)
    needed = set(network.inputs)
    stack = [node]
    while stack:
        found = stack.pop()
        if found not in needed:
            needed.add(found)
            stack.extend(network.node(found).inputs)
    part = replace(network, table={}, outputs={name: node}, auxiliary={}, tensors={})
    for each in network.nodes():
        if each.name in needed:
            part.add(each)
    return part


def write_activations(
    network: Network,
    model: Runner,
    part: Part,
    path: str | os.PathLike[str],
    *,
    batch: int = 64,
    workers: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> tuple[int, ...]:
    """Writes the output of a network for each image, float32 of shape (images, ...), and returns the shape.

    A `.npy` file holds the array alone; a `.npz` archive `features`, `labels` (or `targets`) and `classes`. It is
    there in full or not at all. Raises TrainError (E0978).
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise TrainError("E0978", f"{path} is neither .npy nor .npz", "the end of the name says the format")
    (output,) = network.outputs
    count = len(part.indices)
    shape: tuple[int, ...] = ()
    done = 0
    try:
        with replacing(path) as temporary, _opened(temporary, path, part) as file:
            for inputs, _ in batches(network, part, batch, workers):
                values = model.run(inputs)[0][output]
                if not shape:
                    shape = (count, *values.shape[1:])
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    npy.write_array_header_2_0(file, header)
                if values.shape[1:] != shape[1:]:
                    raise TrainError(
                        "E0978", f"the images give tensors of different shapes: {values.shape[1:]}, {shape[1:]}"
                    )
                file.write(np.ascontiguousarray(values, "<f4").tobytes())
                done += len(values)
                if watch is not None:
                    watch(done, count)
            if done != count:
                raise TrainError("E0978", f"{count - done} of {count} images could not be decoded")
    except OSError as error:
        raise TrainError("E0978", f"cannot write {path}: {error.strerror or error}") from None
    return shape


@contextmanager
def _opened(temporary: Path, path: Path, part: Part) -> Iterator[IO[bytes]]:
    """The file, or the entry of an archive, that the array goes to."""
    if path.suffix.lower() == ".npy":
        with temporary.open("wb") as file:
            yield file
        return
    dataset = part.dataset
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as entry:
            yield entry
        others: dict[str, Array] = {"classes": np.array(dataset.classes, dtype=np.str_)}
        if dataset.targets is None:
            others["labels"] = dataset.labels[part.indices]
        else:
            others["targets"] = dataset.targets[part.indices]
        for name, array in others.items():
            with archive.open(f"{name}.npy", "w") as entry:
                npy.write_array(entry, array, allow_pickle=False)
