"""Drawn training pictures: documents, receipts, tables, charts, user interfaces, code and signs.

Small text is what users lose first, and free photographs hold little of it. Every picture is made from a seed;
words are made-up syllables, numbers and codes in whatever fonts the machine has.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
ONSETS = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "st",
    "tr",
    "ch",
    "sh",
    "pl",
    "br",
    "gr",
]
NUCLEI = ["a", "e", "i", "o", "u", "ai", "ee", "ou", "ea", "io"]
CODAS = ["", "", "", "n", "r", "s", "t", "l", "m", "nd", "ng", "rt", "ck"]

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Painter = Callable[[random.Random, int, int], Image.Image]


@lru_cache(maxsize=1)
def font_files() -> tuple[str, ...]:
    """Every TrueType and OpenType file with Latin letters in the usual places, sorted."""
    found = (
        p for folder in FONT_FOLDERS for p in Path(folder).rglob("*") if p.suffix.lower() in (".ttf", ".otf")
    )
    return tuple(sorted(str(p) for p in found if _has_letters(str(p))))


def _has_letters(path: str) -> bool:
    """False for a font that shows the same box for every letter, as one of another script does."""
    try:
        face = ImageFont.truetype(path, 24)
    except OSError:
        return False
    masks = [face.getmask(letter) for letter in "agR3\U000fffff"]
    return len({(mask.size, bytes(mask)) for mask in masks}) == len(masks)


@lru_cache(maxsize=512)
def _load(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)


def font(rng: random.Random, size: int) -> Font:
    """A random font of this many pixels; Pillow's own where the machine has none."""
    for _ in range(5):
        if not font_files():
            break
        try:
            return _load(rng.choice(font_files()), size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def word(rng: random.Random) -> str:
    """A made-up word, number, price, date or code."""
    kind = rng.random()
    if kind < 0.72:
        text = "".join(
            rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS)
            for _ in range(rng.choice((1, 1, 2, 2, 3)))
        )
        return text.upper() if rng.random() < 0.08 else text.capitalize() if rng.random() < 0.2 else text
    if kind < 0.82:
        return str(rng.randrange(10 ** rng.randint(1, 6)))
    if kind < 0.9:
        return f"{rng.choice(['', '$', '-'])}{rng.randrange(2000)}.{rng.randrange(100):02d}"
    if kind < 0.95:
        return f"{rng.randint(1, 28):02d}/{rng.randint(1, 12):02d}/{rng.randint(1990, 2030)}"
    return "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789-_:#") for _ in range(rng.randint(4, 12)))


def words(rng: random.Random, count: int) -> str:
    return " ".join(word(rng) for _ in range(count))


def _colours(rng: random.Random) -> tuple[Colour, Colour]:
    """(paper, ink) with enough contrast: mostly dark on light, sometimes the reverse, sometimes coloured."""

    def shade(low: int, high: int) -> Colour:
        grey = rng.randint(low, high)
        spread = rng.choice((0, 0, 8, 30))
        red, green, blue = (min(255, max(0, grey + rng.randint(-spread, spread))) for _ in range(3))
        return red, green, blue

    light, dark = shade(215, 255), shade(0, 70)
    return (dark, light) if rng.random() < 0.25 else (light, dark)


