"""Curves as SVG: drawn here and not by a plotting library, so that the report stays small, follows the reader's
light or dark scheme, and can be walked through by keyboard.

Colour is never the only sign: every codec has a mark and a dash pattern of its own. The colours stay apart for
colour-blind readers (after Okabe and Ito, darkened on white and lightened on black to a contrast of 3:1 and more).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 620, 420
LEFT, RIGHT, TOP, BOTTOM = 54, 92, 34, 50  # margins
APART = 18  # between two labels, for phones too, whose letters are larger
LIGHT = ("#0060a8", "#b34700", "#007a5a", "#9a3f78", "#7d6000", "#3a7ca5", "#5b5b5b", "#b3261e")
DARK = ("#56b4e9", "#ff9b4a", "#2fc498", "#e59ac4", "#e8c547", "#9ad0ec", "#bdbdbd", "#ff8a80")
DASHES = ("none", "7 4", "2 3", "9 3 2 3", "12 5", "4 4", "1 4", "6 2 1 2")
MARKS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-5L4.6,3.6H-4.6z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,5L4.6,-3.6H-4.6z",
    "M-4,-1.3h2.7v-2.7h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7z",
    "M-5,-2h10v4h-10z",
    "M-2,-5h4v10h-4z",
)

RATE = "bits per pixel"
Curve = Sequence[tuple[float, float]]  # (bits per pixel, or another number across; value)


def _placed(value: float, across: str) -> float:
    return math.log(max(value, 1e-6)) if across == RATE else value


@dataclass(frozen=True)
class Axes:
    """Where values lie in the drawing: bits per pixel by their logarithm, other things across and the measure as
    they are."""

    x0: float
    x1: float
    y0: float
    y1: float
    across: str = RATE

    @classmethod
    def around(cls, points: Curve, across: str = RATE) -> Axes:
        """Room for all points, and a little more."""
        xs = [_placed(x, across) for x, _ in points]
        ys = [y for _, y in points]
        x_room, y_room = max(max(xs) - min(xs), 0.1) * 0.04, max(max(ys) - min(ys), 1e-3) * 0.06
        return cls(min(xs) - x_room, max(xs) + x_room, min(ys) - y_room, max(ys) + y_room, across)

    def x(self, value: float) -> float:
        """Pixels from the left."""
        share = (_placed(value, self.across) - self.x0) / (self.x1 - self.x0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> list[float]:
        """Round values across."""
        if self.across == RATE:
            return rate_ticks(math.exp(self.x0), math.exp(self.x1))
        return [tick for tick in even_ticks(self.x0, self.x1) if tick == int(tick)]

    def y(self, value: float) -> float:
        """Pixels from the top."""
        share = (value - self.y0) / (self.y1 - self.y0)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def figure(
    curves: Mapping[str, Curve],
    *,
    title: str,
    unit: str,
    styles: Mapping[str, int],
    reference: float | None = None,
    across: str = RATE,
) -> str:
    """One SVG element with a curve a codec over bits per pixel, or over whole numbers; those without points are not
    drawn.

    Args:
        curves: by codec.
        title: what is measured.
        unit: of the values, "dB" or "%", behind them.
        styles: each codec's colour, mark and dash, the same in every figure of a report.
        reference: the value of the originals, as a level line.
        across: what the curves' first numbers are; all but bits per pixel are drawn as they are.
    """
    curves = {name: points for name, points in curves.items() if points}
    everything = [point for points in curves.values() for point in points]
    if not everything:
        return f'<p class="none">{escape(title)}: nothing to draw</p>'
    if reference is not None:
        everything.append((everything[0][0], reference))
    axes = Axes.around(everything, across)
    parts = [*_grid(axes, unit), f'<text class="title" x="{LEFT}" y="20">{escape(title)} ({unit})</text>']
    if reference is not None:
        parts.append(_reference(axes, reference))
    parts += [_curve(axes, name, points, styles[name], unit) for name, points in curves.items()]
    parts += _labels(axes, curves, styles)
    label = escape(f"{title} over {across}, {', '.join(curves)}", quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _grid(axes: Axes, unit: str) -> list[str]:
    parts = []
    for value in axes.ticks():
        x = axes.x(value)
        parts.append(f'<path class="grid" d="M{x},{TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x}" y="{HEIGHT - BOTTOM + 17}">{value:g}</text>'
        )
    for value in even_ticks(axes.y0, axes.y1):
        y = axes.y(value)
        parts.append(f'<path class="grid" d="M{LEFT},{y}H{WIDTH - RIGHT}"/>')
        shown = f"{100 * value:g}" if unit == "%" else f"{value:g}"
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{y + 4}">{shown}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" text-anchor="middle" x="{middle}" y="{HEIGHT - 8}">{escape(axes.across)}'
        f"{' (log scale)' if axes.across == RATE else ''}</text>"
    )
    return parts


def _reference(axes: Axes, value: float) -> str:
    y = axes.y(value)
    return (
        f'<path class="reference" d="M{LEFT},{y}H{WIDTH - RIGHT}"/>'
        f'<text class="tick" x="{LEFT + 6}" y="{y - 5}">originals</text>'
    )


def _curve(axes: Axes, name: str, points: Curve, style: int, unit: str) -> str:
    k = style % len(MARKS)
    path = " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in points)
    own = " own" if name == "cotam" else ""
    marks = []
    for x, y in points:
        where = f"{x:.3f} bpp" if axes.across == RATE else f"{axes.across} {x:g}"
        said = escape(f"{name}: {where}, {shown(y, unit)}", quote=True)
        marks.append(
            f'<path class="mark" d="{MARKS[k]}" transform="translate({axes.x(x)},{axes.y(y)})" data-says="{said}">'
            f"<title>{said}</title></path>"
        )
    return (
        f'<g class="curve s{k}{own}" data-codec="{escape(name, quote=True)}">'
        f'<polyline points="{path}" stroke-dasharray="{DASHES[k]}"/>{"".join(marks)}</g>'
    )


def shown(value: float, unit: str) -> str:
    """A value with its unit: shares are kept as 0..1 and shown in per cent."""
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.2f} {unit}"


def _labels(axes: Axes, curves: Mapping[str, Curve], styles: Mapping[str, int]) -> list[str]:
    """Names to the right, pushed apart, each with a thin line from the end of its curve."""
    ends = sorted((axes.y(points[-1][1]), axes.x(points[-1][0]), name) for name, points in curves.items())
    places: list[float] = []
    for y, _, _ in ends:
        places.append(max(y, places[-1] + APART) if places else y)
    over = max(0.0, places[-1] - (HEIGHT - BOTTOM))
    parts = []
    for (y, x, name), place in zip(ends, places, strict=True):
        to, k = round(place - over, 1), styles[name] % len(MARKS)
        short = escape(name if len(name) <= 10 else f"{name[:9]}…")
        parts.append(
            f'<g class="label s{k}" data-codec="{escape(name, quote=True)}"><path class="lead" '
            f'd="M{x + 7:.1f},{y}L{WIDTH - RIGHT + 2},{to}"/>'
            f'<text x="{WIDTH - RIGHT + 6}" y="{to + 4:.1f}">{short}</text></g>'
        )
    return parts


def legend_mark(style: int) -> str:
    """A small drawing of a codec's line and mark."""
    k = style % len(MARKS)
    return (
        f'<svg class="key s{k}" viewBox="0 0 36 12" width="36" height="12" aria-hidden="true">'
        f'<path class="line" d="M0,6H36" stroke-dasharray="{DASHES[k]}"/>'
        f'<path class="mark" d="{MARKS[k]}" transform="translate(18,6)"/></svg>'
    )


