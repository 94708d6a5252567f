"""What tests of several folders share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# How fast an example runs or is made says how busy the machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A real photo, 768x512 RGB."""
    return Image.open(Path(__file__).parents[1] / "examples" / "kodim23.png").convert("RGB")
