"""A second reader of `.ctm` files, written from docs/FORMAT.md alone: from bytes to latents, not to pixels.

It shares no code with the package. It shows that the page is enough, and notices when page and package part.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zlib
from bisect import bisect_right
from collections import namedtuple
from functools import reduce
from itertools import chain, repeat
from pathlib import Path

import numpy as np

MODELS = Path(__file__).resolve().parents[1] / "models"
LETTERS = {1: "M", 2: "H", 3: "L", 4: "A", 5: "F", 6: "S", 16: "I", 17: "E", 18: "X"}
TOTAL = 1 << 24  # what every row of cumulative frequencies ends with
MASK = (1 << 64) - 1
Header = namedtuple("Header", "flags model width height quality guidance strength chunks latent_hash")
Frame = namedtuple("Frame", "values coded")  # [rows, columns, channels]; flat, in the order of the hash
Decoded = namedtuple("Decoded", "header frames latent_hash")


def check(fine: bool, complaint: str) -> None:
    """Refuse the file where a rule is broken."""
    if not fine:
        raise ValueError(complaint)


def read_container(data: bytes, known: dict[int, Path]) -> tuple[Header, list[dict[str, bytes]]]:
    """The header and, for each frame, its payloads by letter; checked in the page's order."""
    check(len(data) > 0 and data[:4] == b"\x89CTM"[: len(data)], "this is not a .ctm file")
    check(data[4:5] in (b"", b"\x01"), f"version {data[4:5].hex()}; this reader knows version 1")
    check(len(data) >= 25, "the header is cut off")
    check(zlib.crc32(data[:21]) == int.from_bytes(data[21:25], "little"), "the header is damaged")
    header = Header(*struct.unpack("<BHHHHBBBI", data[5:21]))
    levels, cell = header.guidance & 15, header.guidance >> 4
    check(header.flags < 8, "unknown flags")
    check(4096 <= header.quality <= 32768, "quality is out of range")
    check(header.guidance == 0 or (levels >= 2 and 1 <= cell <= 6), "guidance is out of range")
    check(header.guidance > 0 or header.strength == 0, "strength without a map")
    check(0 < header.width * header.height <= 1 << 28, "the picture is empty or too large")
    check(header.model in known, f"model {header.model} is not known")
    chunks, position = [], 25
    for _ in range(header.chunks):
        kind, payload, position = read_chunk(data, position)
        chunks.append((kind, payload))
    check(len(data) - position == 4, "bytes are missing or left over after the chunks")
    check(zlib.crc32(data[25:-4]) == int.from_bytes(data[-4:], "little"), "the chunks are damaged")
    return header, split_frames(header, [chunk for chunk in chunks if chunk[0] < 128])


def read_chunk(data: bytes, position: int) -> tuple[int, bytes, int]:
    """Type and payload of the chunk at a position, and the position after it."""
    check(position < len(data), "a chunk is missing")
    kind, rest = data[position], data[position + 1 : position + 5]
    ends = [k for k, byte in enumerate(rest) if byte < 128]
    check(len(ends) > 0, "a chunk's length is cut off or too long")
    size = ends[0] + 1
    length = sum((byte & 127) << 7 * k for k, byte in enumerate(rest[:size]))
    check(size == 1 or rest[size - 1] > 0, "a chunk's length is not in its shortest form")
    check(kind not in (16, 17, 18) or length <= 1 << 24, "metadata is too large")
    position += 1 + size
    check(length <= len(data) - position, "a chunk is cut off")
    return kind, data[position : position + length], position + length


