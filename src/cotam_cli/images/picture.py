"""The one form in which pictures travel through cotam: uint8 sRGB, and how large one may be."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import ImageError
from cotam_cli.images.metadata import Metadata

MAX_SIDE = 65535
"""Largest width or height: the .ctm header holds each in 16 bits."""

MAX_PIXELS = 2**28
"""Largest width x height: the default limit of the .ctm format."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, upright.

    Args:
        pixels: uint8 [H, W, 3], sRGB (or of metadata.icc), C-contiguous; may be read-only. Shared, not copied.
        alpha: uint8 [H, W], 255 opaque; None where all is.
        metadata: what was asked to be kept of the file's.
        original_size: width and height before it was scaled down; None where it was not.

    Raises:
        ImageError: another dtype, shape or memory layout, or a size outside the limits.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    original_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or not self.pixels.flags.c_contiguous:
            raise ImageError(
                f"pixels are {dtype} {list(shape)}; give a C-contiguous uint8 array [height, width, 3]"
            )
        check_size(shape[1], shape[0])

    @property
    def width(self) -> int:
        """Pixels from left to right, 1..65535."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom, 1..65535."""
        return int(self.pixels.shape[0])


def check_size(width: int, height: int, name: str = "picture") -> None:
    """Raise ImageError, with `name` in front, where a size is empty or above the limits."""
    if width < 1 or height < 1:
        raise ImageError(f"{name}: {width}x{height} holds no pixels; give at least 1x1")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{name}: {width}x{height} is over {MAX_SIDE} on a side; make it smaller")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width}x{height} is over {MAX_PIXELS} pixels; make it smaller")
