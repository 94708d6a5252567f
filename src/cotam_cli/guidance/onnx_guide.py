"""Guides that are ONNX files: read, checked, and run over pictures of any size.

A guide takes uint8 `pixels` [n, h, w, 3] and gives one field, or several, on its grid of patches. Its metadata say
what it is:

    cotam.guide    version of this contract, 1
    cotam.patch    pixels a side of a patch; sides of the input are multiples of it
    cotam.native   input side, in pixels, that the network was made for
    cotam.source   where it came from, for people
    cotam.weights  the share of each field, "1" or "0.6 0.4"
    cotam.floors   deviation below which a field counts as quiet, "0" or "0 1.5": no text is no reason to steer
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cotam_cli.errors import CotamError, GuideError
from cotam_cli.guidance.cells import Field, normalise
from cotam_cli.sessions import open_session

VERSION = "1"
BATCH = 8  # tiles in one call: on a CPU more are no faster, and 50 of them would take some 450 MB more

Pixels = NDArray[np.uint8]
Maps = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class OnnxGuide:
    """A guide ready to run. weights: the share of each of its fields in the map; floors: see `normalise`."""

    session: Any
    patch: int
    native: int
    source: str
    weights: tuple[float, ...]
    floors: tuple[float, ...]

    def fields(self, pixels: Pixels) -> Maps:
        """uint8 [n, h, w, 3], sides multiples of `patch`, to float [n, rows, columns, fields]."""
        parts = [
            self.session.run(None, {"pixels": np.ascontiguousarray(pixels[k : k + BATCH])})[0]
            for k in range(0, len(pixels), BATCH)
        ]
        maps = np.concatenate(parts)
        return maps if maps.ndim == 4 else maps[..., None]

    def maps(self, pixels: Pixels) -> list[Field]:
        """One map for each picture: its fields normalised, then summed by their weights."""
        return [self.mix(fields) for fields in self.fields(pixels)]

    def mix(self, fields: Maps) -> Field:
        """float [rows, columns, fields] to one map."""
        parts = [
            share * normalise(fields[..., k], floor)
            for k, (share, floor) in enumerate(zip(self.weights, self.floors, strict=True))
            if share
        ]
        return np.asarray(np.sum(parts, axis=0))

    def input_size(self, size: tuple[int, int], area: float = 1.0) -> tuple[int, int]:
        """Sides (height, width) for a picture of `size`: the native area times `area` at the picture's shape,
        never enlarged, rounded to whole patches."""
        height, width = size
        scale = min(1.0, self.native * (area / (height * width)) ** 0.5)
        down, across = (max(1, round(side * scale / self.patch)) * self.patch for side in (height, width))
        return down, across


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Pixels at (height, width), antialiased."""
    if pixels.shape[:2] == size:
        return pixels
    picture = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(picture)


def load_guide(data: bytes, name: str, threads: int | None = None) -> OnnxGuide:
    """A guide from the bytes of its file; `name` is for errors, `threads` as for `open_session`.

    Raises GuideError for bytes that are no ONNX model, or a model that is no guide, and as `open_session`.
    """
    try:
        session = open_session(data, threads)
    except CotamError:
        raise
    except Exception as error:  # onnxruntime's errors have no common base
        raise GuideError(f"{name} is not a readable ONNX file; make one with: cotam guide export") from error
    facts = dict(session.get_modelmeta().custom_metadata_map)
    if facts.get("cotam.guide") != VERSION:
        raise GuideError(
            f"{name} is an ONNX file but not a guide of version {VERSION}; make one with: cotam guide export"
        )
    try:
        guide = OnnxGuide(
            session,
            int(facts["cotam.patch"]),
            int(facts["cotam.native"]),
            facts["cotam.source"],
            tuple(float(share) for share in facts["cotam.weights"].split()),
            tuple(float(floor) for floor in facts["cotam.floors"].split()),
        )
    except (KeyError, ValueError) as error:
        raise GuideError(f"the guide {name} has damaged metadata ({error}); export it again") from error
    sound = 1 <= guide.patch <= guide.native and len(guide.weights) == len(guide.floors)
    if [item.name for item in session.get_inputs()] != ["pixels"] or not sound:
        raise GuideError(f"the guide {name} has damaged metadata; export it again")
    return guide


def guide_facts(
    patch: int,
    native: int,
    source: str,
    weights: tuple[float, ...] = (1.0,),
    floors: tuple[float, ...] = (0.0,),
) -> dict[str, str]:
    """Metadata for a guide's file."""
    return {
        "cotam.guide": VERSION,
        "cotam.patch": str(patch),
        "cotam.native": str(native),
        "cotam.source": source,
        "cotam.weights": " ".join(f"{share:g}" for share in weights),
        "cotam.floors": " ".join(f"{floor:g}" for floor in floors),
    }
