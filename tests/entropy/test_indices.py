"""Palette indices come back as they were, in few bytes where they repeat themselves; other bytes do no harm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cotam_cli.entropy.indices import COLUMNS, ROWS, decode_indices, encode_indices
from cotam_cli.errors import FormatError

SIZES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)
RNG = np.random.default_rng(1)


def indices(colours: int) -> st.SearchStrategy[np.ndarray]:
    fill = st.integers(0, colours - 1)
    return SIZES.flatmap(lambda size: hnp.arrays(np.uint8, size, elements=fill, fill=fill))


@settings(deadline=None)
@given(st.integers(1, 256).flatmap(lambda colours: st.tuples(indices(colours), st.just(colours))))
def test_they_come_back(case: tuple[np.ndarray, int]) -> None:
    index, colours = case
    assert np.array_equal(decode_indices(encode_indices(index, colours), *index.shape, colours), index)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 700), (700, 1), (2, 600), (600, 2), (ROWS + 1, 3), (COLUMNS + 1, ROWS + 1)]
)
def test_sizes_at_the_edges_of_tiles(size: tuple[int, int]) -> None:
    index = RNG.integers(0, 3, size, dtype=np.uint8)
    assert np.array_equal(decode_indices(encode_indices(index, 3), *size, 3), index)


def test_noise_takes_little_more_than_its_bits() -> None:
    index = RNG.integers(0, 256, (200, 200), dtype=np.uint8)
    assert len(encode_indices(index, 256)) < 1.25 * index.size


def test_what_repeats_itself_costs_little() -> None:
    glyphs = RNG.integers(0, 2, (8, 12, 9), dtype=np.uint8)
    line = [glyphs[k] for k in RNG.integers(0, 8, 40)]
    page = np.vstack([np.pad(np.hstack(line[k:] + line[:k]), ((4, 4), (2, 2))) for k in range(20)])
    once = sum(len(encode_indices(glyph, 2)) for glyph in glyphs)
    assert len(encode_indices(page, 2)) < 4 * once + 1500  # 800 glyphs
    assert np.array_equal(decode_indices(encode_indices(page, 2), *page.shape, 2), page)


def test_one_colour_takes_next_to_no_bytes() -> None:
    assert len(encode_indices(np.zeros((500, 300), np.uint8), 1)) <= 4


@settings(deadline=None)
@given(st.binary(max_size=60), SIZES, st.integers(1, 256))
def test_any_bytes_give_some_picture_or_an_error(payload: bytes, size: tuple[int, int], colours: int) -> None:
    try:
        found = decode_indices(payload, *size, colours)
    except FormatError:
        return
    assert found.shape == size
    assert found.max() < colours
