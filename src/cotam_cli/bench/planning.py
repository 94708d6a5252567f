"""From what a user asks for on the command line to a plan: codecs, judges, questions, places."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cotam_cli.bench.choosing import choose_codecs
from cotam_cli.bench.contract import Contract, read_contract
from cotam_cli.bench.endpoint import Endpoint
from cotam_cli.bench.pictures import find_pictures
from cotam_cli.bench.questions import Question, read_questions
from cotam_cli.bench.run import Plan, Vlm
from cotam_cli.bench.tasks import Task, Truth, read_truth
from cotam_cli.errors import CotamError
from cotam_cli.sessions import cores


@dataclass(frozen=True)
class Options:
    """The command line of `cotam bench`, as far as it says what to measure."""

    codecs: str = "cotam,jpeg,webp,avif,jxl"
    templates: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()
    tasks: str | None = None
    layers: tuple[str, ...] = ()
    truth: Path | None = None
    labels: Path | None = None
    vlm: str | None = None
    vlm_model: str | None = None
    questions: Path | None = None
    vlm_rpm: float = 0.0
    vlm_timeout: float = 60.0
    vlm_price: tuple[float, float] = (0.0, 0.0)
    limit: int | None = None
    cache: Path | None = None
    timeout: float = 120.0
    workers: int | None = None


def make_plan(folder: Path, options: Options) -> Plan:
    """Everything that can be checked before any work. Raises CotamError for what cannot be."""
    paths = find_pictures(folder, options.limit)
    truths, with_words = _truths(folder, options)
    codecs, missing = choose_codecs(_names(options.codecs), options.templates, timeout=options.timeout)
    tasks = [*_tasks(options.tasks, with_words), *map(_layers, options.layers)]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise CotamError(f"two tasks of the same name among {', '.join(names)}; give one another name")
    return Plan(
        folder=folder.resolve().name,
        paths=tuple(paths),
        codecs=tuple(codecs),
        missing=missing,
        rates=options.rates,
        tasks=tuple(tasks),
        truths=truths,
        vlm=_vlm(options, {path.name for path in paths}),
        kept=options.cache or default_cache(),
        workers=options.workers or cores(),
    )


def default_cache() -> Path:
    """Where the user's system keeps what can be made again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "cotam" / "bench"


def choose_anchor(plan: Plan, wanted: str | None) -> str:
    """The codec to compare with: the one that is asked for, else jpeg, else the first other than cotam.

    Raises CotamError when the wanted one is not measured.
    """
    names = [codec.name for codec in plan.codecs]
    if wanted is not None:
        if wanted in names:
            return wanted
        why = plan.missing.get(wanted)
        raise CotamError(f"the anchor {wanted} is {f'missing: {why}' if why else 'none of the codecs'}")
    others = [name for name in names if name != "cotam"]
    return "jpeg" if "jpeg" in names else (others or names or [""])[0]


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _truths(folder: Path, options: Options) -> tuple[dict[str, Truth], bool]:
    """What is known of the pictures, and whether words are."""

    def beside(given: Path | None, name: str) -> Path | None:
        usual = folder / name
        return given or (usual if usual.is_file() else None)

    words = beside(options.truth, "truth.json")
    return read_truth(words, beside(options.labels, "labels.json")), words is not None


def _tasks(listed: str | None, with_words: bool) -> list[Task]:
    if listed is None:
        return [Task("ocr")] if with_words else []
    return [_task(name) for name in _names(listed) if name != "none"]


def _task(name: str) -> Task:
    if name == "ocr" or name.startswith("ocr:"):
        return Task("ocr", language=name.partition(":")[2] or "eng")
    if name.endswith(".json"):
        contract = read_contract(Path(name))
        return Task(contract.name, contract)
    raise CotamError(
        f"unknown task {name}; there are ocr, ocr:LANGUAGE, a judge's contract as .json, and none"
    )


def _layers(tower: str) -> Task:
    """Features of a vision transformer: a contract of the kind tokens, or a tower of open_clip with its weights."""
    if tower.endswith(".json"):
        contract = read_contract(Path(tower))
        if contract.kind != "tokens":
            raise CotamError(f'{tower} is of the kind {contract.kind}; --layers needs "tokens"')
        return Task(contract.name, contract)
    name, _, weights = tower.partition("/")
    return Task(tower, Contract(name=tower, kind="tokens", tower=name, weights=weights))


def _vlm(options: Options, pictures: set[str]) -> Vlm | None:
    given = (options.vlm, options.vlm_model, options.questions)
    if not any(given):
        return None
    if options.vlm is None or options.vlm_model is None or options.questions is None:
        raise CotamError("a multimodal model needs --vlm URL, --vlm-model NAME and --questions FILE together")
    endpoint = Endpoint(
        options.vlm,
        options.vlm_model,
        rpm=options.vlm_rpm,
        timeout=options.vlm_timeout,
        price=options.vlm_price,
    )
    questions: dict[str, list[Question]] = {}
    for question in read_questions(options.questions):
        questions.setdefault(question.image, []).append(question)
    if not pictures & questions.keys():
        raise CotamError(
            f"no question of {options.questions} is about a picture of the folder; check its names"
        )
    return Vlm(endpoint, questions)