def split_frames(header: Header, chunks: list[tuple[int, bytes]]) -> list[dict[str, bytes]]:
    """Check types, order and presence of the chunks; the payloads of each frame."""
    for kind, _ in chunks:
        check(kind in LETTERS, f"chunk type {kind} is reserved")
    order = "".join(LETTERS[kind] for kind, _ in chunks)
    alpha, animation = header.flags >> 1 & 1, header.flags >> 2 & 1
    frame = ("F" if animation else "") + ("(?:M?HLS?|S)" if header.guidance else "(?:HLS?|S)")
    frame += ("A?" if animation else "A") if alpha else ""
    whole = f"I?E?X?({frame})" + ("+" if animation else "")
    check(re.fullmatch(whole, order) is not None, f"wrong order of chunks: {order}")
    frames = []
    for match in re.finditer(frame, order):
        frames.append({LETTERS[kind]: payload for kind, payload in chunks[match.start() : match.end()]})
        timing = frames[-1].get("F", bytes(6))
        check(len(timing) == 6 and timing[4:] == b"\0\0", "a FRAME chunk is not well formed")
        if "S" in frames[-1]:
            check_screen(header, frames[-1]["S"], "H" in frames[-1])
    return frames


def check_screen(header: Header, payload: bytes, beside_latents: bool) -> None:
    """Check what can be said of a layer before its indices are decoded."""
    check(len(payload) >= 6 and payload[5] < 2, "a layer is cut off or of an unknown kind")
    check(header.width * header.height <= min(1 << 25, 4096 * len(payload)), "a layer is too large")
    check(bool(payload[5]) == beside_latents, "a layer with holes and no latents, or the other way round")
    check(len(payload) >= 6 + 3 * (payload[4] + 1 - payload[5]), "a layer is cut off")


class RangeDecoder:
    """Reads symbols from one payload."""

    def __init__(self, payload: bytes, tail: bool = False) -> None:
        check(tail or payload[-1:] != b"\0", "a payload ends with a zero byte")
        padded = payload + bytes(-len(payload) % 4)
        self.words = chain(struct.unpack(f">{len(padded) // 4}I", padded), repeat(0))
        self.lower, self.range = 0, MASK
        self.point = next(self.words) << 32 | next(self.words)

    def symbol(self, cumulative: list[int] | range) -> int:
        """One symbol, with cumulative frequencies from 0 to 2^24."""
        scale = self.range >> 24
        quantile = (self.point - self.lower & MASK) // scale
        check(quantile < TOTAL, "a payload is damaged")
        s = bisect_right(cumulative, quantile) - 1
        self.lower = (self.lower + scale * cumulative[s]) & MASK
        self.range = scale * (cumulative[s + 1] - cumulative[s])
        if self.range < 1 << 32:
            self.lower = self.lower << 32 & MASK
            self.range <<= 32
            self.point = (self.point << 32 & MASK) + next(self.words)
        return s


def cumulate(frequencies: np.ndarray) -> list[int]:
    """Cumulative frequencies up to 2^24, of frequencies that sum to 65536."""
    return [0, *(256 * np.cumsum(frequencies, dtype=np.int64)).tolist()]


def limit(v: np.ndarray) -> np.ndarray:
    """The range of activations."""
    return np.clip(v, -32767, 32767)


def compand(x: np.ndarray) -> np.ndarray:
    """Flatten large values."""
    inner = np.clip(x, -256, 256)
    return limit(inner + ((x - inner + 4) >> 3))


