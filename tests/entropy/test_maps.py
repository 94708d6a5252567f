"""Importance maps: any levels survive, a map of large areas is cheap, damage is one clear error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotam_cli.entropy.maps import decode_map, encode_map
from cotam_cli.errors import FormatError


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(2, 15), st.integers(0, 2**32))
def test_any_map_survives(rows: int, columns: int, count: int, seed: int) -> None:
    levels = np.random.default_rng(seed).integers(0, count, (rows, columns), dtype=np.uint8)
    payload = encode_map(levels, count)
    assert np.array_equal(decode_map(payload, rows, columns, count), levels)


def test_the_cost_of_a_map() -> None:
    """A region of interest in 16 x 24 cells costs under 0.3 bits a cell; noise little more than log2(3)."""
    levels = np.ones((16, 24), np.uint8)
    levels[4:10, 6:18] = 2
    levels[12:] = 0
    assert len(encode_map(levels, 3)) <= 0.3 * levels.size / 8
    noise = np.random.default_rng(1).integers(0, 3, (16, 24), dtype=np.uint8)
    assert len(encode_map(noise, 3)) <= 1.12 * noise.size * np.log2(3) / 8


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_give_a_map_or_one_kind_of_error(payload: bytes) -> None:
    try:
        levels = decode_map(payload, 7, 9, 3)
    except FormatError:
        return
    assert levels.shape == (7, 9)
    assert levels.max() <= 2


def test_a_zero_at_the_end_is_refused() -> None:
    with pytest.raises(FormatError, match="zero byte"):
        decode_map(b"\x11\x00", 2, 2, 3)