def _lines(
    draw: ImageDraw.ImageDraw, rng: random.Random, box: tuple[int, int, int, int], size: int, ink: Colour
) -> None:
    """Fill a box with lines of text."""
    face, (left, top, right, bottom) = font(rng, size), box
    y = top
    while y + size < bottom:
        text = words(rng, max(1, (right - left) // max(1, size * 3)))
        draw.text((left, y), text, fill=ink, font=face)
        y += round(size * rng.uniform(1.15, 1.5))
        if rng.random() < 0.1:
            y += size


def document(rng: random.Random, width: int, height: int) -> Image.Image:
    """A page of paragraphs in one or two columns, with headings."""
    paper, ink = _colours(rng)
    page = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(page)
    columns, margin = rng.choice((1, 1, 2)), rng.randint(10, 50)
    span = (width - margin * (columns + 1)) // columns
    for column in range(columns):
        left, y = margin + column * (span + margin), margin
        while y < height - margin:
            size = rng.choice((9, 10, 11, 12, 13, 14, 16, 18, 22))
            end = min(height - margin, y + rng.randint(4, 14) * size)
            if rng.random() < 0.3:
                draw.text((left, y), words(rng, 3), fill=ink, font=font(rng, size * 2))
                y += size * 3
            _lines(draw, rng, (left, y, left + span, end), size, ink)
            y = end + size
    return page


def receipt(rng: random.Random, width: int, height: int) -> Image.Image:
    """Items and prices in two columns on noisy paper, a little rotated and blurred."""
    paper = rng.randint(205, 252)
    page = Image.new("RGB", (width, height), (paper,) * 3)
    draw, size = ImageDraw.Draw(page), rng.randint(11, 20)
    face, ink, y = font(rng, size), (rng.randint(0, 110),) * 3, 20
    left, right = rng.randint(10, width // 4), width - rng.randint(10, width // 4)
    while y < height - 2 * size:
        draw.text((left, y), words(rng, rng.randint(1, 3)).upper(), fill=ink, font=face)
        if rng.random() < 0.6:
            draw.text(
                (right - 4 * size, y), f"{rng.randrange(300)}.{rng.randrange(100):02d}", fill=ink, font=face
            )
        if rng.random() < 0.1:
            draw.line((left, y - 2, right, y - 2), fill=ink)
        y += round(size * 1.4)
    page = page.rotate(rng.uniform(-2, 2), Image.Resampling.BICUBIC, fillcolor=(paper,) * 3)
    noise = Image.effect_noise((width, height), rng.uniform(4, 20)).convert("RGB")
    page = Image.blend(page, noise, rng.uniform(0.0, 0.12))
    return page.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9))) if rng.random() < 0.5 else page


