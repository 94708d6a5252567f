"""The JSON contract that tells `cotam bench` how to ask a network; docs/bench.md describes it for users."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cotam_cli.errors import CotamError
from cotam_cli.files import read_file

KINDS = ("logits", "boxes", "tokens", "zero-shot")
FITS = ("stretch", "crop", "longest")
ROWS = ("rows", "separate", "yolo")


@dataclass(frozen=True)
class Input:
    """How a picture is brought to the network. The value of a channel is (0..255 x scale - mean) / std.

    fit: "stretch" to size; "crop", the middle of it after the shorter side was brought to size / share;
    "longest", the longer side at most size[0], both rounded to `multiple`.
    """

    size: tuple[int, int] = (224, 224)  # height, width
    layout: str = "NCHW"
    fit: str = "stretch"
    share: float = 0.875
    multiple: int = 14
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: str = "RGB"
    dtype: str = "float32"


@dataclass(frozen=True)
class Contract:
    """A network and how to ask it. Either `model`, an ONNX file with its sha256, or `tower` of open_clip."""

    name: str
    kind: str
    model: str = ""
    sha256: str = ""
    tower: str = ""
    weights: str = ""
    input: Input = Input()
    outputs: tuple[tuple[str, str], ...] = ()  # (our name, the network's)
    rows: str = "rows"  # of boxes
    threshold: float = 0.3
    classes: tuple[str, ...] = ()
    template: str = "a photo of a {}"


def read_contract(path: Path) -> Contract:
    """A contract from a JSON file; `model` is relative to it.

    Raises CotamError that names the field and what belongs there.
    """
    try:
        entry = json.loads(read_file(path))
    except ValueError as error:
        raise CotamError(f"{path} is not JSON ({error}); see docs/bench.md for a judge's contract") from error
    try:
        return _contract(entry, path)
    except CotamError as error:
        raise CotamError(f"{path}: {error}; see docs/bench.md for a judge's contract") from error


def _contract(entry: Any, path: Path) -> Contract:
    values = _known(Contract, entry)
    kind = _one_of(values.get("kind"), KINDS, "kind")
    values["name"] = str(values.get("name", path.stem))
    values["input"] = _input(values.get("input", {}))
    values["rows"] = _one_of(values.get("rows", "rows"), ROWS, "rows")
    outputs = values.get("outputs", {})
    if not isinstance(outputs, dict):
        raise CotamError('outputs must be an object such as {"deep": "norm"}')
    values["outputs"] = tuple((str(ours), str(theirs)) for ours, theirs in outputs.items())
    classes, threshold = values.get("classes", []), values.get("threshold", 0.3)
    if not isinstance(classes, list):
        raise CotamError('classes must be a list of names, such as ["cat", "dog"]')
    if not _is_number(threshold):
        raise CotamError("threshold must be a number")
    values["classes"], values["threshold"] = tuple(map(str, classes)), float(threshold)
    for name in ("tower", "weights", "template"):
        if not isinstance(values.get(name, ""), str):
            raise CotamError(f"{name} must be text")
    if values.get("tower"):
        if kind not in ("tokens", "zero-shot"):
            raise CotamError("a tower of open_clip serves the kinds tokens and zero-shot")
        if kind == "zero-shot" and len(values["classes"]) < 2:
            raise CotamError("zero-shot needs at least two names in classes")
        return Contract(**values)
    if kind == "zero-shot":
        raise CotamError('zero-shot needs "tower", the name of an open_clip model')
    if not isinstance(values.get("model"), str):
        raise CotamError('"model" must name an ONNX file')
    if kind == "tokens" and not values["outputs"]:
        raise CotamError('tokens need "outputs", such as {"shallow": "block3", "deep": "norm"}')
    model = path.parent / values["model"]
    values["model"], values["sha256"] = str(model), hashlib.sha256(read_file(model)).hexdigest()
    return Contract(**values)


def _input(entry: Any) -> Input:
    values = _known(Input, entry)
    for name, choices in {
        "layout": ("NCHW", "NHWC"),
        "fit": FITS,
        "channels": ("RGB", "BGR"),
        "dtype": ("float32", "float16", "uint8"),
    }.items():
        if name in values:
            _one_of(values[name], choices, f"input.{name}")
    if isinstance(values.get("size"), int):
        values["size"] = (values["size"], values["size"])
    for name, count in (("size", 2), ("mean", 3), ("std", 3)):
        if name in values:
            given = values[name]
            if not isinstance(given, list | tuple) or len(given) != count or not all(map(_is_number, given)):
                raise CotamError(f"input.{name} must be {count} numbers")
            values[name] = tuple(given)
    for name in ("scale", "share", "multiple"):
        if not _is_number(values.get(name, 1)):
            raise CotamError(f"input.{name} must be a number")
    whole = (*values.get("size", ()), values.get("multiple", 1))
    if not all(isinstance(value, int) and value >= 1 for value in whole):
        raise CotamError("input.size and input.multiple are whole numbers from 1")
    if not 0 < values.get("share", 1) <= 1 or 0 in values.get("std", ()):
        raise CotamError("input.share is above 0 and at most 1, and input.std must not be 0")
    return Input(**values)


def _is_number(value: Any) -> bool:
    """Whether it is a number that float32 holds; JSON's NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e38


def _known(shape: type, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise CotamError("an object belongs here")
    names = {field.name for field in fields(shape)} - {"sha256"}
    unknown = set(entry) - names
    if unknown:
        raise CotamError(f"unknown field {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
    return dict(entry)


def _one_of(value: Any, choices: tuple[str, ...], name: str) -> str:
    if value not in choices:
        raise CotamError(f"{name} must be one of {', '.join(choices)}")
    return str(value)
