"""The plan of an arena: no two buffers that are live at the same time overlap, and little is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netdsl.program.arena import Demand, plan
from netdsl.program.ir import ALIGNMENT


@st.composite
def demands(draw: st.DrawFn) -> list[Demand]:
    found = []
    for _ in range(draw(st.integers(0, 25))):
        first = draw(st.integers(0, 20))
        found.append(
            Demand(draw(st.sampled_from([0, 4, 60, 64, 100, 4096, 10_000])), first, first + draw(st.integers(0, 8)))
        )
    return found


@given(demands())
def test_live_buffers_do_not_overlap(found: list[Demand]) -> None:
    offsets = plan(found)
    for i, (a, start) in enumerate(zip(found, offsets, strict=True)):
        assert start % ALIGNMENT == 0 and start >= 0
        for b, other in zip(found[:i], offsets[:i], strict=True):
            if a.first <= b.last and b.first <= a.last:
                assert start + a.bytes <= other or other + b.bytes <= start


@given(demands())
def test_the_arena_lies_between_the_live_bytes_and_all_bytes(found: list[Demand]) -> None:
    offsets = plan(found)
    end = max((offset + demand.bytes for offset, demand in zip(offsets, found, strict=True)), default=0)
    live = max((sum(d.bytes for d in found if d.first <= step <= d.last) for step in range(30)), default=0)
    assert live <= end <= sum(-(-d.bytes // ALIGNMENT) * ALIGNMENT for d in found)


def test_a_chain_takes_the_largest_pair() -> None:
    """Sizes 64, 256, 128, 64 one after the other: 256 + 128 at most, and no more is needed."""
    chain = [Demand(64, 0, 1), Demand(256, 1, 2), Demand(128, 2, 3), Demand(64, 3, 4)]
    offsets = plan(chain)
    assert max(offset + d.bytes for offset, d in zip(offsets, chain, strict=True)) == 384


def test_the_best_gap_is_taken() -> None:
    """Behind 1024 and between two of 512 there are gaps of 128 and 64 bytes; 64 bytes go into the smaller one."""
    fixed = [Demand(1024, 0, 9), Demand(512, 0, 9)]
    found = [*fixed, Demand(128, 0, 2), Demand(64, 3, 5), Demand(64, 4, 5)]
    offsets = plan(found)
    assert offsets[3] == offsets[2] == 1536
    assert offsets[4] == 1600
