"""Small pictures for the tests, and their pixels."""

import io

import numpy as np
from PIL import Image


def image_of(values, mode, dtype=np.uint8):
    """A one-row picture of any mode from its pixel values."""
    array = np.asarray(values, dtype)
    return Image.frombytes(mode, (array.shape[0], 1), array.tobytes())


def saved(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def row(picture):
    assert picture.height == 1
    return picture.pixels[0].tolist()


def grey(*values):
    return [[value] * 3 for value in values]
