"""Animations as .ctm files: as many as their frames need, within a budget where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from cotam_cli.bitstream import MAX_PIXELS, Chunk
from cotam_cli.codec.encoder import TimedPixels, encode_frames
from cotam_cli.codec.screening import split_frame
from cotam_cli.errors import CotamError

FRAMES_PER_FILE = 41  # 255 chunks: at most 6 a frame, and 4 for the file


@dataclass(frozen=True)
class Budget:
    """Bytes that all frames together may have, and bytes of each; None where there is no such limit."""

    whole: int | None
    frame: float | None

    def of(self, frames: int) -> int | None:
        """Bytes of so many frames, None without a limit. Raises CotamError for less than one."""
        limits = [] if self.whole is None else [self.whole]
        if self.frame is not None:
            limits.append(int(self.frame * frames))
        if limits and min(limits) < 1:
            raise CotamError(f"a budget of {min(limits)} bytes holds no picture; allow more")
        return min(limits, default=None)


def encode_animation(
    frames: Iterator[TimedPixels], quality: float, budget: Budget, *, extras: tuple[Chunk, ...], effort: int
) -> list[bytes]:
    """Code at least one frame into .ctm files that belong one after the other; the first has the `extras`.

    Each has as many frames as a reader takes: 41, or 2^28 pixels. A budget, if there is one, takes the place of the
    quality and is shared out evenly. Raises CotamError, BudgetError where no quality fits.
    """
    first = next(frames)
    frames = chain([first], frames)
    most = max(1, min(FRAMES_PER_FILE, MAX_PIXELS // (first.pixels.shape[0] * first.pixels.shape[1])))
    files: list[bytes] = []
    if budget == Budget(None, None):
        split = (split_frame(frame, quality) for frame in frames)
        while part := next(split, None):
            several = chain([part], islice(split, most - 1))
            beside = extras if not files else ()
            files.append(encode_frames(several, quality, extras=beside, effort=effort))
        return files
    from cotam_cli.codec.budget import encode_frames_to_size  # every command would pay for it at its start

    every = list(frames)
    share = (budget.of(len(every)) or 0) / len(every)
    for start in range(0, len(every), most):
        some = every[start : start + most]
        beside = extras if not files else ()
        files.append(encode_frames_to_size(some, int(share * len(some)), extras=beside, effort=effort))
    return files
