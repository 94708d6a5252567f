"""What tests of several folders share."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A real photo, 768x512 RGB."""
    return Image.open(Path(__file__).parents[1] / "examples" / "kodim23.png").convert("RGB")
