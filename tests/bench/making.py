"""Pictures, codecs and networks for the tests of `cotam bench`: small, and known to the last value."""

import io
import os
import signal

import numpy as np
from PIL import Image

from cotam_cli.bench.codecs import Codec
from cotam_cli.bench.pictures import open_picture
from cotam_cli.errors import CotamError


def scene(height=64, width=80, seed=0):
    """Smooth shapes with some noise, uint8 [h, w, 3]."""
    y, x = np.mgrid[:height, :width] / 12
    base = np.stack([np.sin(x + k + seed) * np.cos(y * (k + 1)) for k in range(3)], -1)
    noise = np.random.default_rng(seed).normal(0, 8, base.shape)
    return np.clip(128 + 90 * base + noise, 0, 255).astype(np.uint8)


def save(path, seed=0, size=(64, 80)):
    Image.fromarray(scene(*size, seed)).save(path)
    return open_picture(path)


class Shift:
    """A codec's two halves that add the setting to every pixel; the files are PNG."""

    def __init__(self, fails=None):
        self.calls, self.fails = [], fails

    def encode(self, pixels, setting):
        self.calls.append(setting)
        if setting == self.fails:
            raise ValueError("three lines\nof bad\nluck")
        out = io.BytesIO()
        Image.fromarray(pixels // 2 + np.uint8(setting)).save(out, "PNG")
        return out.getvalue()

    def decode(self, data):
        return np.asarray(Image.open(io.BytesIO(data)))


def shifting(name="shift", version="1", ladder=(1.0, 2.0, 3.0), fails=None):
    halves = Shift(fails)
    return Codec(name, version, ladder, ladder, halves.encode, halves.decode), halves.calls


# For worker processes: functions that they can import.


def killed(pixels, setting, mark):
    """A codec that takes all memory: its process is killed. Each death adds a letter to the file."""
    with open(mark, "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def swollen(pixels, setting, size):
    """A codec that takes so many bytes for a moment."""
    return bytes(8) if np.ones(size, np.uint8).all() else b""


def failing(pixels, setting):
    raise CotamError("no luck")