class Model:
    """The integer tables and networks of a model folder."""

    def __init__(self, folder: Path) -> None:
        blob = (folder / "entropy.npz").read_bytes()
        wanted = json.loads((folder / "manifest.json").read_bytes())["files"]["entropy.npz"]
        check(hashlib.sha256(blob).hexdigest() == wanted, "entropy.npz differs from manifest.json")
        with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
            self.arrays = {name: arrays[name].astype(np.int64) for name in arrays.files}
        self.reach = self.arrays["tables.reach"].tolist()
        ends = np.cumsum(2 * self.arrays["tables.reach"] + 2)
        self.tables = [cumulate(part) for part in np.split(self.arrays["tables.frequencies"], ends[:-1])]
        self.prefix = cumulate(self.arrays["tables.prefix"])

    def group(self, decoder: RangeDecoder, count: int, table: int) -> list[int]:
        """A number of symbols of one table, with their escapes."""
        reach = self.reach[table]
        found = [decoder.symbol(self.tables[table]) - reach for _ in range(count)]
        escapes = [place for place, symbol in enumerate(found) if symbol > reach]
        prefixes = [decoder.symbol(self.prefix) for _ in escapes]
        rests = [0] * len(escapes)
        for k in range(1, 17):
            uniform = range(0, TOTAL + 1, 1 << (24 - k))
            for j in [j for j, prefix in enumerate(prefixes) if prefix == k]:
                rests[j] = decoder.symbol(uniform)
        for place, prefix, rest in zip(escapes, prefixes, rests, strict=True):
            folded = (1 << prefix) + rest - 1
            magnitude = (folded >> 1) + reach + 1
            found[place] = -magnitude if folded & 1 else magnitude
            check(-32768 <= found[place] <= 32767, "a symbol is out of range")
        return found

    def symbols(self, decoder: RangeDecoder, indices: np.ndarray) -> np.ndarray:
        """The symbols of these scale indices (flat), by rising index; zero where the index is 0."""
        out = np.zeros(indices.shape, np.int64)
        for index in range(1, 64):
            places = np.flatnonzero(indices == index)
            if places.size:
                out[places] = self.group(decoder, places.size, index - 1)
        return out

    def finish(self, name: str, acc: np.ndarray, leaky: bool) -> np.ndarray:
        """Shift with rounding, bend, limit."""
        shift = int(self.arrays[name + ".shift"])
        v = (acc + (1 << (shift - 1))) >> shift
        return limit(np.where(v < 0, (v + 4) >> 3, v) if leaky else v)

    def dense(self, name: str, x: np.ndarray, leaky: bool = True) -> np.ndarray:
        """A matrix at every position.

        Float64 is exact here: a product is at most 2^15 x 2^15, so any sum of fewer than 2^22 of them stays
        under 2^53, in whatever order it is taken.
        """
        weight = self.arrays[name + ".weight"]
        product = x.astype(np.float64) @ weight.astype(np.float64)
        return self.finish(name, product.astype(np.int64) + self.arrays[name + ".bias"], leaky)

    def spatial(self, name: str, x: np.ndarray) -> np.ndarray:
        """3x3 depthwise, zeros outside."""
        rows, columns, _ = x.shape
        weight, padded = self.arrays[name + ".weight"], np.pad(x, ((1, 1), (1, 1), (0, 0)))
        acc = np.broadcast_to(self.arrays[name + ".bias"], x.shape).copy()
        for i, j in np.ndindex(3, 3):
            acc += padded[i : i + rows, j : j + columns] * weight[i, j]
        return self.finish(name, acc, leaky=False)

    def block(self, name: str, x: np.ndarray) -> np.ndarray:
        """A residual block."""
        inner = self.dense(name + ".up", self.spatial(name + ".spatial", x))
        return limit(x + self.dense(name + ".down", inner, leaky=False))

    def curve(self, name: str, planes: np.ndarray) -> np.ndarray:
        """A value per channel, in 1/256 of a scale index, where t and t2 are these planes."""
        a, b, c = self.arrays[name]
        return a + ((b * planes[..., :1] + c * planes[..., 1:] + 2048) >> 12)

    def features(self, z: np.ndarray) -> np.ndarray:
        """What the hyper latents say about the latents, on four times their grid."""
        x = self.dense("hyper.second", self.dense("hyper.first", compand(64 * z)))
        x = self.block("hyper.block", shuffle(x))
        return self.block("hyper.last", shuffle(self.dense("hyper.third", x)))


