"""Where a picture is quiet."""

import numpy as np

from cotam_cli.guidance.quiet import quiet_field


def test_busy_cells_are_the_lowest():
    pixels = np.full((64, 96, 3), 90, np.uint8)
    pixels[:32, :32] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    field = quiet_field(pixels, 32)
    assert field.shape == (2, 3)
    assert field.argmin() == 0
    assert np.allclose(field.ravel()[1:], 0, atol=1e-3)


def test_cells_over_the_edge():
    field = quiet_field(np.random.default_rng(0).integers(0, 256, (33, 65, 3), dtype=np.uint8), 32)
    assert field.shape == (2, 3)
    assert np.isfinite(field).all()
