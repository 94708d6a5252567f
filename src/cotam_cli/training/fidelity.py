"""The multi-level fidelity loss: what frozen networks see in a decoded picture against what they see in the original.

Both ends of the hierarchy count (paper, training of the decoder): shallow tokens times 0.1, final ones times 1.
Several teachers share the loss, so that the gain does not sit in one network's blind spot.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotam_cli.errors import CotamError
from cotam_cli.guidance.torch_vit import Tower
from cotam_cli.guidance.towers import onnx_vit, open_clip_vit, tower_name
from cotam_cli.training import mobilenet
from cotam_cli.training.text_networks import text_network

SHALLOW, DEEP = 0.1, 1.0  # weights of the paper
TEXT, READING = 0.2, 0.2
STRIP, LINE = 32, 48  # rows of pixels that are read as a line, and rows of a recogniser's line
TEXT_SPREAD = 0.01
"""A tenth of what maps of text have; without text a map has 1e-7, and a speck would outweigh a batch."""


class Teacher(Protocol):
    """A frozen network that the gradient passes through."""

    @property
    def stride(self) -> int:
        """Sides of its pictures are multiples of this."""
        ...

    @property
    def reads(self) -> bool:
        """True where it looks at type alone."""
        ...

    def to(self, device: torch.device) -> None:
        """Move the network to where its pictures are."""
        ...

    def __call__(self, pixels: Tensor) -> list[tuple[str, Tensor]]:
        """float [n, 3, h, w] in 0..1 -> level (of `level_weights`) and answer, [n, ...], of each layer that counts."""
        ...


@dataclass(frozen=True)
class VitTeacher:
    """The tokens of a vision transformer after some blocks: the first ones are shallow, the last one is deep."""

    tower: Tower
    shallow: tuple[int, ...]
    deep: tuple[int, ...]
    stride: int
    reads: bool = False

    def to(self, device: torch.device) -> None:
        self.tower.to(device)

    def __call__(self, pixels: Tensor) -> list[tuple[str, Tensor]]:
        answer = self.tower(pixels, (*self.shallow, *self.deep))
        levels = [("shallow", answer.tokens[block]) for block in self.shallow]
        return levels + [("deep", self.tower.normed(answer.tokens[block])) for block in self.deep]


Answers = list[tuple[str, Tensor]]


@dataclass(frozen=True)
class NetworkTeacher:
    """A network and how it is asked: `text_map` and `letters` for those that read, `shapes` for MobileNetV2."""

    network: nn.Module
    ask: Callable[[nn.Module, Tensor], Answers]
    stride: int = STRIP
    reads: bool = True

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def __call__(self, pixels: Tensor) -> Answers:
        return self.ask(self.network, pixels)


def _normalised(pixels: Tensor) -> Tensor:
    """As PP-OCR's networks take them: BGR in -1..1."""
    return (pixels.flip(1) - 0.5) / 0.5


def text_map(detector: nn.Module, pixels: Tensor) -> Answers:
    """A text detector's map of where words are."""
    return [("text", detector(_normalised(pixels)))]