def shuffle(x: np.ndarray) -> np.ndarray:
    """Depth to space."""
    rows, columns, depth = x.shape
    parts = x.reshape(rows, columns, 2, 2, depth // 4).transpose(0, 2, 1, 3, 4)
    return parts.reshape(2 * rows, 2 * columns, depth // 4)


def powers(quality: np.ndarray) -> np.ndarray:
    """t and t2 of each quality, in a new last axis."""
    t = (2 * (quality - 18432) + 3) // 7
    return np.stack([t, (t * t + 2048) >> 12], axis=-1)


def scale_index(v: np.ndarray) -> np.ndarray:
    """Scale index of a sum in 1/256."""
    return np.clip((v + 128) >> 8, 0, 63)


def read_quality(header: Header, payload: bytes | None, rows: int, columns: int) -> np.ndarray:
    """The quality of each latent position, from the map if the frame has one."""
    if payload is None:
        return np.full((rows, columns), header.quality, np.int64)
    levels, cell = header.guidance & 15, 8 << (header.guidance >> 4)
    decoder, width = RangeDecoder(payload), -(-header.width // cell)
    counts, cells = {}, np.zeros((-(-header.height // cell), width), np.int64)
    for row, column in np.ndindex(cells.shape):
        above = int(cells[row - 1, column]) if row else None
        left = int(cells[row, column - 1]) if column else levels // 2 if above is None else above
        context = left, left if above is None else above
        outside = [max(min(context) - level, level - max(context), 0) for level in range(levels)]
        n = counts.setdefault(context, [(32, 4, 1)[min(steps, 2)] for steps in outside])
        f = [1 + count * (65536 - levels) // sum(n) for count in n]
        f[n.index(max(n))] += 65536 - sum(f)
        found = decoder.symbol(cumulate(np.array(f)))
        cells[row, column] = found
        n[found] += 4
    level = cells[np.ix_(16 * np.arange(rows) // cell, 16 * np.arange(columns) // cell)]
    return np.clip(header.quality + header.strength * 64 * (2 * level - (levels - 1)), 4096, 32768)


def read_frame(model: Model, header: Header, payloads: dict[str, bytes]) -> Frame:
    """Decode the map, the hyper latents and the latents of one frame; one that is all drawn has none."""
    if "H" not in payloads:
        return Frame(np.zeros(0, np.int64), np.zeros(0, np.int64))
    rows, columns = -(-header.height // 16), -(-header.width // 16)
    indices = scale_index(model.curve("z_curve", powers(np.array(header.quality))))
    shape = (-(-rows // 4), -(-columns // 4), indices.size)
    z = model.symbols(RangeDecoder(payloads["H"]), np.broadcast_to(indices, shape).ravel()).reshape(shape)
    features = model.features(z)[:rows, :columns]
    planes = powers(read_quality(header, payloads.get("M"), rows, columns))
    prior = model.curve("y_curve", planes)
    row, column, channel = np.indices(prior.shape)
    turn = (channel + np.array([[0, 2], [3, 1]])[row % 2, column % 2]) % 4
    decoder = RangeDecoder(payloads["L"])
    symbols, means, coded = np.zeros_like(prior), np.zeros_like(prior), [z]
    for number in range(4):
        name = f"pass{number}"
        known = [compand(64 * symbols + means)] if number else []
        x = model.dense(name + ".stem", np.concatenate([features, *known, planes], axis=-1))
        x = model.block(name + ".block", x) if number else x
        mine = turn == number
        means[mine] = model.dense(name + ".mean", x, leaky=False)[mine]
        offset = model.dense(name + ".scale", x, leaky=False)
        symbols[mine] = model.symbols(decoder, scale_index(prior + offset)[mine])
        coded += [symbols[mine], means[mine]]
    return Frame(64 * symbols + means, np.concatenate([part.ravel() for part in coded]))


def add_to_hash(crc: int, frame: Frame) -> int:
    """CRC-32 of all latents so far, in the page's order."""
    return zlib.crc32(frame.coded.astype("<i2").tobytes(), crc)


def decode(data: bytes, folder: Path | None = None) -> Decoded:
    """Decode a file with the model of a folder, or of the folder with the id in its header."""
    folders = [folder] if folder else sorted(path.parent for path in MODELS.glob("ctm-*/manifest.json"))
    known = {json.loads((path / "manifest.json").read_bytes())["id"]: path for path in folders}
    header, payloads = read_container(data, known)
    model = Model(known[header.model])
    frames = [read_frame(model, header, each) for each in payloads]
    found = reduce(add_to_hash, frames, 0)
    check(found == header.latent_hash, f"latent hash {found:08x}, but {header.latent_hash:08x} in the header")
    return Decoded(header, frames, found)
