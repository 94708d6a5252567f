"""Judges that are ONNX networks, asked as their contract says: classes, boxes, features of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cotam_cli.bench.contract import Contract, Input
from cotam_cli.bench.tasks import Answer, Judge, Pixels, Score, Truth
from cotam_cli.errors import CotamError
from cotam_cli.sessions import open_session

Floats = NDArray[np.float32]

OVERLAP = 0.5  # intersection over union from which two boxes are the same object
SLACK = 0.05  # of the score: an object that merely crosses the threshold is no error
MOST_BOXES = 200


def load_network(contract: Contract) -> Judge:
    """The judge for a contract with an ONNX file. Raises CotamError when the file is not a usable network."""
    network = Network.load(contract)
    if contract.kind == "logits":
        return Classes(network)
    return Boxes(network) if contract.kind == "boxes" else Tokens(network)


@dataclass(frozen=True)
class Network:
    """An ONNX session, its input's name, and the outputs to ask for."""

    session: Any
    contract: Contract
    outputs: tuple[str, ...]

    @classmethod
    def load(cls, contract: Contract) -> Network:
        try:
            session = open_session(contract.model)
        except CotamError:
            raise
        except Exception as error:  # onnxruntime has no common base for its errors
            raise CotamError(f"{contract.model} is not a network that ONNX Runtime reads: {error}") from error
        there = [output.name for output in session.get_outputs()]
        wanted = tuple(theirs for _, theirs in contract.outputs) or tuple(there)
        missing = [name for name in wanted if name not in there]
        if missing:
            raise CotamError(
                f"{contract.model} has no output {', '.join(missing)}; it has {', '.join(there)}"
            )
        return cls(session, contract, wanted)

    def run(self, pixels: Pixels) -> list[NDArray[Any]]:
        """The outputs for uint8 [h, w, 3] pixels."""
        name = self.session.get_inputs()[0].name
        try:
            return list(self.session.run(list(self.outputs), {name: prepare(pixels, self.contract.input)}))
        except Exception as error:  # as above
            raise CotamError(f"{self.contract.name}: the network refuses the picture: {error}") from error


def prepare(pixels: Pixels, how: Input) -> NDArray[Any]:
    """uint8 [h, w, 3] pixels as a network wants them: [1, 3, H, W] or [1, H, W, 3]."""
    picture = _fit(Image.fromarray(pixels), how)
    values = np.asarray(picture, np.float32) * np.float32(how.scale)
    values = (values - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    if how.channels == "BGR":
        values = values[:, :, ::-1]
    if how.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    if how.dtype == "uint8":
        values = np.clip(np.rint(values), 0, 255)
    return np.ascontiguousarray(values[None], how.dtype)


def _fit(picture: Image.Image, how: Input) -> Image.Image:
    height, width = how.size
    smooth = Image.Resampling.BICUBIC
    if how.fit == "stretch":
        return picture.resize((width, height), smooth)
    if how.fit == "longest":
        scale = min(1.0, height / max(picture.size))
        sides = (max(1, round(side * scale / how.multiple)) * how.multiple for side in picture.size)
        return picture.resize((next(sides), next(sides)), smooth)
    scale = max(height / picture.height, width / picture.width) / how.share
    larger = max(width, round(picture.width * scale)), max(height, round(picture.height * scale))
    left, top = (larger[0] - width) // 2, (larger[1] - height) // 2
    return picture.resize(larger, smooth).crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class Classes:
    """The class with the largest logit."""

    network: Network

    def answer(self, pixels: Pixels) -> Answer:
        return {"class": np.array(int(np.ravel(self.network.run(pixels)[0]).argmax()))}

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]:
        return class_scores(int(original["class"]), int(decoded["class"]), truth)


def class_scores(original: int, decoded: int, truth: Truth) -> dict[str, Score]:
    """agreement: the same class as in the original; accuracy: the true one, where it is known."""
    scores = {"agreement": (float(original == decoded), 1.0)}
    if truth.label is not None:
        scores["accuracy"] = (float(decoded == truth.label), 1.0)
    return scores