def table(rng: random.Random, width: int, height: int) -> Image.Image:
    """A ruled table with a shaded header."""
    paper, ink = _colours(rng)
    page = Image.new("RGB", (width, height), paper)
    draw, size = ImageDraw.Draw(page), rng.randint(10, 18)
    face, columns, step = font(rng, size), rng.randint(3, 9), round(size * rng.uniform(1.5, 2.4))
    rule: Colour = tuple((a + b) // 2 for a, b in zip(paper, ink, strict=True))  # type: ignore[assignment]
    draw.rectangle((0, 0, width, step), fill=rule)
    for row in range(height // step):
        draw.line((0, row * step, width, row * step), fill=rule)
        for column in range(columns):
            draw.text((column * width // columns + 4, row * step + step // 5), word(rng), fill=ink, font=face)
    for column in range(columns):
        draw.line((column * width // columns, 0, column * width // columns, height), fill=rule)
    return page


def chart(rng: random.Random, width: int, height: int) -> Image.Image:
    """Bars or lines with axes, ticks, labels and a legend, drawn at twice the size for smooth lines."""
    paper, ink = _colours(rng)
    page = Image.new("RGB", (2 * width, 2 * height), paper)
    draw, size = ImageDraw.Draw(page), 2 * rng.randint(9, 14)
    face, left, bottom = font(rng, size), 7 * size, 2 * height - 4 * size
    hues: list[Colour] = [
        (rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(rng.randint(1, 5))
    ]
    count = rng.randint(4, 14)
    span = (2 * width - left - size) / count
    draw.text((left, size // 2), words(rng, 4), fill=ink, font=font(rng, round(size * 1.4)))
    for k in range(6):
        y = bottom - k * (bottom - 4 * size) // 5
        draw.line(
            (left, y, 2 * width - size, y),
            fill=tuple((3 * a + b) // 4 for a, b in zip(paper, ink, strict=True)),
        )
        draw.text((size, y - size // 2), str(k * rng.choice((5, 20, 250))), fill=ink, font=face)
    bars = rng.random() < 0.5
    for number, hue in enumerate(hues):
        values = [bottom - rng.random() * (bottom - 5 * size) for _ in range(count)]
        points = [(left + (k + 0.5) * span, y) for k, y in enumerate(values)]
        if bars:
            wide = span * 0.8 / len(hues)
            for x, top in points:
                start = x - span * 0.4 + number * wide
                draw.rectangle((start, top, start + wide, bottom), fill=hue)
        else:
            draw.line(points, fill=hue, width=rng.randint(2, 7))
        draw.text((2 * width - 9 * size, (5 + 1.5 * number) * size), word(rng), fill=hue, font=face)
    for k in range(count):
        draw.text((left + k * span, bottom + size // 2), word(rng)[:6], fill=ink, font=face)
    return page.resize((width, height), Image.Resampling.LANCZOS)


def interface(rng: random.Random, width: int, height: int) -> Image.Image:
    """Overlapping windows with title bars, buttons, fields, lists and icons."""
    paper, _ = _colours(rng)
    page = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(page)
    for _ in range(rng.randint(2, 5)):
        paper, ink = _colours(rng)
        accent = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        left, top = rng.randint(0, width // 2), rng.randint(0, height // 2)
        right, bottom = (
            rng.randint(left + width // 3, width + 60),
            rng.randint(top + height // 3, height + 60),
        )
        size = rng.randint(10, 16)
        face = font(rng, size)
        draw.rounded_rectangle((left, top, right, bottom), rng.choice((0, 4, 10)), fill=paper, outline=ink)
        draw.rectangle((left, top, right, top + 2 * size), fill=accent)
        draw.text((left + size, top + size // 3), words(rng, 3), fill=paper, font=face)
        y = top + 3 * size
        while y < bottom - 3 * size:
            kind, x = rng.random(), left + size
            if kind < 0.3:
                draw.rounded_rectangle(
                    (x, y, x + 9 * size, y + 2 * size),
                    4,
                    fill=accent if rng.random() < 0.4 else None,
                    outline=ink,
                )
                draw.text((x + size, y + size // 3), word(rng), fill=ink, font=face)
            elif kind < 0.45:
                draw.ellipse(
                    (x, y, x + size, y + size), outline=ink, fill=accent if rng.random() < 0.5 else None
                )
                draw.text((x + 2 * size, y), words(rng, 3), fill=ink, font=face)
            else:
                draw.text((x, y), words(rng, rng.randint(2, 8)), fill=ink, font=face)
            y += round(size * rng.uniform(1.5, 2.6))
    return page


def code(rng: random.Random, width: int, height: int) -> Image.Image:
    """A source listing: one font, coloured tokens, line numbers."""
    paper, ink = _colours(rng)
    page = Image.new("RGB", (width, height), paper)
    draw, size = ImageDraw.Draw(page), rng.randint(11, 18)
    face = font(rng, size)
    hues: list[Colour] = [ink] * 3 + [
        tuple(round((a + 2 * rng.randrange(256)) / 3) for a in ink)  # type: ignore[misc]
        for _ in range(5)
    ]
    step = round(size * 1.35)
    for row in range(height // step):
        draw.text((4, row * step), str(row + 1), fill=hues[-1], font=face)
        x = (4 + 2 * rng.randint(0, 4)) * size
        for _ in range(rng.randint(0, 9)):
            token = rng.choice((word(rng), "= ", "(", ")", "{", "}", "->", "==", ";", ":", "+"))
            draw.text((x, row * step), token, fill=rng.choice(hues), font=face)
            x += round(face.getlength(token)) + size // 2
    return page


def sign(rng: random.Random, width: int, height: int) -> Image.Image:
    """Large lettering on gradients and shapes."""
    ramp = Image.linear_gradient("L").resize((width, height)).rotate(rng.choice((0, 90, 180, 270)))
    ends = [Image.new("RGB", (width, height), tuple(rng.randrange(256) for _ in range(3))) for _ in range(2)]
    page = Image.composite(ends[0], ends[1], ramp.resize((width, height)))
    draw = ImageDraw.Draw(page)
    for _ in range(rng.randint(3, 12)):
        x, y = rng.randrange(width), rng.randrange(height)
        hue = tuple(rng.randrange(256) for _ in range(3))
        if rng.random() < 0.4:
            draw.ellipse((x, y, x + rng.randint(10, 200), y + rng.randint(10, 200)), fill=hue)
        else:
            size = round(math.exp(rng.uniform(math.log(14), math.log(110))))
            draw.text((x - width // 3, y), words(rng, 2), fill=hue, font=font(rng, size))
    return page


PAINTERS: tuple[Painter, ...] = (document, document, receipt, table, chart, interface, interface, code, sign)


def draw_picture(seed: int, width: int = 640, height: int = 640) -> Image.Image:
    """The drawn picture of this seed, RGB."""
    rng = random.Random(seed)
    return rng.choice(PAINTERS)(rng, width, height)
