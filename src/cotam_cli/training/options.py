"""Command-line options from the fields of a run's dataclass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

HELP = {
    "pack": "Folder made by `pack`.",
    "out": "Folder of the run; an earlier run in it goes on.",
    "minutes": "Stop after this long.",
    "steps": "Stop at this step of the run; 0: never.",
    "batch": "Crops a step and process.",
    "crop": "Side of a crop, in pixels; a multiple of 64.",
    "optimiser": "muon or adamw.",
    "rate": "AdamW's learning rate.",
    "muon_rate": "Muon's learning rate.",
    "warmup": "Steps until the full learning rate.",
    "similarity": "Share of structural distance (MS-SSIM) in the distortion, 0 to 1.",
    "decay_steps": "Cool down to zero over this many steps, then stop; 0: never.",
    "ema": "Decay of the average of the weights.",
    "clip": "Largest norm of the gradient.",
    "seed": "Of the pictures, crops and noise.",
    "device": "cpu, cuda, ...",
    "threads": "Processor threads.",
    "save_seconds": "Seconds between savings.",
    "log_every": "Steps between lines of the log.",
    "latents": "Latent channels.",
    "hyper": "Hyper latent channels.",
    "width": "Channels of the transforms.",
    "encoder_blocks": "Blocks of the analysis.",
    "decoder_blocks": "Blocks of the synthesis.",
    "features": "Channels of the hyperprior.",
    "context": "Channels of the parameter networks.",
    "context_hidden": "Hidden channels of their blocks.",
    "cooling": "The last share of the minutes, in which the rates fall to zero; on an accelerator alone.",
    "distant": "Share of the steps with crops twice as wide, a quarter as many; teachers look at them halved.",
    "fidelity": "Weight of what the teachers miss.",
    "seen": "Crops of a worker's batch that the teachers look at.",
    "shallow": "Weight of the teachers' shallow answers.",
    "deep": "Weight of the teachers' deep answers.",
    "text": "Weight of a text teacher's answer.",
    "reading": "Weight of a reading teacher's answer.",
    "alone": "The first share of the steps, with the shallow answers alone.",
    "pixels": "Weight of the squared error beside the prior's.",
    "pages": "Share of the steps with pages of text, for teachers that read, beside others, which see the photos.",
    "page_pixels": "Weight of the squared error beside the prior's on pages.",
    "decay": "The last share of the steps, in which the rates fall to zero.",
}


def options_of(config: type, **texts: str) -> Callable[[F], F]:
    """One option for each field of a dataclass; `texts` are for fields that mean something else than in `HELP`."""

    def add(function: F) -> F:
        for field in reversed(fields(config)):
            function = _option(field, texts.get(field.name, HELP.get(field.name, "")))(function)
        return function

    return add


def _option(field: Field[Any], text: str) -> Callable[[F], F]:
    flag = f"--{field.name.replace('_', '-')}"
    if field.default is MISSING:
        return click.option(flag, type=click.Path(), required=True, help=text)
    return click.option(flag, type=type(field.default), default=field.default, show_default=True, help=text)
