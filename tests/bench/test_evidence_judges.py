"""benchmarks/judges.py: CenterNet's maps become rows of boxes."""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import parser

FILE = Path(__file__).parents[2] / "benchmarks" / "judges.py"
SPEC = importlib.util.spec_from_file_location("judges", FILE)
assert SPEC is not None and SPEC.loader is not None
judges = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(judges)


def test_peaks_become_rows() -> None:
    scores, sides = np.zeros((1, 128, 128, 80), np.float32), np.zeros((1, 128, 128, 4), np.float32)
    scores[0, 10, 20, 7], scores[0, 10, 21, 7], scores[0, 10, 21, 9] = 0.9, 0.8, 0.7  # the second is no peak
    sides[0, 10, 20], sides[0, 10, 21] = (16, 8, 32, 64), (100, 8, 1000, 4)
    session = onnxruntime.InferenceSession(parser.parse_model(judges.ROWS).SerializeToString())
    (rows,) = session.run(None, {"scores": scores, "sides": sides})
    first, second, *rest = rows[0]
    np.testing.assert_allclose(first, [64 / 512, 32 / 512, 112 / 512, 104 / 512, 0.9, 7], rtol=1e-6)
    np.testing.assert_allclose(second, [0, 32 / 512, 1, 44 / 512, 0.7, 9], rtol=1e-6, atol=1e-7)
    assert not np.any([row[4] for row in rest])
