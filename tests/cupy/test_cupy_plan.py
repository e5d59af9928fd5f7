"""Plans of a device's memory: figures by hand, the largest batch, the command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import values_of

import netdsl
from netdsl.backends.cupy.executor import CupyExecutable
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.cli.plan_command import command
from netdsl.passes import bind, run
from netdsl.program.device_memory import (
    MOST_BATCH,
    RESERVE_BYTES,
    WORKSPACE_BYTES,
    DevicePlan,
    bytes_of,
    inference_plan,
    largest_batch,
)
from netdsl.program.lower import lower

CHAIN = "network n() {\n  input x: 16x64x64\n  conv(32, 1x1)\n  conv(64, 1x1, bias = false)\n}"
MAP = 64 * 64


def planned(text: str, batch: int, itemsize: int) -> DevicePlan:
    network = netdsl.loads(text).network
    return inference_plan(lower(run(bind(network, values_of(network))), network.input_types(), batch), itemsize)


@pytest.mark.parametrize(("itemsize", "precision"), [(4, "float32"), (2, "bfloat16")])
def test_figures_by_hand(itemsize: int, precision: str) -> None:
    """Of three maps in a row two are live at a time: at most the second and the third."""
    found = planned(CHAIN, 5, itemsize)
    assert found.arena == 5 * (32 + 64) * MAP * itemsize
    # Each array begins at a multiple of 256 bytes; the bias is float32.
    assert found.weights == 16 * 32 * itemsize + 256 + 32 * 64 * itemsize
    assert found.staging == 2 * 5 * (16 + 64) * MAP * 4
    assert found.total == found.arena + found.weights + found.staging + WORKSPACE_BYTES + RESERVE_BYTES
    assert sum(found.parts().values()) == found.total


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_device_takes_no_more_than_its_plan(precision: str) -> None:
    network = netdsl.load("resnet18", shape="3x32x32").network
    program = lower(run(bind(network, values_of(network))), network.input_types(), 4)
    device = FakeDevice()
    packs: dict[Any, Any] = {}
    found = CupyExecutable(program, device, PRECISIONS[precision], packs, candidates=[])
    plan = inference_plan(program, PRECISIONS[precision].itemsize)
    assert found.context.memory.layout.bytes == plan.arena
    weights = sum(array.nbytes for array in packs.values())
    assert 0 <= plan.weights - weights < 256 * len(packs), "but for alignment"
    assert found.context.workspace.bytes <= WORKSPACE_BYTES
    assert device.used <= plan.total - RESERVE_BYTES


@given(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(0, 10**9), st.integers(1, 5000), st.integers(0, 1000))
@settings(max_examples=300, deadline=None)
def test_the_largest_batch_is_the_largest(fixed: int, each: int, budget: int, guess: int, uneven: int) -> None:
    """Of plans that grow with the batch, evenly or not: it fits, and one more does not."""
    asked: list[int] = []

    def plan(batch: int) -> DevicePlan:
        asked.append(batch)
        return DevicePlan(batch, each * batch + uneven * (batch // 7) ** 2, fixed, 0, 0, 0, 0)

    found = largest_batch(plan, budget, guess)
    assert found == 0 or plan(found).total <= budget
    assert found == MOST_BATCH or plan(found + 1).total > budget
    assert len(asked) <= 60


def test_the_largest_batch_of_a_network_takes_few_plans() -> None:
    asked: list[int] = []

    def plan(batch: int) -> DevicePlan:
        asked.append(batch)
        return planned(CHAIN, batch, 4)

    found = largest_batch(plan, 8 * 2**30)
    each = (32 + 64) * MAP * 4 + 2 * (16 + 64) * MAP * 4
    assert found == (8 * 2**30 - WORKSPACE_BYTES - RESERVE_BYTES - (16 * 32 + 32 * 64) * 4 - 256) // each
    assert len(set(asked)) <= 6


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 * 2**30), ("8 gib", 8 * 2**30), ("8G", 8 * 2**30), ("8GB", 8 * 10**9), ("1.5k", 1536), ("700", 700),
        ("12b", 12), ("0.5TiB", 2**39),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "8XB", "-1GiB", "0", "nan", "inf", "1e400", "8GiBs", "1_0", "\uff18G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        bytes_of(text)


def call(*arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments))


def test_the_command_finds_the_largest_batch() -> None:
    result = call("resnet18", "--device-memory", "8GiB", "--precision", "bfloat16", "--format", "json")
    found = json.loads(result.output)
    assert found["fits"] and found["batch"] == found["largest_batch"] and found["total"] <= 8 * 2**30
    assert found["total"] == sum(found["bytes"].values())
    more = call("resnet18", "--device-memory", "8GiB", "--precision", "bfloat16", "--batch", str(found["batch"] + 1))
    assert more.exception is not None and f"the largest batch that fits is {found['batch']}" in str(more.exception)
    single = json.loads(call("resnet18", "--device-memory", "8GiB", "--format", "json").output)
    assert 1.5 < found["batch"] / single["batch"] < 2


def test_the_command_plans_training() -> None:
    plain = json.loads(call("resnet18", "--batch", "32", "--train", "--format", "json").output)
    adam = json.loads(call("resnet18", "--batch", "32", "--train", "--optimizer", "adam", "--format", "json").output)
    half = json.loads(
        call("resnet18", "--batch", "32", "--train", "--precision", "bfloat16", "--format", "json").output
    )
    learned = 11_689_512
    assert plain["bytes"]["optimizer"] == 3 * 4 * learned, "weights, gradients, momentum"
    assert adam["bytes"]["optimizer"] == 4 * 4 * learned
    assert half["bytes"]["weights"] == 2 * learned and "weights" not in plain["bytes"]
    assert 0.5 <= half["bytes"]["arena"] / plain["bytes"]["arena"] < 0.6, "what is saved beside tensors stays as it is"
    inference = json.loads(call("resnet18", "--batch", "32", "--format", "json").output)
    assert inference["bytes"]["arena"] < plain["bytes"]["arena"] / 4


def test_the_command_in_words() -> None:
    result = call("lenet5", "--device-memory", "2GiB", "--batch", "100")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "lenet5, batch 100, float32, inference"
    assert lines[-1].startswith("fits in 2.00 GiB; the largest batch that fits is ")
    assert "device has" not in call("lenet5").output and "fits" not in call("lenet5").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet5", "--device-memory", "much"], "a size is wanted"),
        (["lenet5", "--precision", "float8"], "float8"),
    ],
)
def test_bad_usage(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2 and message in result.output


def test_a_size_that_is_open_is_asked_for(tmp_path: Any) -> None:
    spec = tmp_path / "n.net"
    spec.write_text("network n() {\n  input x: 3x?x?\n  conv(4, 3x3)\n}")
    assert "give it with --shape" in call(str(spec)).output
    assert call(str(spec), "--shape", "3x32x32").exit_code == 0


def test_not_even_one_image(tmp_path: Any) -> None:
    result = call("resnet18", "--device-memory", "1GiB", "--shape", "3x1024x1024")
    assert "not even one image fits: --precision bfloat16" in str(result.exception)