@dataclass(frozen=True)
class Tokens:
    """Feature vectors of several layers, one a place in the picture."""

    network: Network

    def answer(self, pixels: Pixels) -> Answer:
        names = [ours for ours, _ in self.network.contract.outputs]
        return {name: as_tokens(value) for name, value in zip(names, self.network.run(pixels), strict=True)}

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]:
        return cosine_scores(original, decoded)


def as_tokens(value: NDArray[Any]) -> NDArray[np.float16]:
    """[1, places, features], or [1, features, rows, columns], as float16 [places, features]."""
    if value.ndim == 4:
        value = value.reshape(*value.shape[:2], -1).transpose(0, 2, 1)
    if value.ndim != 3 or len(value) != 1:
        raise CotamError(f"a layer of shape {list(value.shape)}; tokens are [1, places, features]")
    return np.asarray(value[0], np.float16)


def cosine_scores(original: Answer, decoded: Answer) -> dict[str, Score]:
    """The mean cosine similarity of each layer's vectors, in place."""
    scores = {}
    for layer, before in original.items():
        a, b = before.astype(np.float32), decoded[layer].astype(np.float32)
        norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        scores[layer] = (float(((a * b).sum(-1) / np.maximum(norms, 1e-12)).mean()), 1.0)
    return scores


@dataclass(frozen=True)
class Boxes:
    """Objects: rows of left, top, right, bottom, score, class."""

    network: Network

    def answer(self, pixels: Pixels) -> Answer:
        return {"boxes": read_boxes(self.network.run(pixels), self.network.contract)}

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]:
        """f1: of the decoded picture's objects, those of the original being the truth."""
        a, b, least = original["boxes"], decoded["boxes"], self.network.contract.threshold
        wanted, offered = a[a[:, 4] >= least], b[b[:, 4] >= least]
        if not len(wanted) + len(offered):
            return {}
        found = match(wanted, b[b[:, 4] >= least - SLACK])
        right = match(offered, a[a[:, 4] >= least - SLACK])
        total = len(wanted) + len(offered)
        return {"f1": ((found + right) / total, float(total))}


def read_boxes(outputs: list[NDArray[Any]], contract: Contract) -> Floats:
    """float32 [n, 6] of left, top, right, bottom, score, class, best first, doubles taken out.

    Coordinates are pixels or shares: only overlaps count.
    rows: [1, n, 6] in that order. separate: boxes, scores, classes. yolo: [1, 4 + classes, n], centre and size.
    """
    try:
        rows = _rows(outputs, contract.rows)
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(list(output.shape)) for output in outputs)
        raise CotamError(f"{contract.name}: outputs {shapes} are not boxes as {contract.rows}") from error
    rows = rows[rows[:, 4] >= contract.threshold - SLACK]
    return _without_doubles(rows[np.argsort(-rows[:, 4], kind="stable")][: 4 * MOST_BOXES])


def _rows(outputs: list[NDArray[Any]], kind: str) -> Floats:
    if kind == "rows":
        return np.array(outputs[0].reshape(-1, 6), np.float32)
    if kind == "separate":
        boxes, scores, classes = (np.asarray(output, np.float32) for output in outputs[:3])
        return np.column_stack([boxes.reshape(-1, 4), scores.ravel(), classes.ravel()])
    table = np.asarray(outputs[0][0], np.float32)
    centre, half, scores = table[:2], table[2:4] / 2, table[4:]
    return np.column_stack([*(centre - half), *(centre + half), scores.max(0), scores.argmax(0)])


def _without_doubles(rows: Floats) -> Floats:
    kept: list[Floats] = []
    for row in rows:
        if len(kept) < MOST_BOXES and all(row[5] != k[5] or _overlap(row, k) < OVERLAP for k in kept):
            kept.append(row)
    return np.array(kept, np.float32).reshape(-1, 6)


def match(wanted: NDArray[Any], offered: NDArray[Any]) -> int:
    """How many wanted boxes find an offered one of their own: same class, enough overlap."""
    free, count = list(offered), 0
    for box in wanted:
        options = [(_overlap(box, other), k) for k, other in enumerate(free) if other[5] == box[5]]
        best, index = max(options, default=(0.0, -1))
        if best >= OVERLAP:
            del free[index]
            count += 1
    return count


def _overlap(a: NDArray[Any], b: NDArray[Any]) -> float:
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))
