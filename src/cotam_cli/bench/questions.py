"""Questions about pictures, and whether an answer is right."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from cotam_cli.errors import CotamError
from cotam_cli.files import read_file

MATCHES = ("exact", "contains", "choice")


@dataclass(frozen=True)
class Question:
    """answers: any of them is right; empty: the model's own answer on the original is. choices: in order."""

    image: str
    question: str
    answers: tuple[str, ...]
    match: str
    choices: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """What the model is asked."""
        if self.match != "choice":
            return f"{self.question}\nAnswer with a single word or a short phrase."
        listed = "\n".join(f"{letter(k)}. {choice}" for k, choice in enumerate(self.choices))
        return f"{self.question}\n{listed}\nAnswer with the letter of the right choice only."


def letter(index: int) -> str:
    """A, B, C, ..."""
    return chr(ord("A") + index)


def read_questions(path: Path) -> list[Question]:
    """Questions from JSON lines, one {"image", "question", "answer", "match", "choices"} each.

    Raises CotamError that names the line and what is wrong with it.
    """
    lines = read_file(path).decode("utf-8", errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_question(json.loads(line)))
            except (ValueError, CotamError) as error:
                raise CotamError(f"{path}, line {number}: {error}; see docs/bench.md") from error
    if not found:
        raise CotamError(f"{path} holds no question; put one JSON object on each line")
    return found


def _question(entry: object) -> Question:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("image", "question")):
        raise CotamError('a line needs "image" and "question", both text')
    listed = entry.get("choices", [])
    if not isinstance(listed, list):
        raise CotamError('choices must be a list, such as ["cat", "dog"]')
    choices = tuple(map(str, listed))
    match = entry.get("match", "choice" if choices else "contains")
    if match not in MATCHES:
        raise CotamError(f"match must be one of {', '.join(MATCHES)}")
    given = entry.get("answer", [])
    answers = tuple(map(str, given if isinstance(given, list) else [given]))
    if match == "choice":
        if not 2 <= len(choices) <= 26:
            raise CotamError("a multiple choice needs 2 to 26 choices")
        answers = tuple(_as_letter(answer, choices) for answer in answers)
    return Question(entry["image"], entry["question"], answers, match, choices)


def _as_letter(answer: str, choices: tuple[str, ...]) -> str:
    letters = [letter(k) for k in range(len(choices))]
    if answer in choices:
        return letters[choices.index(answer)]
    if answer.strip().upper() in letters:
        return answer.strip().upper()
    raise CotamError(f"the answer {answer!r} is none of the choices, nor a letter of one")


def is_right(question: Question, reply: str, original_reply: str) -> bool:
    """Whether a reply is a right one. Case, punctuation and spaces do not count."""
    wanted = question.answers or (original_reply,)
    if question.match == "choice":
        chosen = chosen_letter(reply, question.choices)
        if not question.answers:
            return chosen == chosen_letter(original_reply, question.choices)
        return chosen in wanted
    said = plain(reply)
    if question.match == "exact" or not question.answers:
        return said in map(plain, wanted)
    return any(f" {plain(answer)} " in f" {said} " for answer in wanted)


def chosen_letter(reply: str, choices: tuple[str, ...]) -> str | None:
    """The choice that a reply names: by its letter first, else by its words; None when it names none."""
    last = letter(len(choices) - 1)
    alone = rf"\W*([A-{last}])\s*(?:$|[^\w\s'])"  # "A.", "(B) because": not "A cat"
    announced = rf".*(?i:answer|choice|option)(?i:\s+is)?\W*([A-{last}])\b"
    for pattern in (alone, announced):
        found = re.match(pattern, reply, re.DOTALL)
        if found:
            return found[1]
    if re.fullmatch(rf"\W*[a-{last.lower()}]\W*", reply):
        return re.sub(r"\W", "", reply).upper()
    said = plain(reply)
    named = [k for k, choice in enumerate(choices) if f" {plain(choice)} " in f" {said} "]
    return letter(named[0]) if len(named) == 1 else None


def plain(text: str) -> str:
    """Words only: case folded, punctuation between digits kept (8.70), everything else one space."""
    kept = re.sub(r"(?<=\d)[,.](?=\d)|\w", lambda found: found[0], text.casefold())
    kept = re.sub(r"[^\w.,]+|(?<!\d)[.,]|[.,](?!\d)", " ", kept)
    return " ".join(kept.split())
