"""How a run is stopped at any moment and loses nothing: signals that ask for it, and states that are always whole."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While entered, SIGTERM and SIGINT set `asked` instead of ending the process."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a state in the place of an older one, which stays whole until then."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
