"""Pillow plugin: after `register()`, `Image.open` and `Image.save` know .ctm files.

    import cotam_cli.pillow            # the same as cotam_cli.integrations.pillow.register()
    from PIL import Image

    picture = Image.open("photo.ctm")  # reads 25 bytes; the pixels come with load()
    picture.save("copy.ctm", quality=4, guide="none")

Pillow's own conventions hold: files that are not .ctm are left to other plugins, damaged ones raise OSError,
wrong options to `save` raise ValueError, and Pillow's limits against decompression bombs apply. Pillow has no
way to find plugins by itself, so every process that reads .ctm files must register once; processes that a
fork makes inherit it.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile, ImageSequence, UnidentifiedImageError

from cotam_cli.bitstream import HEADER_SIZE, parse_header, parse_stream
from cotam_cli.errors import CotamError, FormatError, GuideError

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

FORMAT = "CTM"
EXTENSION = ".ctm"
MIME = "image/x-ctm"
_MAGIC = b"\x89CTM"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")


class CtmImageFile(ImageFile.ImageFile):
    """A .ctm file, opened: size and mode are known, pixels are decoded at the first `load`.

    `info` holds `quality` (1..8), `model` (its id) and, once a frame of an animation is loaded, its `duration` in
    milliseconds. Frames are reached by `seek`, or Pillow's ImageSequence.
    """

    format = FORMAT
    format_description = "cotam, for pictures that machines look at"

    def _open(self) -> None:
        assert self.fp is not None  # noqa: S101  the type of Pillow's attribute allows None
        data = self.fp.read(HEADER_SIZE)
        if not _accept(data):
            raise SyntaxError("not a .ctm file")  # Pillow's word for "another plugin's"
        try:
            header, _ = parse_header(data)
        except FormatError as error:
            raise UnidentifiedImageError(str(error)) from error
        self._size = header.width, header.height
        self._mode = "RGBA" if header.alpha else "RGB"
        self.info |= {"quality": header.quality_value, "model": header.model}
        self._animated = header.animation
        self._frame = 0
        self._data: bytes | None = None  # of an animation, whose file is needed again
        self._coming: Iterator[tuple[Image.Image, int | None]] | None = None
        self._next = 0  # the frame that `_coming` gives next
        self._wait_for_load()

    def _wait_for_load(self) -> None:
        self.tile = [ImageFile._Tile("ctm", (0, 0, *self.size))]

    @property
    def n_frames(self) -> int:
        """Frames in the file. Of an animation this reads it all; OSError if it is damaged."""
        if not self._animated:
            return 1
        try:
            return sum(len(each.frames()) for each in parse_stream(self._read()))
        except FormatError as error:
            raise OSError(str(error)) from error

    @property
    def is_animated(self) -> bool:
        return self.n_frames > 1

    def seek(self, frame: int) -> None:
        """Go to a frame, from 0; it is decoded at `load`. Raises EOFError where there is none."""
        if self._seek_check(frame):
            self._frame = frame
            self._wait_for_load()

    def tell(self) -> int:
        return self._frame

    def load(self) -> PixelAccess | None:
        """Decode the pixels, once. Raises OSError for a damaged file or one of an unknown model."""
        if self.tile:
            try:
                picture = self._decode()
            except CotamError as error:
                raise OSError(str(error)) from error
            if picture.mode != self.mode:  # what `open` told stays true
                picture = picture.convert(self.mode)
            self.im = picture.im
            self.info |= picture.info
            self.readonly = 0
            self.tile = []
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return Image.Image.load(self)

    def _decode(self) -> Image.Image:
        from cotam_cli.api import decode, decode_frames

        if not self._animated:
            return decode(self._read())
        if self._coming is None or self._frame < self._next:
            self._coming, self._next = decode_frames(self._read()), 0
        for picture, duration in self._coming:
            self._next += 1
            if self._next > self._frame:
                self.info["duration"] = duration
                return picture
        raise OSError(f"the file has no frame {self._frame}; it was closed or changed")

    def load_seek(self, pos: int) -> None:
        """There to tell ImageFile.Parser that this format is not decoded piece by piece."""

    def verify(self) -> None:
        """Check structure and checksums of the whole file without decoding it. Raises OSError."""
        if self.tile or self._data is not None:  # else it is loaded, which checks as much
            try:
                deque(parse_stream(self._read()), maxlen=0)
            except FormatError as error:
                raise OSError(str(error)) from error
        super().verify()

    def _read(self) -> bytes:
        if self._data is not None:
            return self._data
        if self.fp is None:
            raise OSError("the file behind this image is closed; open it again")
        self.fp.seek(0)
        data = self.fp.read()
        self._data = data if self._animated else None
        return data


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(_MAGIC)


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """`Image.save`: quality=1..8 (fractions allowed, default 3), guide="auto" or "none", effort=0 to 10, max_bytes=...,
    alpha=True to keep transparency instead of flattening it onto white; others are ignored, as Pillow does."""
    _write(image, image.encoderinfo, fp)


def _save_all(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """`Image.save(save_all=True)`: all frames, those of `append_images` too; duration=... in milliseconds."""
    options = image.encoderinfo
    timing = {"duration": options["duration"]} if "duration" in options else {}
    lossless = io.BytesIO()
    with _as_os_error():
        first, *others = [
            frame for each in (image, *options.get("append_images", ())) for frame in _as_png(each)
        ]
    first.save(lossless, "PNG", save_all=True, append_images=others, compress_level=1, **timing)
    _write(lossless.getvalue(), options, fp)


def _as_png(image: Image.Image) -> Iterator[Image.Image]:
    """The image itself where PNG has its mode, else its frames in RGB, or RGBA."""
    from cotam_cli.images import Wishes, from_pillow

    if image.mode in _PNG_MODES:
        yield image
        return
    for frame in ImageSequence.Iterator(image):
        picture = from_pillow(frame, wishes=Wishes(alpha=True))
        colours = Image.fromarray(picture.pixels)
        if picture.alpha is not None:
            colours.putalpha(Image.fromarray(picture.alpha))
        if "duration" in frame.info:
            colours.info["duration"] = frame.info["duration"]
        yield colours


def _write(source: Image.Image | bytes, options: dict[str, Any], fp: IO[bytes]) -> None:
    from cotam_cli.api import encode

    quality, effort = options.get("quality", 3.0), options.get("effort", 0)
    if isinstance(quality, bool) or not isinstance(quality, Real) or not 1 <= float(quality) <= 8:
        raise ValueError(f"quality {quality!r} is not a .ctm quality; give 1 (small) to 8 (fine)")
    if effort not in range(11):
        raise ValueError(f"effort {effort!r} is not a whole number from 0 (fast) to 10")
    with _as_os_error():
        data = encode(
            source,
            quality=float(quality),
            guide=options.get("guide", "auto"),
            effort=effort,
            max_bytes=options.get("max_bytes"),
            alpha=bool(options.get("alpha")),
        )
    fp.write(data)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn our errors into those that Pillow allows."""
    try:
        yield
    except GuideError as error:
        raise ValueError(str(error)) from error
    except CotamError as error:
        raise OSError(f"cannot write this picture as {FORMAT}: {error}") from error


def register() -> None:
    """Teach Pillow .ctm, in this process. May be called any number of times."""
    Image.register_open(FORMAT, CtmImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_save_all(FORMAT, _save_all)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MIME)
