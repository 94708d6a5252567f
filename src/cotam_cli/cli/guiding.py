"""The options that say where the bits go; encode and map share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cotam_cli.guidance.options import DEFAULTS

F = TypeVar("F", bound=Callable[..., Any])
NAMES = ("auto", "none", "attention", "text", "mix", "focus")


def _check(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A guide by name, tower or file; whether it can be had is found out when it is used."""
    if value in NAMES or value.startswith("clip:") or "." in value or "/" in value:
        return value
    raise click.BadParameter(
        f"{value!r} is none of {', '.join(NAMES)}, clip:MODEL/WEIGHTS, FILE.onnx, FILE.png"
    )


def guide_option(default: str) -> Callable[[F], F]:
    """--guide with a default."""
    return click.option(
        "--guide",
        callback=_check,
        metavar="GUIDE",
        default=default,
        show_default=True,
        help="Where the bits go: auto; none (evenly); attention, text, mix or focus (the embedded guide); "
        "clip:MODEL/WEIGHTS (an open_clip tower); FILE.onnx (made by `cotam guide export`); FILE.png (a grey map, "
        "bright where it matters).",
    )


strength_option = click.option(
    "--guide-strength",
    type=click.FloatRange(0, 7.96),
    default=DEFAULTS.strength,
    show_default=True,
    help="Quality units that important cells gain and others lose.",
)
