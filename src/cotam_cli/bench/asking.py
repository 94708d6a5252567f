"""Put the user's questions to the user's own model: about the originals, and about every decoded picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cotam_cli.bench.codecs import Codec
from cotam_cli.bench.endpoint import Client, Sight
from cotam_cli.bench.measuring import Failure, Job, Row, Shelf, reason_of
from cotam_cli.bench.pictures import Picture, load_pixels
from cotam_cli.bench.questions import Question, is_right
from cotam_cli.bench.tasks import Pixels, Score
from cotam_cli.errors import CotamError

THREADS = 4  # calls at the same time; the rate limit holds for all of them together


@dataclass(frozen=True)
class Asked:
    """One picture's score, of the original when codec is empty; None where an answer is missing."""

    picture: str
    codec: str
    setting: float
    scores: dict[str, Score] | None
    failure: Failure | None = None


@dataclass(frozen=True)
class Subject:
    """A decoded picture to ask about."""

    picture: Picture
    codec: Codec
    setting: float
    kept: Path

    def pixels(self) -> Pixels:
        """From the kept file."""
        data = Shelf.of(Job(self.picture, self.codec, kept=self.kept)).file(self.setting)
        if data is None:
            raise CotamError("its coded file is gone from the cache; run the command again")
        return self.codec.decode(data)


def subjects_of(
    rows: Sequence[Row], pictures: Sequence[Picture], codecs: Sequence[Codec], kept: Path
) -> list[Subject]:
    """Every different file of these rows."""
    by_name, by_codec = {p.name: p for p in pictures}, {c.name: c for c in codecs}
    return [
        Subject(by_name[row.picture], by_codec[row.codec], setting, kept)
        for row in rows
        for setting in dict.fromkeys(point.setting for point in row.points if point is not None)
    ]


def ask_all(
    client: Client,
    pictures: Sequence[Picture],
    subjects: Sequence[Subject],
    questions: Mapping[str, Sequence[Question]],
) -> Iterator[Asked]:
    """The originals first, as they are finished, then the decoded pictures; those with questions only."""
    originals: dict[str, list[str]] = {}

    def ask_original(picture: Picture) -> Asked:
        asked = questions[picture.name]

        def work() -> dict[str, Score]:
            replies = _replies(client, load_pixels(picture.path), asked)
            originals[picture.name] = replies
            return _score(asked, replies, replies)

        return _caught(work, Asked(picture.name, "", 0.0, None))

    def ask_decoded(subject: Subject) -> Asked:
        name = subject.picture.name
        empty = Asked(name, subject.codec.name, subject.setting, None)
        if name not in originals:
            return empty  # its original's failure says why

        def work() -> dict[str, Score]:
            replies = _replies(client, subject.pixels(), questions[name])
            return _score(questions[name], replies, originals[name])

        return _caught(work, empty)

    with ThreadPoolExecutor(THREADS) as pool:
        for calls in (
            [partial(ask_original, picture) for picture in pictures if picture.name in questions],
            [partial(ask_decoded, subject) for subject in subjects if subject.picture.name in questions],
        ):
            futures = [pool.submit(call) for call in calls]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _caught(work: Callable[[], dict[str, Score]], empty: Asked) -> Asked:
    setting = empty.setting if empty.codec else None
    try:
        return Asked(empty.picture, empty.codec, empty.setting, work())
    except Exception as error:  # codecs of any make; the endpoint's own are CotamErrors
        failure = Failure(reason_of(error), empty.picture, empty.codec, setting, task="vlm")
        return Asked(empty.picture, empty.codec, empty.setting, None, failure)


def _replies(client: Client, pixels: Pixels, questions: Sequence[Question]) -> list[str]:
    picture = Sight(pixels)
    return [client.ask(picture, question.prompt) for question in questions]


def _score(
    questions: Sequence[Question], replies: Sequence[str], originals: Sequence[str]
) -> dict[str, Score]:
    """accuracy over the questions whose answer is known, agreement with the original's reply over the others."""
    scores: dict[str, Score] = {}
    for name, known in (("accuracy", True), ("agreement", False)):
        right = [
            is_right(question, reply, original)
            for question, reply, original in zip(questions, replies, originals, strict=True)
            if bool(question.answers) == known
        ]
        if right:
            scores[name] = (sum(right) / len(right), float(len(right)))
    return scores
