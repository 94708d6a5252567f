"""The codecs that are compared, behind one face: pixels and a setting to bytes, bytes to pixels.

Every anchor is run as a careful user would run it from Python: Pillow, its better settings, one thread, so
that the bytes do not depend on the machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from cotam_cli import api
from cotam_cli.codec.models import records
from cotam_cli.errors import CotamError

Pixels = NDArray[np.uint8]

CLOSE = 0.01  # of a target in bits per pixel: near enough


@dataclass(frozen=True)
class Codec:
    """A codec with the settings that it is measured at.

    encode: uint8 [h, w, 3] sRGB pixels and a setting to the bytes of a whole file; decode: back to pixels of
    the same size. Both raise CotamError or OSError. They can be pickled, for worker processes.
    `about` is for readers; empty for codecs that need no explanation.
    """

    name: str
    version: str  # all that may change the bytes or the pixels: names kept results
    ladder: tuple[float, ...]  # 0.03 to 1.2 bits per pixel on photos, as far as the codec goes, rising
    settings: tuple[float, ...]  # those that `encode_near` may choose, rising rate
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]
    about: str = ""


@dataclass(frozen=True)
class Encoded:
    """A file made by `encode_near`. bpp: bits per pixel; seconds: what this one encode took."""

    data: bytes
    setting: float
    bpp: float
    seconds: float


def bits_per_pixel(data: bytes, pixels: Pixels) -> float:
    """Bits of a file over pixels of the picture."""
    height, width, _ = pixels.shape
    return 8 * len(data) / float(height * width)


def encode_once(codec: Codec, pixels: Pixels, setting: float) -> Encoded:
    """One file, and how long it took."""
    began = time.perf_counter()
    data = codec.encode(pixels, setting)
    return Encoded(data, setting, bits_per_pixel(data, pixels), time.perf_counter() - began)


def encode_near(codec: Codec, pixels: Pixels, bpp: float) -> Encoded:
    """The file nearest to a target in bits per pixel, or the first within 1 % of it, among the codec's settings.

    Takes the rate to rise with the setting, about as its exponential: between two files that were tried the next one
    is where a straight line of ln(bpp) meets the target. A target out of reach gives the lowest or the highest setting.
    """
    low, high = 0, len(codec.settings) - 1
    tried: dict[int, Encoded] = {}
    while low <= high:
        place = _next_place(tried, low, high, bpp)
        tried[place] = encode_once(codec, pixels, codec.settings[place])
        if abs(tried[place].bpp - bpp) < CLOSE * bpp:
            return tried[place]
        if tried[place].bpp < bpp:
            low = place + 1
        else:
            high = place - 1
    return min(tried.values(), key=lambda encoded: abs(encoded.bpp - bpp))


def _next_place(tried: dict[int, Encoded], low: int, high: int, bpp: float) -> int:
    """Which of the settings low..high to try: just outside them lie tried ones, but at the ends. Every third try
    halves what is left, so that a curve of any shape is done with."""
    below, above = tried.get(low - 1), tried.get(high + 1)
    if below is None or above is None or len(tried) % 3 == 2:
        return (low + high) // 2
    part = math.log(bpp / below.bpp) / math.log(above.bpp / below.bpp)
    return min(max(round(low - 1 + part * (high - low + 2)), low), high)


def cotam(guide: str = "auto", target: Literal["mllm", "human"] = "mllm", effort: int = 0) -> Codec:
    """This package's codec with its newest model, through the library's face."""
    record = records()[-1]
    parts = ("cotam", *([] if target == "mllm" else [target]), *([f"effort{effort}"] if effort else []))
    return Codec(
        name=":".join(parts),
        version=f"{record.name}-{record.manifest_sha256[:12]}-{_own_code()}-{guide}-{target}-{effort}",
        ladder=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0),
        settings=tuple(1 + k / 64 for k in range(7 * 64 + 1)),
        encode=partial(_encode_cotam, guide=guide, effort=effort),
        decode=partial(_decode_cotam, target=target),
        about=f"model {record.name}",
    )


@lru_cache(maxsize=1)
def _own_code() -> str:
    """A hash of the source that makes the bytes and the pixels: it changes more often than the version."""
    package, digest = Path(api.__file__).parent, hashlib.sha256()
    for folder in ("codec", "entropy", "bitstream", "guidance", "images"):
        for file in sorted((package / folder).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _encode_cotam(pixels: Pixels, setting: float, guide: str, effort: int) -> bytes:
    return api.encode(pixels, quality=setting, guide=guide, effort=effort)


def _decode_cotam(data: bytes, target: Literal["mllm", "human"]) -> Pixels:
    return np.asarray(api.decode(data, target=target))


# What is fixed for Pillow's writers, and the ladders of `quality`, each from the lowest that there is. AVIF's
# tiles would cost up to 1 % and follow the number of processors.
_JPEG = {"optimize": True, "progressive": True, "subsampling": "4:2:0"}
_WEBP = {"method": 6}
_AVIF = {"speed": 6, "autotiling": False, "max_threads": 1}
_JXL = {"effort": 7, "num_threads": 1}
_LADDERS = {
    "JPEG": (1, 4, 7, 10, 14, 20, 28, 38, 50, 62, 74),
    "WEBP": (0, 1, 3, 6, 11, 18, 28, 40, 55, 70, 80),
    "AVIF": (0, 6, 10, 15, 20, 26, 32, 38, 45, 52, 58, 64),
    "JXL": (0, 3, 7, 19, 22, 26, 33, 45, 58, 70, 78),
}
# libjxl halves the picture from 18 down; 8 to 18 cost more than 19 and give less.
_SETTINGS = {"JPEG": tuple(range(1, 99)), "JXL": (*range(8), *range(19, 99))}


def anchors() -> tuple[list[Codec], dict[str, str]]:
    """The codecs to compare with, and for each that is missing here what to do about it."""
    found, missing = [_pillow_codec("jpeg", "JPEG", _JPEG, f"libjpeg-{features.version('jpg')}")], {}
    for name, kind, options in (("webp", "WEBP", _WEBP), ("avif", "AVIF", _AVIF)):
        if features.check(name):
            found.append(_pillow_codec(name, kind, options, f"lib{name}-{features.version(name)}"))
        else:
            missing[name] = f"this Pillow was built without {name}; install the wheel from PyPI"
    if importlib.util.find_spec("pillow_jxl") is not None:
        found.append(_pillow_codec("jxl", "JXL", _JXL, f"plugin-{version('pillow-jxl-plugin')}"))
    else:
        missing["jxl"] = "pip install pillow-jxl-plugin"
    return found, missing


def _pillow_codec(name: str, kind: str, options: Mapping[str, Any], library: str) -> Codec:
    fixed = "-".join(f"{key}={value}" for key, value in sorted(options.items()))
    return Codec(
        name=name,
        version=f"pillow-{version('pillow')}-{library}-{fixed}".replace(":", ""),
        ladder=tuple(map(float, _LADDERS[kind])),
        settings=tuple(map(float, _SETTINGS.get(kind, range(99)))),
        encode=partial(_encode_pillow, kind=kind, options=dict(options)),
        decode=partial(_decode_pillow, kind=kind),
    )


def _encode_pillow(pixels: Pixels, setting: float, kind: str, options: Mapping[str, Any]) -> bytes:
    _register(kind)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, quality=round(setting), **options)
    return out.getvalue()


def _decode_pillow(data: bytes, kind: str) -> Pixels:
    _register(kind)
    with Image.open(io.BytesIO(data), formats=[kind]) as picture:
        return np.asarray(picture.convert("RGB"))


def _register(kind: str) -> None:
    """Pillow learns JPEG XL when the plugin is imported, in each process anew."""
    if kind == "JXL":
        try:
            importlib.import_module("pillow_jxl")
        except ImportError as error:
            raise CotamError("JPEG XL is missing; pip install pillow-jxl-plugin") from error
