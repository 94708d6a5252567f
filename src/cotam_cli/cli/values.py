"""Values that people write on a command line: sizes in bytes, colours, sides, blocks, numbered names."""

from __future__ import annotations

import re

import click

from cotam_cli.errors import CotamError

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(|[kmg]i?)b?\s*", re.IGNORECASE)
_MOST_BYTES = 2**63
_MOST_DIGITS = 255  # of a number in a name: no file's name is longer
_NUMBER = re.compile(r"%(0?[0-9]*)d")
_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128), "gray": (128, 128, 128)}


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """200KB (1000 bytes each), 200KiB (1024), 1.5MB, 5000."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no size; write 200KB, 200KiB, 1.5MB or 5000", param, ctx)
        size = float(match[1]) * _UNITS[match[2].lower()]
        if size > _MOST_BYTES:
            self.fail(
                "that is more bytes than any disk holds; write 200KB, 200KiB, 1.5MB or 5000", param, ctx
            )
        return int(size)


class Colour(click.ParamType):  # type: ignore[type-arg]
    """white, black, grey, #rrggbb or #rgb."""

    name = "colour"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            return value
        text = str(value).lower()
        if text in _COLOURS:
            return _COLOURS[text]
        digits = text.removeprefix("#")
        if len(digits) == 3:
            digits = "".join(digit * 2 for digit in digits)
        if re.fullmatch(r"[0-9a-f]{6}", digits) is None:
            self.fail(f"{value!r} is no colour; write white, black, grey or #rrggbb", param, ctx)
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


class Sides(click.ParamType):  # type: ignore[type-arg]
    """640 (both sides at most) or 640x480 (width and height at most)."""

    name = "N|WxH"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value))
        if match is None or "0" in (match[1].strip("0") or "0", (match[2] or "1").strip("0") or "0"):
            self.fail(f"{value!r} is no size in pixels; write 640 or 640x480", param, ctx)
        return int(match[1]), int(match[2] or match[1])


def is_numbered(path: str) -> bool:
    """Whether a path has a place for a number, such as frames/%06d.png. Raises CotamError for one that is too wide."""
    place = _NUMBER.search(path)
    if place is not None and float(place[1] or 0) > _MOST_DIGITS:
        raise CotamError(f"{place[0]} asks for more digits than a file's name holds; write %06d")
    return place is not None


def numbered(path: str, number: int) -> str:
    """The path with the number in its (first) place."""
    return _NUMBER.sub(lambda place: f"{number:{place[1]}d}", path, count=1)


class BlockRange(click.ParamType):  # type: ignore[type-arg]
    """3, the first three blocks, or 10-12."""

    name = "blocks"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,4})", str(value))
        if found is None or not 1 <= int(found[1] or 1) <= int(found[2]):
            self.fail(f"{value!r} is not a number of blocks; write 3, or 10-12", param, ctx)
        return int(found[1] or 1), int(found[2])
