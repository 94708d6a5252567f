"""The README's pictures: one crop as the original and as each codec gives it back from files of about equal size.

python benchmarks/side_by_side.py PICTURE BPP OUT.jpg [LEFT TOP]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cotam_cli.bench.codecs import anchors, cotam, encode_near
from cotam_cli.bench.metrics import psnr
from cotam_cli.bench.pictures import load_pixels

ROOT = Path(__file__).parents[1]
CROP = (250, 220)  # width, height
PARROT = (300, 60)  # left, top
ZOOM = 2
STRIP = 44  # pixels of caption
NAMES = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF", "cotam:human": "cotam"}


def panel(pixels: np.ndarray, place: tuple[int, int], caption: str) -> Image.Image:
    left, top = place
    crop = Image.fromarray(pixels).crop((left, top, left + CROP[0], top + CROP[1]))
    crop = crop.resize((crop.width * ZOOM, crop.height * ZOOM), Image.Resampling.BICUBIC)
    result = Image.new("RGB", (crop.width, crop.height + STRIP), "white")
    result.paste(crop, (0, STRIP))
    ImageDraw.Draw(result).text((10, 9), caption, fill="black", font=ImageFont.load_default(22))
    return result


def main() -> None:
    picture, bpp, target = Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    place = (int(sys.argv[4]), int(sys.argv[5])) if len(sys.argv) > 4 else PARROT
    pixels = load_pixels(picture)
    found, _ = anchors()
    panels = [panel(pixels, place, f"original, {picture.stat().st_size:,} bytes without loss")]
    for codec in (*(c for c in found if c.name in NAMES), cotam(target="human")):
        encoded = encode_near(codec, pixels, bpp)
        decoded = codec.decode(encoded.data)
        text = f"{NAMES[codec.name]}, {len(encoded.data):,} bytes, {psnr(pixels, decoded):.1f} dB"
        panels.append(panel(decoded, place, text))
        print(text, f"{encoded.bpp:.3f} bpp, setting {encoded.setting:g}")
    chosen = [panels[0], *panels[2:]] if len(panels) > 4 else panels
    width, height = chosen[0].size
    sheet = Image.new("RGB", (2 * width + 8, 2 * height + 8), "white")
    for k, part in enumerate(chosen[:4]):
        sheet.paste(part, ((k % 2) * (width + 8), (k // 2) * (height + 8)))
    sheet.save(target, quality=90)


if __name__ == "__main__":
    main()
