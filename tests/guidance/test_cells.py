"""Fields on cells: resampling, normalising, levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotam_cli.errors import GuideError
from cotam_cli.guidance.cells import normalise, resample, soften, to_levels

SIDES = st.integers(1, 200)


def test_a_map_of_the_cells_own_grid_comes_back_unchanged():
    field = np.random.default_rng(0).random((16, 24))
    assert np.allclose(resample(field, (512, 768), 32), field, atol=1e-12)
    assert np.allclose(
        resample(field, (500, 740), 32), field, atol=1e-12
    )  # the last cells reach over the edge


@given(SIDES, SIDES, st.integers(1, 40), st.integers(1, 40), st.sampled_from([16, 32, 64]))
def test_any_size_becomes_cells_within_the_maps_range(height, width, rows, columns, cell):
    field = np.random.default_rng(rows * 41 + columns).random((rows, columns))
    cells = resample(field, (height, width), cell)
    assert cells.shape == (-(-height // cell), -(-width // cell))
    assert field.min() - 1e-9 <= cells.min()
    assert cells.max() <= field.max() + 1e-9


def test_what_is_bright_stays_where_it_was():
    field = np.zeros((100, 150))
    field[50:75, 100:125] = 1  # the third quarter down, the fifth sixth across
    cells = resample(field, (512, 768), 64)
    assert np.unravel_index(cells.argmax(), cells.shape) in {(4, 8), (4, 9), (5, 8), (5, 9)}
    assert cells[:3].max() == 0


def test_normalise():
    normal = normalise(np.array([[1.0, 3.0], [5.0, 7.0]]))
    assert normal.mean() == pytest.approx(0)
    assert normal.std() == pytest.approx(1)
    assert not normalise(np.full((4, 4), 3.3)).any()
    assert not normalise(np.zeros((4, 4))).any()
    assert np.abs(normalise(np.array([[0.0, 0.2]]), floor=1.0)).max() == pytest.approx(0.1)


def test_three_levels_by_mean_and_deviation():
    field = np.array([[-1.0, -0.74, -0.76, 0.0, 0.74, 0.76, 1.0]])
    field /= field.std()
    expected = np.digitize(field, [-0.75, 0.75])
    assert np.array_equal(to_levels(field, 3, 0.75), expected)
    assert np.array_equal(to_levels(5 * field + 100, 3, 0.75), expected)
    assert to_levels(field, 3, 0.75).dtype == np.uint8


@given(st.integers(2, 15), st.floats(0.1, 3))
def test_levels_rise_with_the_field_around_the_middle(count, k):
    levels = to_levels(np.linspace(-4, 4, 161)[None], count, k)[0]
    assert (np.diff(levels.astype(int)) >= 0).all()
    assert np.array_equal(levels, count - 1 - levels[::-1]) or count % 2 == 0
    assert levels.max() <= count - 1


def test_a_flat_field_keeps_everything():
    assert (to_levels(np.full((3, 5), 0.2), 3, 0.75) == 1).all()


@pytest.mark.parametrize(
    ("count", "k", "word"),
    [
        (1, 0.75, "levels"),
        (16, 0.75, "levels"),
        (3, 0, "k"),
        (3, float("nan"), "k"),
        (3, 10.01, "k 10.01 .* at most 10"),
    ],
)
def test_options_out_of_range(count, k, word):
    with pytest.raises(GuideError, match=word):
        to_levels(np.eye(3), count, k)


def test_the_largest_k_is_in_range():
    assert (to_levels(np.eye(3), 3, 10) == 1).all()


def test_values_that_are_no_numbers():
    with pytest.raises(GuideError, match="no numbers"):
        to_levels(np.array([[1.0, float("nan")]]), 3, 0.75)


def test_soft_borders_keep_the_mean_of_the_inside_and_flat_fields():
    field = np.zeros((5, 7))
    field[2, 3] = 16
    assert soften(field).sum() == 16
    assert soften(field)[2].tolist() == [0, 0, 2, 4, 2, 0, 0]
    assert np.array_equal(soften(np.full((1, 1), 3.0)), np.full((1, 1), 3.0))
