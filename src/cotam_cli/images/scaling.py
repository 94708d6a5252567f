"""Smaller pictures."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scale_down(
    rgb: Image.Image, alpha: Image.Image | None, size: tuple[int, int], max_side: int | None
) -> tuple[Image.Image, Image.Image | None]:
    """With a Lanczos filter as wide as the steps, so that nothing aliases; never up."""
    if max_side is None or max(size) <= max_side:
        return rgb, alpha
    scale = max_side / max(size)
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    if alpha is None:
        return rgb.resize(small, Image.Resampling.LANCZOS), None
    rgb = rgb.copy()
    rgb.putalpha(alpha)
    rgba = rgb.resize(small, Image.Resampling.LANCZOS)  # Pillow weighs the colours by alpha
    return rgba.convert("RGB"), rgba.getchannel("A")


def fit(
    pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Scale uint8 [h, w, 3] (and alpha [h, w]) down to fit into width and height; never up."""
    height, width = pixels.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    if scale >= 1:
        return pixels, alpha
    small = max(1, round(width * scale)), max(1, round(height * scale))
    # reducing_gap: plain averages first where much is left out, which is several times as fast.
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if alpha is None:
        return np.asarray(image.resize(small, Image.Resampling.LANCZOS, reducing_gap=3.0)), None
    image.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    both = np.asarray(image.resize(small, Image.Resampling.LANCZOS))
    return np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3])