def rate_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two rates; all digits where these are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [float(f"{digit * 10.0**power:.6g}") for power in powers for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            break
    return inside


def even_ticks(low: float, high: float) -> list[float]:
    """Four to nine round values between two."""
    rough = (high - low) / 9
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= 0.8 * rough)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def colours() -> str:
    """The style sheet of the curves, for a page or within a single SVG file."""

    def scheme(tones: Sequence[str]) -> str:
        return "".join(f".s{k}{{--c:{tone}}}" for k, tone in enumerate(tones))

    return (
        scheme(LIGHT) + ".curves{--ink:#1b1b1b;--faint:#d9d9d9;--paper:#ffffff}"
        f"@media(prefers-color-scheme:dark){{{scheme(DARK)}"
        ".curves{--ink:#ececec;--faint:#3c3f44;--paper:#16181c}}"
        ".curves text{font:13px system-ui,sans-serif;fill:var(--ink)}.curves .title{font-weight:600}"
        ".curves .tick{font-size:12px}.grid{stroke:var(--faint);fill:none}"
        ".reference{stroke:var(--ink);stroke-dasharray:2 4;fill:none}"
        ".curve polyline{fill:none;stroke:var(--c);stroke-width:1.6}.own polyline{stroke-width:3}"
        ".mark{fill:var(--c);stroke:none}.line{stroke:var(--c);stroke-width:2;fill:none}"
        ".curves .label text{fill:var(--c);font-weight:600}.lead{stroke:var(--c);opacity:.45;fill:none}"
    )


def page_of(figures: Sequence[str]) -> str:
    """One SVG file of several figures, two in a row, that stands alone."""
    across = min(2, len(figures))
    width, height = across * WIDTH, -(-len(figures) // 2) * HEIGHT
    placed = "".join(
        part.replace(
            "<svg ",
            f'<svg x="{WIDTH * (k % 2)}" y="{HEIGHT * (k // 2)}" width="{WIDTH}" height="{HEIGHT}" ',
            1,
        )
        for k, part in enumerate(figures)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><style>{colours()}.back{{fill:var(--paper)}}</style>'
        f'<rect class="back" width="{width}" height="{height}"/>{placed}</svg>\n'
    )
