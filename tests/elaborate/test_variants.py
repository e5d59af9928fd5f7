"""Parameters of a network: from a variant, and from outside."""

from __future__ import annotations

import pytest

import netdsl

SPEC = """
network net(width = 4, depth = 1) {
  variant wide(8, 2)
  variant deep(4, depth = 3)
  input image: 3x8x8
  repeat depth { conv(width, 3x3, padding = 1) }
}
"""


@pytest.mark.parametrize(
    ("name", "outside", "expected"),
    [
        ("wide", {}, (8, 2)),
        ("wide", {"width": 5}, (5, 2)),
        ("wide", {"depth": 1}, (8, 1)),
        ("wide", {"depth": 1, "width": 2}, (2, 1)),
        ("deep", {"width": 6}, (6, 3)),
        ("deep", {"depth": 2}, (4, 2)),
        ("net", {"depth": 2}, (4, 2)),
    ],
)
def test_the_caller_overrides_what_a_variant_gives(
    name: str, outside: dict[str, int], expected: tuple[int, int]
) -> None:
    """By position or by keyword."""
    net = netdsl.loads(SPEC, name, **outside)
    assert (net.network.parameters["width"], net.network.parameters["depth"]) == expected


def test_a_variant_with_an_argument_too_many() -> None:
    with pytest.raises(netdsl.SpecError, match="takes 2"):
        netdsl.loads(SPEC.replace("wide(8, 2)", "wide(8, 2, 1)"), "wide")
