"""Our kernels as candidates: whole Programs on a device that is played, whose kernels run on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiling_device import CompilingDevice
from host_kernels import needs_compiler
from random_networks import assert_close, inputs_of, reference, values_of
from test_cupy_steps import CASES, given_to
from test_fuzz_layers import Case, identify, network_of

from netdsl.api import loads
from netdsl.backends.cupy.choice import PLAIN
from netdsl.backends.cupy.executor import CupyExecutable
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.kernels.functions import has_function
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.ir.network import Network
from netdsl.layers.vocabulary import LAYERS
from netdsl.passes import Bound, bind, run
from netdsl.program.ir import Program
from netdsl.program.lower import lower

pytestmark = needs_compiler

KINDS = {
    "depthwise_conv", "max_pool", "avg_pool", "global_avg_pool", "global_max_pool", "adaptive_avg_pool",
    "adaptive_max_pool", "add", "multiply", "subtract", "divide", "maximum", "minimum", "average", "magnitude", "affine",
    "batch_norm", "layer_scale", "scalar", "prelu", "concat", "layer_norm", "group_norm", "instance_norm", "softmax",
    "log_softmax", "upsample", "upsample_like", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid",
    "hard_sigmoid", "hard_swish", "mish", "softplus", "tanh", "scaled_tanh", "abs", "square", "sqrt", "exp", "power",
    "clip", "scale", "shift",
}  # fmt: skip
"""The layers that our kernels compute."""
OURS = [entry for entry in CASES if entry[0] in KINDS]
SEEN: set[str] = set()
SOME = [
    entry for number, entry in enumerate(OURS) if number % 6 == 0 or (entry[0] not in SEEN and not SEEN.add(entry[0]))
]  # type: ignore[func-returns-value]
"""One of each kind, and a sixth of all."""


class Built:
    """A layer on a device that compiles."""

    def __init__(self, entry: Case, device: CompilingDevice, name: str) -> None:
        self.entry, self.network, self.name = entry, network_of(*entry), name
        self.bound = bind(self.network, values_of(self.network))
        program = lower(self.bound, self.network.input_types(), 3)
        self.executable = CupyExecutable(program, device, PRECISIONS[name], {}, graphs=False)

    def check(self) -> None:
        inputs = given_to(self.entry, self.network, 3)
        expected, found = reference(self.bound, inputs)["out"], self.executable(inputs)["out"]
        if self.name == "float32":
            assert_close(found, expected, 4e-6)
        else:
            atol = 4 * PRECISIONS[self.name].epsilon * np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=4 * PRECISIONS[self.name].epsilon, atol=atol)


@pytest.fixture(scope="module")
def layers() -> dict[str, Built]:
    """All of them are built before the first is run: their kernels are compiled together."""
    device, halves = CompilingDevice(), ("float16", "bfloat16")
    names = ["float32" if number % 2 == 0 else halves[number // 2 % 2] for number in range(len(SOME))]
    return {
        f"{number} {identify(entry)}": Built(entry, device, name)
        for number, (entry, name) in enumerate(zip(SOME, names, strict=True))
    }


@pytest.mark.parametrize("key", [f"{number} {identify(entry)}" for number, entry in enumerate(SOME)])
def test_a_layer(layers: dict[str, Built], key: str) -> None:
    built = layers[key]
    (choice,) = built.executable.choices
    if choice.option.candidate == PLAIN:
        assert choice.rejected, "a layer that our kernels compute has a reason where they do not"
        return
    assert choice.launch.name.startswith("kernel ")
    built.check()


def test_what_has_an_expression_is_ours() -> None:
    with_expression = {kind for kind, layer in LAYERS.items() if has_function(_default(layer))}
    assert with_expression <= KINDS


def _default(layer: Any) -> Any:
    needed = {"power": {"exponent": 2.0}, "clip": {"low": 0.0}, "scale": {"by": 2.0}, "shift": {"by": 2.0}}
    try:
        return layer(**needed.get(layer.kind, {}))
    except ValueError:
        return object()


MOBILE = """
network mobile {
  input(3x11x9)
  conv(16, 3x3, stride = 2, padding = half, bias = false) -> batch_norm -> silu
  conv(16, 3x3, padding = half, groups = 16, bias = false) -> batch_norm -> silu
  multiply { | global_avg_pool -> conv(4, 1x1) -> silu -> conv(16, 1x1) -> sigmoid | }
  conv(24, 1x1, bias = false) -> batch_norm
  add { | conv(24, 5x5, padding = half, groups = 24) -> relu6 | }
  hard_swish
  multiply { | global_avg_pool -> conv(6, 1x1) -> relu -> conv(24, 1x1) -> hard_sigmoid | }
  concat { | max_pool(3x3, stride = 2, padding = 1) | avg_pool(3x3, stride = 2, padding = 1) }
  upsample(2)
  global_avg_pool -> flatten
  dense(10) -> softmax
}
"""


def mobile() -> Network:
    return loads(MOBILE).network


def lowered(bound: Bound, batch: int) -> Program:
    return lower(bound, bound.network.input_types(), batch)


@pytest.mark.parametrize(("name", "batch"), [("float32", 2), ("bfloat16", 1)])
def test_a_network(name: str, batch: int) -> None:
    network = mobile()
    values = values_of(network)
    inputs = inputs_of(network, batch)
    (expected,) = reference(bind(network, values), inputs).values()
    program = lowered(run(bind(network, values)), batch)
    device = CompilingDevice()
    executable = CupyExecutable(program, device, PRECISIONS[name], {})
    taken = [choice.option.candidate for choice in executable.choices]
    assert "kernel depthwise_squeeze_excite" in taken
    assert "kernel squeeze_excite" in taken
    assert "kernel pool" in taken
    found = [next(iter(executable(inputs).values())) for _ in range(3)]
    for again in found[1:]:
        np.testing.assert_array_equal(found[0], again)
    np.testing.assert_allclose(
        found[0], expected, atol=2e-6 if name == "float32" else 8 * PRECISIONS[name].epsilon * expected.max()
    )
    assert not executable.notes
    assert device.graphs


def test_every_variant_gives_the_same_numbers() -> None:
    """What autotuning may choose from; also that plain forms and kernels agree."""
    network = mobile()
    batch = 48
    program = lowered(run(bind(network, values_of(network))), batch)
    device, inputs = CompilingDevice(), inputs_of(network, batch)
    made = [CupyExecutable(program, device, PRECISIONS["float32"], {}, candidates=[])]
    for number in range(4):

        def chooser(offered: Any, build: Any, number: int = number) -> Any:
            # The longest form of what stands first, in its variant of this number.
            of_first = [option for option in offered if option.candidate == offered[0].candidate]
            option = of_first[number % len(of_first)]
            return option, build(option)

        made.append(CupyExecutable(program, device, PRECISIONS["float32"], {}, chooser=chooser, graphs=False))
    (wanted,) = made[0](inputs).values()
    labels = set()
    for executable in made[1:]:
        labels |= {choice.option.label for choice in executable.choices}
        (found,) = executable(inputs).values()
        np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert len(labels) > 10


def test_without_a_compiler_the_plain_form_serves() -> None:
    network = network_of("relu", {}, ((5, 3, 2),))
    executable = CupyExecutable(lowered(bind(network, {}), 2), FakeDevice(), PRECISIONS["float32"], {})
    (choice,) = executable.choices
    assert choice.option.candidate == PLAIN
    assert "played" in dict(choice.rejected)["kernel pointwise"]
