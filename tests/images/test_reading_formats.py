"""Which formats are read: all whose files are taken from folders, and no other of Pillow's."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from cotam_cli.cli.batch import PICTURES
from cotam_cli.errors import ImageError
from cotam_cli.images import read_picture
from cotam_cli.images.reading import READ
from images.making import saved

BLOCK = np.arange(16 * 16 * 3, dtype=np.uint32).reshape(16, 16, 3).astype(np.uint8)
LOSSY = {"JPEG", "WEBP", "AVIF", "GIF"}


def psd(pixels):
    """Pillow writes no PSD: header, three empty sections, the planes uncompressed."""
    height, width, channels = pixels.shape
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, 8, 3)
    return header + bytes(4 * 3) + b"\0\0" + pixels.transpose(2, 0, 1).tobytes()


@pytest.mark.parametrize("kind", READ)
def test_every_format(kind):
    data = psd(BLOCK) if kind == "PSD" else saved(Image.fromarray(BLOCK), kind)
    pixels = read_picture(data).pixels
    assert pixels.shape == BLOCK.shape
    if kind not in LOSSY:
        assert np.array_equal(pixels, BLOCK)


def test_all_that_folders_give_is_read():
    Image.init()
    known = {kind for suffix, kind in Image.registered_extensions().items() if suffix in PICTURES}
    known.discard("MPO")  # Pillow opens it as JPEG
    taught = {kind for kind in known if not Image.OPEN[kind][0].__module__.startswith("PIL.")}
    assert known - taught == set(READ)


@pytest.mark.parametrize("kind", ["SGI", "DDS", "ICNS"])
def test_rarer_formats_are_refused(kind):
    with pytest.raises(ImageError, match="not a picture of a known format"):
        read_picture(saved(Image.fromarray(BLOCK), kind))


def test_what_the_program_has_taught_pillow_is_read(monkeypatch):
    class Taught(ImageFile.ImageFile):
        format = "TAUGHT"

        def _open(self):
            self._size, self._mode = (2, 1), "RGB"
            self.tile = [ImageFile._Tile("raw", (0, 0, 2, 1), 6, "RGB")]

    monkeypatch.setitem(Image.OPEN, "TAUGHT", (Taught, lambda start: start.startswith(b"taught")))
    assert read_picture(b"taught" + bytes(range(6))).pixels.tolist() == [[[0, 1, 2], [3, 4, 5]]]
