"""What a machine is asked about every picture, before and after the codec.

A `Task` says what to ask and can be pickled; `load_judge` makes of it, once a process, the judge that answers.
A judge answers for one picture at a time, so that the answers for originals are given once and kept; a score
compares two answers. Scores are (value, weight): over many pictures they are averaged by weight, so that a
page with 200 words counts 200 times as much as one with a single word.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cotam_cli.errors import CotamError
from cotam_cli.files import read_file

if TYPE_CHECKING:
    from cotam_cli.bench.contract import Contract

Pixels = NDArray[np.uint8]
Answer = Mapping[str, NDArray[Any]]
Score = tuple[float, float]


def slug(name: str) -> str:
    """A name that can be a file's."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "unnamed"


@dataclass(frozen=True)
class Truth:
    """What is known of a picture: its words, and the index of its class. None: nothing is known."""

    words: tuple[str, ...] | None = None
    label: int | None = None


UNKNOWN = Truth()


@dataclass(frozen=True)
class Task:
    """name: as the reports show it. contract None: the words that Tesseract reads, in `language`."""

    name: str
    contract: Contract | None = None
    language: str = "eng"
    version: str = "1"

    @property
    def key(self) -> str:
        """Names the kept answers: changes with everything that may change an answer."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return f"{slug(self.name)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def score_key(self, truth: Truth) -> str:
        """Names the kept scores: they change with the truth too."""
        return f"{self.key}-{hashlib.sha256(repr(truth).encode()).hexdigest()[:8]}"


class Judge(Protocol):
    """Looks at one picture, and compares two answers.

    answer: of uint8 [h, w, 3] sRGB pixels. score: {measure: (value 0..1, weight)}, higher is better.
    Both raise CotamError.
    """

    def answer(self, pixels: Pixels) -> Answer: ...

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]: ...


@lru_cache(maxsize=8)
def load_judge(task: Task) -> Judge:
    """The judge of a task. Raises CotamError that names what is missing and how to get it."""
    if task.contract is None:
        from cotam_cli.bench.reading import Tesseract

        return Tesseract(task.language)
    if task.contract.tower:
        from cotam_cli.bench.clip import load_clip

        return load_clip(task.contract)
    from cotam_cli.bench.networks import load_network

    return load_network(task.contract)


def read_truth(path: Path | None, labels: Path | None) -> dict[str, Truth]:
    """What is known of the pictures, by file name.

    path: JSON {"file": {"words": ["TOTAL", "8.70"], ...}}; labels: JSON {"file": class index}.

    Raises CotamError when a file is not of that shape.
    """
    words: dict[str, tuple[str, ...]] = {}
    classes: dict[str, int] = {}
    if path is not None:
        for name, entry in _object(path).items():
            if not isinstance(entry, dict) or not isinstance(entry.get("words"), list):
                raise CotamError(f'{path}: {name} needs {{"words": [...]}}')
            words[name] = tuple(map(str, entry["words"]))
    if labels is not None:
        for name, label in _object(labels).items():
            if not isinstance(label, int):
                raise CotamError(f"{labels}: {name} needs the index of its class, a whole number")
            classes[name] = label
    return {name: Truth(words.get(name), classes.get(name)) for name in words.keys() | classes.keys()}


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_file(path))
    except ValueError as error:
        raise CotamError(f"{path} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise CotamError(f"{path} must hold a JSON object with a name for each picture")
    return content
