"""Training pictures: any folder or tar of pictures becomes one raw pack, crops come out of it at no cost.

Decoding PNG or WebP for every crop would take half of two cores, so `build_pack` decodes once into a flat
uint8 file that is memory-mapped.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cotam_cli.bench.pictures import SUFFIXES
from cotam_cli.bench.pictures import content_hash as pixels_hash
from cotam_cli.errors import CotamError
from cotam_cli.images import write_atomic
from cotam_cli.training.drawn import draw_picture

MIN_SIDE = 64
LARGE_SIDE = 1300  # wallpapers and scans above this are halved: their pixels carry little detail
# Drawn and screen pictures count less than their share of what users send: most of those go into the screen layer.
DEFAULT_SHARES = {"photo": 0.46, "art": 0.14, "scan": 0.14, "text": 0.13, "drawn": 0.13}
SCANS = "text/sroie"
PAGES = ("scan", "text", "drawn")


@dataclass(frozen=True)
class Entry:
    """One picture of a pack: where its RGB bytes start, its size, the group it is drawn from."""

    name: str
    group: str
    offset: int
    height: int
    width: int
    sha256: str  # of the decoded RGB bytes before any scaling


def content_hash(picture: Image.Image) -> str:
    """sha256 of a picture's RGB bytes and size: equal pixels, equal hash, whatever the file format."""
    return pixels_hash(np.asarray(picture.convert("RGB")))


def find_pictures(source: Path) -> Iterator[tuple[str, bytes]]:
    """(name, file bytes) of every picture in a folder tree or a tar file, in a fixed order."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield path.relative_to(source).as_posix(), path.read_bytes()
            elif path.suffix == ".tar":
                for name, data in find_pictures(path):
                    yield f"{path.stem.split('-')[0]}/{name}", data
    elif tarfile.is_tarfile(source):
        with tarfile.open(source) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield member.name, stream.read()
    else:
        raise CotamError(f"{source} is neither a folder nor a tar file of pictures")


def group_of(name: str) -> str:
    """The sampling group of a picture: scans apart, else its top folder where that names one, else photo."""
    if name.startswith(SCANS):
        return "scan"
    top = name.split("/", 1)[0].rstrip("s")
    return top if top in DEFAULT_SHARES else "photo"


def pictures_of(source: Path) -> Iterator[tuple[str, Image.Image | None]]:
    """(name, RGB picture) of every picture of a source, None where it cannot be read."""
    for name, data in tqdm(find_pictures(source), desc=source.name, unit="img"):
        try:
            picture = Image.open(io.BytesIO(data)).convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # SyntaxError: a damaged PNG
            yield name, None
        else:
            yield name, picture


def drawn_pictures(count: int) -> Iterator[tuple[str, Image.Image | None]]:
    """(name, RGB picture) of `count` drawn pictures."""
    for seed in tqdm(range(count), desc="drawn", unit="img"):
        yield f"drawn/{seed}", draw_picture(seed)


def _halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


def build_pack(sources: list[Path], out: Path, drawn: int = 800) -> None:
    """Decode every readable picture under `sources`, and draw some, into out/pixels.u8 with out/index.json."""
    out.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    offset = 0
    with open(out / "pixels.u8.part", "wb") as pixels:
        for name, picture in chain(*map(pictures_of, sources), drawn_pictures(drawn)):
            if picture is None:
                continue
            digest = content_hash(picture)
            kept = _halved(picture) if max(picture.size) > LARGE_SIDE else picture
            if min(kept.size) < MIN_SIDE:
                continue
            pixels.write(kept.tobytes())
            entries.append(Entry(name, group_of(name), offset, kept.height, kept.width, digest))
            offset += kept.width * kept.height * 3
    if not entries:
        raise CotamError(f"no pictures found in {', '.join(map(str, sources))}")
    (out / "index.json").unlink(missing_ok=True)  # an older one fits no new pixels
    (out / "pixels.u8.part").replace(out / "pixels.u8")
    write_atomic(out / "index.json", json.dumps([asdict(e) for e in entries]).encode())


class Pack:
    """A pack on disk; draws random crops."""

    def __init__(self, folder: Path, shares: dict[str, float] | None = None) -> None:
        if not (folder / "index.json").exists():
            raise CotamError(f"{folder} holds no pack; build it with: python -m cotam_cli.training pack")
        self.entries = [Entry(**e) for e in json.loads((folder / "index.json").read_text())]
        self.pixels = np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r")
        wanted = shares or DEFAULT_SHARES
        self.groups = {g: [e for e in self.entries if e.group == g] for g in wanted}
        self.groups = {g: entries for g, entries in self.groups.items() if entries}
        self.weights = [wanted[g] for g in self.groups]

    def region(self, entry: Entry, top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
        end = entry.offset + entry.height * entry.width * 3
        whole = self.pixels[entry.offset : end].reshape(entry.height, entry.width, 3)
        return np.asarray(whole[top : top + height, left : left + width])

    def crop(self, rng: random.Random, size: int) -> NDArray[np.uint8]:
        """One random crop, uint8 [size, size, 3]: a third of them scaled down, photos mirrored at random."""
        group = rng.choices(list(self.groups), self.weights)[0]
        entry = rng.choice(self.groups[group])
        factor = (
            rng.uniform(1.0, 2.0) if rng.random() < (0.35 if group in ("photo", "art") else 0.15) else 1.0
        )
        side = min(round(size * factor), entry.height, entry.width)
        top, left = rng.randint(0, entry.height - side), rng.randint(0, entry.width - side)
        crop = self.region(entry, top, left, side, side)
        if side != size:
            crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
        if group in ("photo", "art") and rng.random() < 0.5:
            crop = crop[:, ::-1]
        return crop

    def batch(self, rng: random.Random, count: int, size: int) -> NDArray[np.uint8]:
        """uint8 [count, 3, size, size]."""
        crops = np.stack([self.crop(rng, size) for _ in range(count)])
        return np.ascontiguousarray(crops.transpose(0, 3, 1, 2))


def check_disjoint(pack: Pack, folder: Path) -> None:
    """Raise CotamError when a picture under `folder` (tar files too) is in the pack with the same pixels, or cannot be
    read.

    Finds equal pixels in any lossless format, before any scaling; not the same picture resized or recoded.
    """
    known = {entry.sha256: entry.name for entry in pack.entries}
    found = []
    for name, picture in pictures_of(folder):
        if picture is None:
            raise CotamError(f"{name} of {folder} cannot be read; mend it or take it away")
        entry = known.get(content_hash(picture))
        if entry is not None:
            found.append(f"{name} is {entry}")
    if found:
        raise CotamError(
            f"{len(found)} pictures of {folder} are in the pack ({', '.join(found[:3])}); build it without them"
        )
