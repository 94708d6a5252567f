"""What the embedded guide learns from: regions of training pictures with the teachers' answers, asked once and kept.

The answers lie on disk in shards of one shape; a shard that is there is not made again, so that the work is resumed
where it stopped.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cotam_cli.errors import CotamError
from cotam_cli.guidance.cells import Field, resample
from cotam_cli.guidance.onnx_guide import OnnxGuide, resized
from cotam_cli.training.data import Pack
from cotam_cli.training.guide_network import PATCH

SHAPES = ((384, 512), (512, 384), (448, 448), (512, 768))  # height, width
SHARD = 32  # regions of one shape
DEEP_AREA = 0.5  # of the network's own: all its blocks cost four times what the first three do
SHARES = {"photo": 0.45, "art": 0.15, "text": 0.3, "drawn": 0.1}
HELD_OUT = 10  # of that many shards the first is for testing; its pictures are in no other

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Shard:
    """pixels uint8 [32, h, w, 3]; fields float16 [32, h/32, w/32, 3]: logs of attention, share of text."""

    pixels: Pixels
    fields: NDArray[np.float16]


@dataclass(frozen=True)
class Teachers:
    """shallow, deep: the attention of a transformer's first and last blocks; text: None where nobody is asked."""

    shallow: OnnxGuide
    deep: OnnxGuide
    text: TextDetector | None


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


def look(teacher: OnnxGuide, pixels: Pixels, area: float = 1.0, fewer: int = 0) -> Field:
    """Logarithm of the attention of a guide's network, float [rows, columns] for each `PATCH`, seen at so much of its
    own area and with so many patches less on each side."""
    size = (pixels.shape[0], pixels.shape[1])
    height, width = (side - fewer * teacher.patch for side in teacher.input_size(size, area))
    small = resized(np.ascontiguousarray(pixels), (height, width))
    return np.log(resample(teacher.fields(small[None])[0, ..., 0], size, PATCH) + 1e-9)


def smoothed(field: Field) -> Field:
    """Means over 3x3, of what lies inside: single patches of deep attention are outliers that carry no place."""
    rows, columns = field.shape
    wide = np.pad(np.stack([field, np.ones_like(field)]), ((0, 0), (1, 1), (1, 1)))
    parts = [wide[:, y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    total, count = np.sum(parts, axis=0)
    return np.asarray(total / count)


def ask(pixels: Pixels, teachers: Teachers) -> NDArray[np.float16]:
    """The teachers' answers for one region, float16 [rows, columns, 3]."""
    first, mirrored = look(teachers.shallow, pixels), look(teachers.shallow, pixels[:, ::-1])[:, ::-1]
    shallow = (first + mirrored) / 2  # less of where the grid of patches happens to lie
    deep = smoothed(look(teachers.deep, pixels, DEEP_AREA))
    written = np.zeros_like(shallow)
    if teachers.text is not None:
        written = teachers.text.field(pixels).reshape(len(shallow), 4, -1, 4).mean((1, 3))
    return np.stack([shallow, deep, written], -1).astype(np.float16)


def sign_folder(out: Path, names: dict[str, str | None]) -> None:
    """Note in teacher.json whose answers a folder holds. Raises CotamError where they are others'."""
    path = out / "teacher.json"
    if path.exists() and json.loads(path.read_text()) != names:
        before = ", ".join(filter(None, json.loads(path.read_text()).values()))
        raise CotamError(f"{out} holds answers of {before}; ask these again, or give another folder")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(names) + "\n")


def build_shards(pack: Pack, out: Path, count: int, teachers: Teachers) -> None:
    """Make the shards 0..count-1 that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(count), desc="teachers", unit="shard"):
        if (out / f"{number:04}.fields.npy").exists():
            continue
        pixels = shard_pictures(pack, number)
        fields = np.stack([ask(region, teachers) for region in pixels])
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
