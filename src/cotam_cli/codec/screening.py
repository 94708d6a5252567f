"""What of a picture goes into the screen layer: whatever costs less there.

Cost is the training's own, bits + lambda x squared error: of the networks' version on one hand, of few colours without
loss on the other. Photographs are told apart first, in a few milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cotam_cli.codec.analysis import analyse, check_quality, code, make_header
from cotam_cli.codec.decoder import DecodedLatents, synthesise
from cotam_cli.codec.encoder import TimedPixels
from cotam_cli.codec.models import load_model
from cotam_cli.codec.palette import (
    CELL,
    COLOURS,
    Cells,
    Costs,
    Drawing,
    can_estimate,
    spread,
    squared_errors,
    sums,
)
from cotam_cli.codec.quality import lambdas, quality_plane
from cotam_cli.codec.screen import Mask, Pixels, Screen, encode_screen, fits
from cotam_cli.codec.steering import expected_costs
from cotam_cli.codec.tiling import BLOCK
from cotam_cli.entropy.latents import Trace

DRAWN = 0.8  # share of pixels equal to the one at their left, in plainly drawn cells
FLAT = 0.25  # and in those that may be
FEWEST = 0.25  # share of the cells that must be plainly drawn: 0.7 to 1 on screens and charts, 0 on photos and scans
NEARLY_ALL = 0.95  # share of the possible cells from which on all are tried
HARDEST, GROWTH = 0.06, 0.44  # the networks' cost of busy pictures, in bits a pixel: 0.06 e^(0.44 quality)
HOPELESS = 16.0  # times that: such cells are not drawn
KEEP, SEAM = 1.5, 40.0  # a cell stays in a part layer up to so many times the networks' cost, and bits
LEGIBLE = 1.25  # times: what the networks lose of type costs a reader more than its squared error says
USUAL = (
    -4.0,
    3.4,
)  # where in COLOURS the best number mostly is: 3 colours at quality 1 to 2, 16 at 4, 100 at 6
MAX_SIDE = 16383  # WebP's, by which sizes are estimated
SAMPLE, SAMPLES = 128, 5  # the sample of a picture of 50 such squares or more: 5x5 squares of 128 pixels
CLEARLY = 0.7  # times the networks' cost of the sample: up to here there is no doubt
BESIDE, SEAMS = 0.02, 1.07  # what latents for a part cost more than their share: bits a pixel, and a factor


def split_screen(pixels: Pixels, quality: float) -> tuple[Pixels, bytes | None]:
    """What the networks shall code of uint8 [h, w, 3] pixels, and the payload of the screen layer beside it.

    The layer is None where none pays. Where it stands for a part of the picture, the rest goes on smoothly there, which
    costs next to nothing.
    """
    screen = plan_screen(pixels, quality)
    if screen is None:
        return pixels, None
    return (pixels if screen.seen is None else _without(pixels, screen.seen)), encode_screen(screen)


def split_frame(frame: TimedPixels, quality: float) -> TimedPixels:
    """`split_screen` of a frame."""
    rest, screen = split_screen(frame.pixels, quality)
    return replace(frame, pixels=rest, screen=screen)


def may_pay(pixels: Pixels) -> bool:
    """True for uint8 [h, w, 3] pixels of a size and look for which a layer is thought of."""
    return _possible(pixels) is not None


def plan_screen(pixels: Pixels, quality: float) -> Screen | None:
    """The best layer for uint8 [h, w, 3] pixels at a quality, None where none pays. Raises CotamError for a quality out
    of range."""
    check_quality(quality)
    cells = _possible(pixels)
    if cells is None:
        return None
    cells |= cells.mean() >= NEARLY_ALL
    start = min(max(round(USUAL[0] + USUAL[1] * quality), 1), len(COLOURS) - 1)
    weight, hopeless = float(lambdas(quality)), HOPELESS * CELL**2 * HARDEST * math.exp(GROWTH * quality)
    drawn = Drawing.of(pixels, cells).best(start, weight)
    if (drawn.costs > hopeless).any():  # once more without these: their colours weighed on the palette
        cells &= drawn.costs <= hopeless
        if not cells.any():
            return None
        drawn = Drawing.of(pixels, cells).best(start, weight)
    if cells.all() and _clearly_cheaper(pixels, drawn.costs, quality):
        return Screen(drawn.pixels, None)
    plain = LEGIBLE * network_costs(pixels, quality)
    kept = cells & (drawn.costs < KEEP * plain + SEAM)
    part = SEAMS * (np.where(kept, drawn.costs, plain).sum() + BESIDE * pixels.shape[0] * pixels.shape[1])
    whole = drawn.costs.sum() if cells.all() else math.inf
    if min(part, whole) > plain.sum() or not kept.any():
        return None
    return Screen(drawn.pixels, None if whole <= part else spread(kept, *pixels.shape[:2]))


def _clearly_cheaper(pixels: Pixels, costs: Costs, quality: float) -> bool:
    """True where a sample of a large picture leaves no doubt that all of it is drawn, which saves most of the time."""
    side = SAMPLE // CELL
    rows, columns = (length // SAMPLE for length in pixels.shape[:2])
    if rows * columns < 2 * SAMPLES**2:
        return False
    chosen = np.random.default_rng(0).permutation(rows * columns)[: SAMPLES**2]
    places = [divmod(int(place), columns) for place in chosen]
    tiles = [pixels[y * SAMPLE : (y + 1) * SAMPLE, x * SAMPLE : (x + 1) * SAMPLE] for y, x in places]
    mosaic = np.vstack([np.hstack(tiles[k : k + SAMPLES]) for k in range(0, SAMPLES**2, SAMPLES)])
    own = sum(costs[y * side : (y + 1) * side, x * side : (x + 1) * side].sum() for y, x in places)
    return bool(own < CLEARLY * LEGIBLE * network_costs(mosaic, quality).sum())


def network_costs(pixels: Pixels, quality: float) -> Costs:
    """What each cell costs as the networks have it, float [rows, columns]."""
    analysis = analyse(pixels, quality, None)
    trace = Trace.empty(analysis.y.shape)
    coded = code(analysis, quality, trace=trace, last=True)
    header = make_header(analysis, quality)
    decoded = DecodedLatents(header, load_model(), quality_plane(header, None), coded.latents)
    bits = expected_costs(analysis.model, trace.sums).sum(-1)
    bits *= 8 * sum(len(payload or b"") for payload in (coded.frame.hyper, coded.frame.latents)) / bits.sum()
    errors = squared_errors(pixels, synthesise(decoded, "human"))
    return sums(bits, CELL // BLOCK) + float(lambdas(quality)) / 3 * errors


def _possible(pixels: Pixels) -> Cells | None:
    """Cells that may be drawn, bool [rows, columns]; None for a picture whose size or look has no place for a layer."""
    height, width = pixels.shape[:2]
    if not fits(height, width) or max(height, width) > MAX_SIDE or not can_estimate():
        return None
    equal = np.zeros((height, width), bool)
    equal[:, 1:] = (pixels[:, 1:] == pixels[:, :-1]).all(-1)
    flat = sums(equal) / sums(np.ones((height, width), bool))
    return flat >= FLAT if (flat >= DRAWN).mean() >= FEWEST else None


def _without(pixels: Pixels, seen: Mask) -> Pixels:
    """The picture with something smooth where the layer is seen."""
    from PIL import Image

    from cotam_cli.images.transparency import fill_hidden

    left = Image.fromarray(np.where(seen, 0, 255).astype(np.uint8))
    return np.asarray(fill_hidden(Image.fromarray(pixels), left))
