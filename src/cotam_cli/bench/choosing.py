"""From the names that a user gives to codecs, with a reason for each that cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cotam_cli.bench.codecs import Codec, anchors, cotam
from cotam_cli.bench.external import MissingProgram, external_codec
from cotam_cli.bench.zoo import PREFIX, zoo_codec
from cotam_cli.errors import CotamError

NAMES = ("cotam", "cotam:human", "cotam:effort3", "cotam:effort10", "jpeg", "webp", "avif", "jxl")
MOST_RUNGS = 6  # of a ladder: enough for a BD-rate, and half the time of all of them
CJXL = "jxl=cjxl {in} {out}.jxl -q {q} -e 7 --num_threads=0 --quiet ;; djxl {in}.jxl {out}.png --quiet"


def choose_codecs(
    names: Sequence[str], templates: Sequence[str] = (), *, timeout: float = 120.0
) -> tuple[list[Codec], dict[str, str]]:
    """The codecs in the order of their names, then those of templates; and what is missing, with the reason.

    Raises CotamError for a name that no release knows, a template of the wrong shape, or a name given twice.
    """
    found, missing = anchors()
    own = (cotam(), cotam(target="human"), cotam(effort=3), cotam(effort=10))
    here = {codec.name: codec for codec in (*found, *own)}
    if "jxl" in missing:
        try:
            here["jxl"] = external_codec(CJXL, timeout)
        except MissingProgram:
            missing["jxl"] = (
                "pip install pillow-jxl-plugin, or install cjxl and djxl (apt install libjxl-tools)"
            )
    chosen: list[Codec] = []
    absent: dict[str, str] = {}
    for name in names:
        if name in here:
            chosen.append(here[name])
        elif name in missing:
            absent[name] = missing[name]
        elif name.startswith(PREFIX):
            try:
                chosen.append(zoo_codec(name))
            except CotamError as error:
                absent[name] = str(error)
        else:
            raise CotamError(
                f"unknown codec {name}; there are {', '.join(NAMES)}, {PREFIX}ARCHITECTURE and --codec"
            )
    for template in templates:
        try:
            chosen.append(external_codec(template, timeout))
        except MissingProgram as error:
            absent[template.partition("=")[0].partition("@")[0].strip()] = str(error)
    taken = [codec.name for codec in chosen]
    twice = {name for name in taken if taken.count(name) > 1}
    if twice:
        raise CotamError(f"{', '.join(sorted(twice))} is given twice; give the codec another name")
    return [replace(codec, ladder=thinned(codec.ladder)) for codec in chosen], absent


def thinned(ladder: tuple[float, ...]) -> tuple[float, ...]:
    """At most six rungs of a ladder, both ends among them."""
    if len(ladder) <= MOST_RUNGS:
        return ladder
    return tuple(ladder[round(k * (len(ladder) - 1) / (MOST_RUNGS - 1))] for k in range(MOST_RUNGS))
