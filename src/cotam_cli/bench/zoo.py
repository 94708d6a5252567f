"""CompressAI's pretrained networks (extra `torch`), as real files: its coder's strings and the sizes."""

from __future__ import annotations

import struct
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotam_cli.bench.codecs import Codec, Pixels
from cotam_cli.errors import CotamError

PREFIX = "compressai:"
CORE_LIMIT = 64  # sides of the padded picture are multiples of this


def zoo_codec(name: str) -> Codec:
    """The codec `compressai:ARCHITECTURE`, such as compressai:mbt2018-mean, trained for mean squared error.

    Raises CotamError when CompressAI or the architecture is missing, or its weights cannot be had.
    """
    architecture = name.removeprefix(PREFIX)
    try:
        from compressai.zoo.image import cfgs
    except ImportError as error:
        raise CotamError("CompressAI is not installed; pip install 'cotam-cli[torch]'") from error
    if architecture not in cfgs:
        known = ", ".join(sorted(cfgs))
        raise CotamError(f"CompressAI has no {architecture}; it has {known}")
    qualities = tuple(map(float, sorted(cfgs[architecture])))
    _network(architecture, round(qualities[0]))
    return Codec(
        name=name,
        version=f"{version('compressai')}-torch-{version('torch')}",
        ladder=qualities,
        settings=qualities,
        encode=partial(_encode, architecture=architecture),
        decode=partial(_decode, architecture=architecture),
        about=f"CompressAI {version('compressai')}, {architecture}, trained for mean squared error",
    )


@lru_cache(maxsize=2)
def _network(architecture: str, quality: int) -> Any:
    from compressai.zoo import image_models

    try:
        network = image_models[architecture](quality=quality, metric="mse", pretrained=True)
    except Exception as error:  # the hub's and the network's errors have no common base
        raise CotamError(
            f"the weights of {architecture} at {quality} cannot be fetched ({error}); run it once with a "
            "network, or copy them to ~/.cache/torch/hub/checkpoints"
        ) from error
    return network.eval()


def _encode(pixels: Pixels, setting: float, architecture: str) -> bytes:
    import torch

    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((0, -height % CORE_LIMIT), (0, -width % CORE_LIMIT), (0, 0)), mode="edge")
    x = torch.from_numpy(padded.astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        coded = _network(architecture, round(setting)).compress(x)
    strings = [string[0] for string in coded["strings"]]
    head = struct.pack("<4HBB", height, width, *coded["shape"], round(setting), len(strings))
    return head + b"".join(struct.pack("<I", len(string)) + string for string in strings)


def _decode(data: bytes, architecture: str) -> Pixels:
    import torch

    height, width, rows, columns, quality, count = struct.unpack_from("<4HBB", data)
    at, strings = 10, []
    for _ in range(count):
        (size,) = struct.unpack_from("<I", data, at)
        strings.append([data[at + 4 : at + 4 + size]])
        at += 4 + size
    with torch.no_grad():
        x = _network(architecture, quality).decompress(strings, (rows, columns))["x_hat"]
    pixels: NDArray[np.uint8] = (x[0, :, :height, :width] * 255).round().clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
