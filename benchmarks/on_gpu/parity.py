"""One network of each family of the library, in every precision, against the reference in float64 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import netdsl
from netdsl.backends.errors import RunError
from netdsl.language.diagnostics import SpecError
from on_gpu.book import Item, Record
from on_gpu.setup import Setup, images, settled

FAMILIES = (
    "lenet5", "alexnet", "alexnet_2012", "vgg11", "vgg11_bn", "vgg16_c", "vgg11_lrn", "nin_cifar10", "googlenet",
    "googlenet_2014", "inception_v3", "inception_v4", "xception", "resnet18", "resnet50", "resnet50_v1", "resnet20",
    "seresnet50", "densenet121", "densenet40_12", "squeezenet1_1", "shufflenet_v1_g3", "shufflenet_v2_x1_0",
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mnasnet1_0", "mnasnet_a1", "ghostnet", "efficientnet_b0",
    "efficientnet_lite0", "tf_efficientnet_b0", "regnet_x_400mf", "repvgg_a0", "convnext_tiny", "darknet53", "yolo_v2",
    "unet",
)  # fmt: skip
PLAYED_FAMILIES = ("lenet5", "resnet20")
SIZES = ("3x64x64", "3x96x96", "1x188x188")
"""The first that a network takes."""
OWN_SIZE = frozenset({"lenet5", "nin_cifar10", "resnet20", "densenet40_12"})
"""Made for small images as they are."""
BATCH = 2
ORDER = ("float32", "bfloat16", "float16", "tf32")
BOUNDS = {"float32": 1e-4, "tf32": 3e-2, "float16": 3e-2, "bfloat16": 2.5e-1}
"""Of the standard deviation of an output (of what goes into a last softmax or sigmoid)."""
SLACK = 4
"""Where float32 on the CPU is itself further away than the bound, this many times its error counts instead."""
SHARP = ("softmax", "log_softmax", "sigmoid")


def items(setup: Setup) -> Iterator[Item]:
    """Precision by precision, those that most people take first."""
    known: dict[str, Wanted] = {}
    names = setup.options.networks or (PLAYED_FAMILIES if setup.played else FAMILIES)
    for precision in setup.options.precisions or ORDER:
        for name in names:
            yield f"{name} {precision}", lambda n=name, p=precision: _family(setup, n, p, known)  # type: ignore[misc]


def loaded(name: str, small: bool = True) -> Any:
    """A network on small images, where it takes them."""
    for size in SIZES if small else ():
        try:
            return netdsl.load(name, shape=size)
        except (SpecError, RunError):
            continue
    return netdsl.load(name)


class Wanted(NamedTuple):
    """A network with weights and inputs, and what it has to answer."""

    network: Any
    weights: dict[str, Any]
    inputs: dict[str, Any]
    taps: list[str]
    exact: list[Any]
    own: float
    """How far float32 on the CPU is away from that."""


def _wanted(name: str) -> Wanted:
    net = loaded(name, name not in OWN_SIZE)
    network = net.network
    inputs = images(network.input_types(), BATCH)
    taps = [_flat(network, node) for node in network.outputs.values()]
    exact = net.compile("float64", backend="reference")
    settled(exact)
    weights = {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in exact.weights.items()
    }
    exact.load({name: array.astype(exact.store.values[name].dtype) for name, array in weights.items()})
    answers = _outputs(exact, {name: array.astype(np.float64) for name, array in inputs.items()}, taps)
    host = net.compile(backend="reference")
    host.load(weights)
    return Wanted(network, weights, inputs, taps, answers, _distance(_outputs(host, inputs, taps), answers))


def _family(setup: Setup, name: str, precision: str, known: dict[str, Wanted]) -> Record:
    wanted = known[name] if name in known else known.setdefault(name, _wanted(name))
    # Kernels are timed where that is what is looked at; here each has its turn as it is preferred.
    model = setup.engine.configured(precision, autotune="off").model(wanted.network)
    model.load(wanted.weights)
    error = _distance(_outputs(model, wanted.inputs, wanted.taps), wanted.exact)
    bound = max(BOUNDS[precision], SLACK * wanted.own if precision in ("float32", "tf32") else 0)
    shape = " ".join(map(str, wanted.network.input_types().values()))
    return {
        "difference": error, "bound": bound, "ok": bool(error <= bound), "cpu_float32": wanted.own, "shape": shape,
    }  # fmt: skip


def _flat(network: Any, node: str) -> str:
    """What goes into a layer that is steep or flat at its ends."""
    found = network.node(node)
    while found.layer.kind in SHARP:
        found = network.node(found.inputs[0])
    return str(found.name)


def _outputs(model: Any, inputs: Any, taps: list[str]) -> list[Any]:
    _, tapped = model.run(inputs, taps)
    return [np.asarray(tapped[name], np.float64) for name in taps]


def _distance(found: list[Any], wanted: list[Any]) -> float:
    """The largest difference, in standard deviations of the output."""
    return max(float(np.abs(a - b).max() / max(float(b.std()), 1e-30)) for a, b in zip(found, wanted, strict=True))
