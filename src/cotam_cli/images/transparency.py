"""Colours and alpha: flattened onto a background, or kept, with something cheap where nothing is seen."""

from PIL import Image

Colour = tuple[int, int, int]


def flatten(rgb: Image.Image, alpha: Image.Image, background: Colour) -> Image.Image:
    """Paint RGB through its alpha (mode L) onto a colour."""
    flat = Image.new("RGB", rgb.size, background)
    flat.paste(rgb, mask=alpha)
    return flat


def fill_hidden(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """Replace the colours of fully transparent pixels by those nearby.

    Files hold anything there, often noise or black. Nobody sees it, but it costs bits, and a lossy codec smears it
    over the edge. Averages of visible pixels at ever coarser steps leave a smooth continuation.
    """
    if min(rgb.size) > 1 or max(rgb.size) > 1:
        rgba = rgb.copy()
        rgba.putalpha(alpha)
        half = (max(1, rgb.width // 2), max(1, rgb.height // 2))
        small = rgba.resize(half, Image.Resampling.BOX)  # Pillow weighs the colours by alpha
        small_alpha = small.getchannel("A")
        inner = small.convert("RGB")
        if small_alpha.getextrema()[0] == 0:
            inner = fill_hidden(inner, small_alpha)
        wide = inner.resize(rgb.size, Image.Resampling.BILINEAR)
        return Image.composite(rgb, wide, alpha.point(lambda value: 255 if value else 0))
    return rgb
