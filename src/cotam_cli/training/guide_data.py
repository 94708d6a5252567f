"""What the embedded guide learns from: regions of training pictures with the teachers' answers, asked once and kept.

The answers lie on disk in shards of one shape; a shard that is there is not made again, so that the work is resumed
where it stopped.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cotam_cli.errors import CotamError
from cotam_cli.guidance.cells import resample
from cotam_cli.guidance.onnx_guide import OnnxGuide, resized
from cotam_cli.training.data import Pack
from cotam_cli.training.guide_network import PATCH

SHAPES = ((384, 512), (512, 384), (448, 448), (512, 768))  # height, width
SHARD = 32  # regions of one shape
SHARES = {"photo": 0.45, "art": 0.15, "text": 0.3, "drawn": 0.1}
HELD_OUT = 10  # of that many shards the first is for testing; its pictures are in no other

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Shard:
    """pixels uint8 [32, h, w, 3]; fields float16 [32, h/32, w/32, 2]: log attention, share of text."""

    pixels: Pixels
    fields: NDArray[np.float16]


class TextDetector:
    """A text detector of PaddleOCR as an ONNX file: the probability of text for each pixel."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        if not path.is_file():
            raise CotamError(f"{path} does not exist; give a text detector of PaddleOCR as an ONNX file")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def field(self, pixels: Pixels) -> NDArray[np.float64]:
        """uint8 [h, w, 3], sides multiples of 32, to the mean probability of each 8x8 pixels."""
        scaled = pixels[None, :, :, ::-1].astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
        (found,) = self.session.run(None, {self.input: np.ascontiguousarray(scaled)})
        height, width = pixels.shape[:2]
        return found[0, 0].reshape(height // 8, 8, width // 8, 8).mean((1, 3), dtype=np.float64)


def shard_pictures(pack: Pack, number: int) -> Pixels:
    """The regions of a shard, always the same; those of test shards come from pictures of their own."""
    rng = random.Random(number * 7919 + 1)
    height, width = SHAPES[number % len(SHAPES)]
    groups = {name: entries for name, entries in pack.groups.items() if name in SHARES}
    names = list(groups)
    regions: list[Pixels] = []
    while len(regions) < SHARD:
        entries = groups[rng.choices(names, [SHARES[name] for name in names])[0]]
        index = rng.randrange(len(entries))
        if (index % HELD_OUT == 0) != is_test(number):
            continue
        entry = entries[index]
        fit = min(entry.height / height, entry.width / width)
        part = fit * rng.uniform(max(0.5, min(1.0, 0.6 / fit)), 1.0)
        rows, columns = int(height * part), int(width * part)
        top, left = rng.randint(0, entry.height - rows), rng.randint(0, entry.width - columns)
        region = np.ascontiguousarray(pack.region(entry, top, left, rows, columns))
        picture = Image.fromarray(region).resize((width, height), Image.Resampling.BICUBIC)
        regions.append(np.asarray(picture))
    return np.stack(regions)


def is_test(number: int) -> bool:
    """True for shards that are kept for testing."""
    return number // len(SHAPES) % HELD_OUT == 0


def ask(pixels: Pixels, teacher: OnnxGuide, text: TextDetector | None) -> NDArray[np.float16]:
    """The teachers' answers for one region, float16 [rows, columns, 2]."""
    size = (pixels.shape[0], pixels.shape[1])
    small = resized(pixels, teacher.input_size(size))
    attention = resample(teacher.fields(small[None])[0, ..., 0], size, PATCH)
    written = np.zeros_like(attention)
    if text is not None:
        written = text.field(pixels).reshape(attention.shape[0], 4, attention.shape[1], 4).mean((1, 3))
    return np.stack([np.log(attention + 1e-9), written], -1).astype(np.float16)


def build_shards(pack: Pack, out: Path, count: int, teacher: OnnxGuide, text: TextDetector | None) -> None:
    """Make the shards 0..count-1 that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(count), desc="teachers", unit="shard"):
        if (out / f"{number:04}.fields.npy").exists():
            continue
        pixels = shard_pictures(pack, number)
        fields = np.stack([ask(region, teacher, text) for region in pixels])
        np.save(out / f"{number:04}.pixels.npy", pixels)
        part = out / f"{number:04}.part.npy"
        np.save(part, fields)
        part.replace(out / f"{number:04}.fields.npy")


def load_shards(folder: Path, numbers: Sequence[int]) -> list[Shard]:
    """Shards from disk, memory-mapped. Raises CotamError when one is missing."""
    found = []
    for number in numbers:
        pixels, fields = (folder / f"{number:04}.{part}.npy" for part in ("pixels", "fields"))
        if not fields.exists():
            raise CotamError(f"{folder} lacks shard {number}; make it with: guide ask")
        found.append(Shard(np.load(pixels, mmap_mode="r"), np.load(fields)))
    return found


def shard_numbers(folder: Path, test: bool) -> list[int]:
    """Numbers of the shards on disk that are for testing, or for training."""
    numbers = sorted(int(path.name[:4]) for path in folder.glob("*.fields.npy"))
    return [number for number in numbers if is_test(number) == test]
