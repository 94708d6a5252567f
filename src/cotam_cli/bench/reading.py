"""Words in pictures, as Tesseract reads them."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable

import numpy as np
from PIL import Image

from cotam_cli.bench.tasks import Answer, Pixels, Score, Truth
from cotam_cli.errors import CotamError

TIMEOUT = 300  # seconds a picture


class Tesseract:
    """Tesseract's command, one thread, a language that is installed."""

    def __init__(self, language: str = "eng") -> None:
        found = shutil.which("tesseract")
        if found is None:
            raise CotamError(
                "Tesseract is not installed; apt install tesseract-ocr, or brew install tesseract"
            )
        listed = _run([found, "--list-langs"], b"").splitlines()
        if language not in listed:
            raise CotamError(f"Tesseract has no language {language}; install it (tesseract-ocr-{language})")
        self.command = [found, "stdin", "stdout", "-l", language, "--dpi", "150"]

    def answer(self, pixels: Pixels) -> Answer:
        """The words of a picture, uint8 [h, w, 3], in reading order."""
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG", compress_level=1)
        return {"words": np.array(_run(self.command, png.getvalue()).split(), dtype=str)}

    def score(self, original: Answer, decoded: Answer, truth: Truth) -> dict[str, Score]:
        """accuracy: share of the true words that are read; agreement: of those read in the original."""
        read = decoded["words"].tolist()
        scores = {"agreement": words_found(original["words"].tolist(), read)}
        if truth.words is not None:
            scores["accuracy"] = words_found(truth.words, read)
        return {name: score for name, score in scores.items() if score[1]}


def words_found(wanted: Iterable[str], read: Iterable[str]) -> Score:
    """The share of the words that were read, and how many there are.

    Letters and digits only, case folded, two and more of them; each word that was read serves once.
    """
    true, seen = Counter(_tidy(wanted)), Counter(_tidy(read))
    count = true.total()
    return ((true & seen).total() / count if count else 0.0, count)


def _tidy(words: Iterable[str]) -> list[str]:
    kept = (re.sub(r"[\W_]+", "", word.casefold()) for word in words)
    return [word for word in kept if len(word) >= 2]


def _run(command: list[str], data: bytes) -> str:
    env = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    try:
        done = subprocess.run(  # noqa: S603 the command is our own
            command, input=data, capture_output=True, env=env, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CotamError(f"Tesseract could not be run: {error}") from error
    if done.returncode:
        raise CotamError(f"Tesseract failed: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout.decode(errors="replace")
