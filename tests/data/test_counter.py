"""Random numbers by key and counter: Philox4x32-10 against published answers and whole-number arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_by_pixel import philox as whole_philox

from netdsl.data.counter import philox, shuffled, uniforms

WORD = st.integers(0, 2**32 - 1)

# The known answers that come with the authors' Random123 library (kat_vectors, philox4x32 10).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(*values: int) -> list[np.ndarray]:
    return [np.array([value], np.uint64) for value in values]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert tuple(int(word[0]) for word in philox(words(*counter), key)) == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(WORD, min_size=4, max_size=4), st.tuples(WORD, WORD))
def test_whole_numbers_give_the_same(counter: list[int], key: tuple[int, int]) -> None:
    assert [int(word[0]) for word in philox(words(*counter), key)] == whole_philox(counter, list(key))


def test_counter_and_key_are_laid_out_as_documented() -> None:
    seed, epoch, index, stream = 0x123456789ABCDEF0, 7, 41, 3
    found = uniforms(seed, epoch, np.array([index]), stream, 6)[:, 0]
    blocks = [whole_philox([block, stream, epoch, index], [0x9ABCDEF0, 0x12345678]) for block in (0, 1)]
    assert found.tolist() == [word / 2**32 for word in (*blocks[0], *blocks[1])][:6]


def test_numbers_hang_on_nothing_but_their_own_image() -> None:
    together = uniforms(5, 2, np.arange(100), 1, 9)
    alone = np.concatenate([uniforms(5, 2, np.array([n]), 1, 9) for n in range(100)], axis=1)
    assert (together == alone).all()
    assert (uniforms(5, 2, np.arange(100), 1, 4) == together[:4]).all()


@pytest.mark.parametrize("other", [(6, 2, 1), (5, 3, 1), (5, 2, 2), (5 + 2**40, 2, 1)])
def test_another_seed_epoch_or_stream_gives_other_numbers(other: tuple[int, int, int]) -> None:
    seed, epoch, stream = other
    assert not np.isin(uniforms(seed, epoch, np.arange(50), stream, 4), uniforms(5, 2, np.arange(50), 1, 4)).any()


def test_numbers_are_even() -> None:
    values = uniforms(1, 0, np.arange(50_000), 0, 4)
    assert values.min() >= 0 and values.max() < 1
    # The standard error of the mean of 200,000 uniform numbers is 6.5e-4, that of the mean square about 6.7e-4.
    assert abs(values.mean() - 1 / 2) < 4e-3
    assert abs((values**2).mean() - 1 / 3) < 4e-3
    assert abs(np.corrcoef(values)[np.triu_indices(4, 1)]).max() < 0.03


def test_an_epoch_is_a_permutation_of_its_own() -> None:
    indices = np.arange(10, 1010)
    first, again, later = shuffled(indices, 1, 0), shuffled(indices, 1, 0), shuffled(indices, 1, 1)
    assert (first == again).all() and (np.sort(first) == indices).all()
    assert (first == later).sum() < 20 and (first == indices).sum() < 20


def test_an_image_more_leaves_the_order_of_the_others() -> None:
    fewer, more = shuffled(np.arange(100), 3, 4), shuffled(np.arange(101), 3, 4)
    assert (more[more != 100] == fewer).all()
