"""Time and memory of one encode and one decode, cold and warm, each in a process of its own with nothing beside it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cotam_cli.bench.codecs import Codec
from cotam_cli.bench.pictures import Picture, load_pixels
from cotam_cli.errors import CotamError
from cotam_cli.processes import alone

REPEATS = 3  # warm ones, of which the median counts


@dataclass(frozen=True)
class Cost:
    """cold: seconds from the start of a fresh Python process to the result, reading the input included.
    warm: seconds of the call alone, median of three. memory: peak of the process in bytes, or of the program
    that it calls where that is more; None where the system does not say."""

    cold: float
    warm: float
    memory: int | None


@dataclass(frozen=True)
class Timing:
    """Of one codec on one picture at one setting."""

    codec: str
    picture: str
    width: int
    height: int
    setting: float
    bytes: int
    encode: Cost
    decode: Cost


@dataclass(frozen=True)
class _Request:
    codec: Codec
    path: Path
    setting: float
    data: bytes | None  # None: encode
    began: float


@dataclass(frozen=True)
class _Reply:
    cost: Cost
    data: bytes


def time_codec(codec: Codec, picture: Picture) -> Timing:
    """Cost of the codec at the middle of its ladder. Raises CotamError, or whatever the codec raises."""
    setting = codec.ladder[len(codec.ladder) // 2]
    coded = _fresh(_Request(codec, picture.path, setting, None, time.time()))
    shown = _fresh(_Request(codec, picture.path, setting, coded.data, time.time()))
    return Timing(
        codec.name,
        picture.name,
        picture.width,
        picture.height,
        setting,
        len(coded.data),
        coded.cost,
        shown.cost,
    )


def _fresh(request: _Request) -> _Reply:
    reply = alone(_measure, request, died=lambda _: None)
    if reply is None:
        raise CotamError("the process was killed, perhaps for want of memory")
    return reply


def _measure(request: _Request) -> _Reply | None:
    codec, data = request.codec, request.data
    if data is None:
        pixels = load_pixels(request.path)

        def call() -> bytes:
            return codec.encode(pixels, request.setting)
    else:
        coded = data

        def call() -> bytes:
            codec.decode(coded)
            return coded

    result = call()
    cold = time.time() - request.began
    memory = peak_memory()
    warm = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        warm.append(time.perf_counter() - began)
    return _Reply(Cost(cold, median(warm), memory), result)


def peak_memory() -> int | None:
    """The most memory that this process, or one that it has called, has had so far, in bytes."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    called = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss of a new process starts at its parent's
        lines = status.read_text().splitlines()
        own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
    else:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max(own, called)
