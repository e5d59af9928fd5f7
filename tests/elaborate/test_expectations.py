"""`expect` and `variant`."""

from __future__ import annotations

import pytest

import netdsl

SPEC = """network n(classes = 10) {
  variant three(classes = 3) expect params == 8 * 3 + 3
  input 8
  dense(classes)
  expect %s
}"""


def codes(text: str, **options: object) -> list[str]:
    try:
        netdsl.loads(text, **options)
    except netdsl.SpecError as error:
        return [diagnostic.code for diagnostic in error.diagnostics]
    return []


@pytest.mark.parametrize(
    "claim",
    [
        "params == 90", "params ~ 90", "params ~ 0.1K", "macs == 80, flops >= 160", "x == (10,)", "(10,)", "x.channels == 10",
        "x.channels == classes", "trainable == params", "buffers == 0", "connections == 90", "layers == 1", "params < 100",
    ],
)  # fmt: skip
def test_claims_that_hold(claim: str) -> None:
    assert codes(SPEC % claim) == []


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("params == 91", "found 90 (a difference of -1)"), ("params ~ 91", "found 90"), ("macs > 80", "found 80"),
        ("x.channels == 11", "found 10"), ("11x2", "found 10"), ("x.channels == classes + 1", "found 10"), ("false", "false"),
    ],
)  # fmt: skip
def test_claims_that_fail_say_what_was_found(claim: str, found: str) -> None:
    with pytest.raises(netdsl.SpecError) as error:
        netdsl.loads(SPEC % claim)
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "E0401"
    assert found in diagnostic.message
    assert diagnostic.span is not None
    assert diagnostic.span.text == claim


def test_about_equal_is_to_the_digits_written() -> None:
    # 4_089_184_256 MACs are 4.09G, 4.089G and 4G, not 4.08G and not 4.1G to two digits after the point.
    text = "network n { input 3x224x224 -> conv(64, 7x7, stride = 2, padding = 3, bias = false)\n expect macs ~ %s }"
    for about in ("118.0M", "118M", "0.12G", "118_013_952", "118_014K"):
        assert codes(text % about) == []
    for about in ("117M", "119M", "0.11G", "118.1M", "118_013_951"):
        assert codes(text % about) == ["E0401"]


def test_a_variant_checks_its_claims_and_those_of_the_body() -> None:
    assert codes(SPEC % "x.channels == classes", name="three") == []
    assert codes((SPEC % "x.channels == classes").replace("8 * 3 + 3", "28"), name="three") == ["E0401"]
    # A claim about numbers, said of a body, holds for every variant that runs the body.
    assert codes(SPEC % "x.channels == 10", name="three") == ["E0401"]


def test_plain_numbers_are_facts_about_the_spec_as_declared() -> None:
    assert codes(SPEC % "params == 90", classes=7) == []
    assert codes(SPEC % "x.channels == classes + 1", classes=7) == ["E0401"]
    assert codes(SPEC % "params == 90", shape="9") == []


def test_several_failures_are_reported_together() -> None:
    assert codes(SPEC % "params == 1, macs == 2, x.channels == 3") == ["E0401"] * 3


def test_a_count_that_is_not_known_cannot_be_expected() -> None:
    assert codes("network n { input 3x?x? -> conv(8, 3x3)\n expect macs == 1 }") == ["E0402"]
    assert codes("network n { input 3x?x? -> conv(8, 3x3)\n expect params == 224, 8x?x? }") == []


def test_quantities_stand_in_expect_only() -> None:
    with pytest.raises(netdsl.SpecError, match="stands in `expect` only"):
        netdsl.loads("network n { input 8\n dense(params) }")
