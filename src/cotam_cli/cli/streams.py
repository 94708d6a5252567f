"""Pictures one after the other in a stream, as ffmpeg's image2pipe and `cat` make them: where each one ends.

PNG, JPEG, BMP, PPM/PGM and .ctm say where they end. Whatever else a stream starts with is one picture up to its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from cotam_cli.bitstream import HEADER_SIZE, MAGIC, VERSION, parse_header
from cotam_cli.errors import FormatError

STEP = 1 << 20
MOST_PIXELS = 65535**2  # all that a header can say: limits are the reader's
_SPACE = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(rb"P([56])" + 3 * (_SPACE + rb"(\d+)") + rb"\s")
_JPEG = b"\xff\xd8\xff"
_STARTS = (b"\x89CTM", b"\x89PNG\r\n\x1a\n", _JPEG, b"BM", b"P5", b"P6")
_NETPBM_HEADS = range(8, 1025)  # bytes of one, with its comments


class _Reader:
    """A stream that can be looked into ahead of the position; bytes before the position are the picture so far."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = getattr(file, "read1", file.read)  # what is there, without waiting for more
        self.buffer = bytearray()
        self.at = 0

    def fill(self, count: int) -> bool:
        """Have this many bytes from the position on; False if the stream ends before."""
        while len(self.buffer) - self.at < count:
            more = self.read(min(STEP, max(count - (len(self.buffer) - self.at), 1 << 16)))
            if not more:
                return False
            self.buffer += more
        return True

    def peek(self, count: int) -> bytes:
        self.fill(count)
        return bytes(self.buffer[self.at : self.at + count])

    def skip(self, count: int) -> bool:
        found = self.fill(count)
        self.at += count if found else len(self.buffer) - self.at
        return found

    def find(self, mark: bytes) -> bool:
        """Go to the next place where these bytes stand; False if there is none."""
        start = self.at
        while True:
            place = self.buffer.find(mark, start)
            if place >= 0:
                self.at = place
                return True
            start = max(self.at, len(self.buffer) - len(mark) + 1)
            self.at, at = len(self.buffer), self.at
            more = self.fill(1)
            self.at = at
            if not more:
                return False

    def take(self) -> bytes:
        """The bytes before the position."""
        taken = bytes(self.buffer[: self.at])
        del self.buffer[: self.at]
        self.at = 0
        return taken

    def rest(self) -> bytes:
        self.at = 0
        while self.fill(len(self.buffer) + STEP):
            pass
        self.at = len(self.buffer)
        return self.take()


def begins_picture(data: bytes) -> bool:
    """Whether bytes start like one of the pictures that say where they end, or of the usual others."""
    return data.startswith((*_STARTS, b"RIFF", b"GIF8", b"II*\0", b"MM\0*")) or data[4:8] == b"ftyp"


def split(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of each picture in a stream, as soon as they are there. An empty stream gives one empty picture.

    What follows a JPEG and is no picture (phones append films) is left with it, so that a JPEG is given when the first
    bytes behind it, or the stream's end, have come. A picture that is cut off or damaged is given with all that
    follows, for its reader to say so.
    """
    reader = _Reader(file)
    yielded = False
    while reader.fill(1) or not yielded:
        yielded = True
        may_go_on = reader.peek(3) == _JPEG
        if _pass_one(reader) and not (
            may_go_on and reader.fill(1) and not reader.peek(8).startswith(_STARTS)
        ):
            yield reader.take()
        else:
            yield reader.rest()


def split_ctm(file: BinaryIO) -> Iterator[bytes]:
    """The .ctm files of a stream, each as soon as it is there; an empty stream gives one empty file.

    Raises FormatError for what does not start as a .ctm file, from its first bytes: it is not read to its end. A
    file that is cut off is given as it is, for its reader to say so.
    """
    reader = _Reader(file)
    more = True
    while more:
        parse_header(reader.peek(HEADER_SIZE), max_pixels=MOST_PIXELS)
        if not _pass_ctm(reader):
            yield reader.rest()
            return
        yield reader.take()
        more = reader.fill(1)
        if more and reader.peek(4) != MAGIC:
            raise FormatError("the file goes on after its end, not with another .ctm; cut the rest off")


def _pass_one(reader: _Reader) -> bool:
    """Go to the end of one picture; False if that cannot be known."""
    start = reader.peek(8)
    if start.startswith(b"\x89CTM"):
        return _pass_ctm(reader)
    if start == b"\x89PNG\r\n\x1a\n":
        return _pass_png(reader)
    if start.startswith(_JPEG):
        return _pass_jpeg(reader)
    if start.startswith(b"BM"):
        return reader.skip(int.from_bytes(start[2:6], "little")) and start[2:6] > bytes(4)
    if start.startswith((b"P5", b"P6")):
        return _pass_netpbm(reader)
    return False


def _pass_ctm(reader: _Reader) -> bool:
    head = reader.peek(HEADER_SIZE)
    if not reader.skip(HEADER_SIZE) or head[4] != VERSION:
        return False
    for _ in range(head[16]):
        length = 0
        reader.skip(1)
        for index in range(4):
            byte = reader.peek(1)
            if not byte:
                return False
            reader.skip(1)
            length |= (byte[0] & 127) << 7 * index
            if byte[0] < 128:
                break
        if not reader.skip(length):
            return False
    return reader.skip(4)


def _pass_png(reader: _Reader) -> bool:
    reader.skip(8)
    while True:
        head = reader.peek(8)
        if len(head) < 8 or not reader.skip(12 + int.from_bytes(head[:4], "big")):
            return False
        if head[4:] == b"IEND":
            return True


def _pass_jpeg(reader: _Reader) -> bool:
    reader.skip(2)
    while True:
        head = reader.peek(4)
        if len(head) < 2 or head[0] != 0xFF:
            return False
        if head[1] == 0xD9:
            return reader.skip(2)
        if head[1] == 0xFF or 0xD0 <= head[1] <= 0xD7 or head[1] == 1:
            reader.skip(1 if head[1] == 0xFF else 2)
            continue
        length = int.from_bytes(head[2:4], "big")
        if head[1] == 0xE2 and reader.peek(8)[4:] == b"MPF\0":
            return False  # a phone's picture with more of itself behind: one picture
        if length < 2 or not reader.skip(2 + length):
            return False
        if head[1] == 0xDA and not _pass_scan(reader):
            return False


def _pass_scan(reader: _Reader) -> bool:
    """Entropy-coded data: up to the next FF that neither stands for itself nor restarts."""
    while reader.find(b"\xff"):
        mark = reader.peek(2)
        if len(mark) == 2 and mark[1] != 0 and not 0xD0 <= mark[1] <= 0xD7:
            return True
        if not reader.skip(2):
            return False
    return False


def _pass_netpbm(reader: _Reader) -> bool:
    heads = (
        _NETPBM.match(reader.peek(count)) for count in _NETPBM_HEADS
    )  # a whole file may have fewer bytes
    head = next(filter(None, heads), None)
    if head is None:
        return False
    colours, width, height, largest = (int(group) for group in head.groups())
    size = width * height * (3 if colours == 6 else 1) * (2 if largest > 255 else 1)
    return reader.skip(head.end() + size)