def letters(recogniser: nn.Module, pixels: Tensor) -> Answers:
    """A text recogniser's letters in strips as high as a line of type: square roots of their probabilities, whose
    squared error is the Hellinger distance. Strips without type read as blanks, and weigh nothing.
    """
    n, _, _, width = pixels.shape
    strips = pixels.unflatten(2, (-1, STRIP)).transpose(1, 2).flatten(0, 1)
    size = (LINE, width * LINE // STRIP)
    lines = F.interpolate(strips.float(), size=size, mode="bilinear", align_corners=False)
    found = recogniser(_normalised(lines)).float()
    return [("reading", found.clamp_min(1e-7).sqrt().view(n, -1))]


def shapes(network: nn.Module, pixels: Tensor) -> Answers:
    """MobileNetV2's layers, and what it tells classes from."""
    levels = ["shallow"] * len(mobilenet.SHALLOW) + ["deep"] * (len(mobilenet.DEEP) + 1)
    return list(zip(levels, network(pixels), strict=True))


def load_teacher(name: str) -> Teacher:
    """clip:MODEL/WEIGHTS, mobilenet:FILE.pt (MobileNetV2), text:FILE.onnx (a PP-OCR detector), read:FILE.onnx (a PP-OCR
    recogniser), or the ONNX file of a Hugging Face ViT or DINOv2.

    Raises CotamError (its child GuideError for towers) where it cannot be had.
    """
    if name.startswith("text:"):
        return NetworkTeacher(text_network(Path(name.removeprefix("text:"))), text_map)
    if name.startswith("read:"):
        return NetworkTeacher(text_network(Path(name.removeprefix("read:"))), letters)
    if name.startswith("mobilenet:"):
        network = mobilenet.load_mobilenet(Path(name.removeprefix("mobilenet:")))
        return NetworkTeacher(network, shapes, mobilenet.STRIDE, reads=False)
    is_clip = name.startswith("clip:")
    vit = open_clip_vit(name.removeprefix("clip:")) if is_clip else onnx_vit(Path(name))
    last = len(vit.blocks)
    return VitTeacher(Tower(vit), (1, -(-last // 4)), (-(-last * 3 // 4), last), vit.patch.shape[-1])


def teacher_name(name: str) -> str:
    """What states and manifests call a teacher: its kind, and the tower or the file without its folders; the same for
    a name that is already so."""
    if name.startswith("clip:"):
        return f"clip:{tower_name(name)}"
    kind, found, path = name.partition(":")
    return f"{kind}:{Path(path).name}" if found and kind in ("text", "read", "mobilenet") else Path(name).name


def load_teachers(names: Sequence[str], device: torch.device | None = None) -> dict[str, Teacher]:
    """Each teacher by its `teacher_name`. Raises CotamError where two have the same."""
    teachers: dict[str, Teacher] = {}
    for name in names:
        if teacher_name(name) in teachers:
            raise CotamError(
                f"two teachers are called {teacher_name(name)}; give one of the files another name"
            )
        teachers[teacher_name(name)] = load_teacher(name)
    for teacher in teachers.values():
        teacher.to(device or torch.device("cpu"))
    return teachers


def view(rng: random.Random, pictures: Sequence[Tensor], stride: int, scale: float) -> list[Tensor]:
    """The same region of each, as a teacher looks at them: scaled, then cut at random to multiples of its stride."""
    height, width = (round(side * scale) for side in pictures[0].shape[2:])
    if scale != 1.0:
        pictures = [F.interpolate(x, size=(height, width), mode="bilinear", antialias=True) for x in pictures]
    rows, columns = height // stride * stride, width // stride * stride
    top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
    return [x[:, :, top : top + rows, left : left + columns] for x in pictures]


def distances(teacher: Teacher, original: Tensor, decoded: Tensor) -> list[tuple[str, Tensor]]:
    """Level and relative squared error of each answer, [n]: 0 equal, about 1 as far as any two places are apart."""
    with torch.no_grad():
        wanted = teacher(original)
    found = teacher(decoded)
    result = []
    for (level, want), (_, have) in zip(wanted, found, strict=True):
        w, h = want.float().flatten(1), have.float().flatten(1)
        spread = (w - w.mean(1, keepdim=True)).square().mean()  # of the batch: a blank picture has none
        least = TEXT_SPREAD if level == "text" else 1e-6
        result.append((level, (h - w).square().mean(1) / (spread + least)))
    return result


def fidelity_loss(found: Sequence[tuple[str, Tensor]], weights: dict[str, float]) -> Tensor:
    """Weighted sum over answers of the mean over pictures of the root of each distance.

    The root keeps low qualities, whose errors are ten times as large, from deciding alone.
    """
    terms = [weights[level] * (distance + 1e-6).sqrt().mean() for level, distance in found]
    return torch.stack(terms).sum()


def level_weights(
    shallow: float = SHALLOW, deep: float = DEEP, text: float = TEXT, reading: float = READING
) -> dict[str, float]:
    """Weight of each level's answers: a network's shallow and deep ones, a detector's text, a recogniser's reading."""
    return {"shallow": shallow, "deep": deep, "text": text, "reading": reading}


def seen_loss(
    teachers: Sequence[Teacher],
    rng: random.Random,
    original: Tensor,
    decoded: Tensor,
    scale: float,
    weights: dict[str, float],
) -> Tensor:
    """What all teachers miss in `decoded`, float [n, 3, h, w] in 0..1, each looking at a region of its own."""
    losses = []
    for teacher in teachers:
        wanted, found = view(rng, (original, decoded.clamp(0, 1)), teacher.stride, scale)
        losses.append(fidelity_loss(distances(teacher, wanted, found), weights))
    return torch.stack(losses).sum()
