"""Small pieces of HTML that several parts of the page need."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from html import escape

from cotam_cli.bench.results import MS_SSIM, PSNR

quoted = partial(escape, quote=True)


def options(names: Iterable[str], chosen: str = "") -> str:
    """The options of a select."""
    return "".join(
        f'<option value="{quoted(name)}"{" selected" * (name == chosen)}>{escape(name)}</option>'
        for name in names
    )


def unit_of(measure: str) -> str:
    """dB for the two plain measures, per cent for what judges say."""
    return "dB" if measure in (PSNR, MS_SSIM) else "%"
