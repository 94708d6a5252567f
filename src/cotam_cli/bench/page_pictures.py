"""The page's pictures: crops at equal bytes, and importance maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from cotam_cli.bench.codecs import Pixels
from cotam_cli.bench.exhibits import Exhibit, ImportanceMap
from cotam_cli.bench.markup import options, quoted
from cotam_cli.bench.pictures import load_pixels

MAP_SIDE = 640  # pixels, the longer side of the picture under the map


def picture_url(pixels: Pixels, *, lossless: bool = True) -> str:
    """uint8 [h, w, 3] pixels as a data URL."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "WEBP", lossless=lossless, quality=80, method=4)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def crops(exhibits: Sequence[Exhibit]) -> str:
    """For each picture two codecs on top of each other, with a slider between them."""
    if not exhibits:
        return "<p>No picture could be shown.</p>"
    names = [exhibit.picture.name for exhibit in exhibits]
    panels = "".join(
        f'<div class=panel data-panel="{quoted(e.picture.name)}">{_crop(e)}</div>' for e in exhibits
    )
    return (
        f'<div class=bar><label>Picture <select data-shows="crops">{options(names)}</select></label></div>'
        f"<div id=crops class=panels>{panels}</div>"
        "<p class=note>The window with the most edges. Every codec is set to the size that comes nearest to the first "
        "one's; one that cannot go so low is shown at its smallest, with its size beside it.</p>"
    )


def _crop(exhibit: Exhibit) -> str:
    left, top, width, height = exhibit.crop
    sides = [("original", "original", exhibit.original)]
    sides += [(s.codec, f"{s.codec}: {s.bytes:,} bytes, {s.psnr:.1f} dB", s.pixels) for s in exhibit.shown]
    images = "".join(
        f'<img class=crop data-side="{quoted(name)}" data-says="{quoted(said)}" src="{picture_url(pixels)}" '
        f'width={width} height={height} alt="{quoted(said)}">'
        for name, said, pixels in sides
    )
    names = [name for name, _, _ in sides]
    other = next((name for name in ("jpeg", "webp", *names[2:]) if name in names[2:]), names[0])
    return (
        f'<div class=compare style="aspect-ratio:{width}/{height};max-width:{2 * width}px">{images}'
        "<span class=edge></span></div>"
        "<label class=slide>Divide <input type=range min=0 max=100 value=50 class=divide></label>"
        f"<div class=bar><label>Left <select class=left>{options(names, names[1])}</select></label>"
        f"<label>Right <select class=right>{options(names, other)}</select></label></div>"
        f"<p class=sides role=status aria-live=polite></p><p class=note>{width}x{height} pixels at {left}, {top} of "
        f"{escape(exhibit.picture.name)}; sizes are of whole files.</p>"
    )


def maps(exhibits: Sequence[Exhibit]) -> str:
    """Pictures under their maps, as far as the files carry one."""
    with_map = [(exhibit, exhibit.map) for exhibit in exhibits if exhibit.map is not None]
    if not with_map:
        return (
            "<p>The files shown carry no importance map: their bits are spread evenly. "
            "A map is in a .ctm file where a guide steered the bits.</p>"
        )
    return (
        "<label class=slide>Map over picture <input type=range min=0 max=100 value=60 id=opacity></label>"
        f"<div class=maps>{''.join(_map(exhibit, found) for exhibit, found in with_map)}</div>"
        "<p class=note>Brighter cells get more bits.</p>"
    )


def _map(exhibit: Exhibit, found: ImportanceMap) -> str:
    width, height = exhibit.picture.width, exhibit.picture.height
    scale = min(1.0, MAP_SIDE / max(width, height))
    small = Image.fromarray(load_pixels(exhibit.picture.path)).resize(
        (max(1, round(width * scale)), max(1, round(height * scale)))
    )
    rows, columns = found.levels.shape
    size = f'width="{columns * found.cell}" height="{rows * found.cell}"'
    name = exhibit.picture.name
    return (
        f'<figure><svg class=map viewBox="0 0 {width} {height}" role=img aria-label="importance map of {quoted(name)}">'
        f'<image href="{picture_url(np.asarray(small), lossless=False)}" width="{width}" height="{height}"/>'
        f'<image class=cells href="{_veil(found)}" {size} preserveAspectRatio="none"/></svg>'
        f"<figcaption>{escape(name)}: {found.count} levels, "
        f"cells of {found.cell} pixels</figcaption></figure>"
    )


def _veil(found: ImportanceMap) -> str:
    """A pixel a cell, black, the more opaque the lower the level."""
    alpha = np.round(255 * (1 - found.levels / (found.count - 1))).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.stack([np.zeros_like(alpha), alpha], -1)).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
