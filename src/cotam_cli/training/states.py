"""A training state in one small half-precision file, to carry a run elsewhere, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cotam_cli.errors import CotamError


def pack_state(run_folder: Path, target: Path) -> None:
    """Write the run's state in half precision: average weights, AdamW's part, counters (<= 25 MB).

    The weights themselves are left out: a run goes on from their average, which is better than they are, and the same
    once it has cooled down.

    AdamW's part is bfloat16: most of its squared gradients are below float16's range, and a zero there turns the
    next step into a leap. Muon's momentum is left out: it is back after twenty steps.
    """
    state = torch.load(_existing(run_folder / "state.pt"), map_location="cpu", weights_only=True)
    optimisers = _cast(state.pop("optimisers"), torch.bfloat16)
    for optimiser in optimisers:
        optimiser["state"] = {k: v for k, v in optimiser["state"].items() if "momentum_buffer" not in v}
    del state["codec"]
    torch.save({**_cast(state, torch.float16), "optimisers": optimisers}, target)


def unpack_state(source: Path) -> dict[str, Any]:
    """A state written by `pack_state` (or a run's own `state.pt`), in float32."""
    state = dict(_cast(torch.load(_existing(source), map_location="cpu", weights_only=True), torch.float32))
    return {"codec": state["average"]} | state


def _existing(path: Path) -> Path:
    if not path.exists():
        raise CotamError(f"{path} does not exist; give a run's folder or a file made by `state`")
    return path


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, dict):
        return {key: _cast(item, dtype) for key, item in value.items()}
    if isinstance(value, list):
        return [_cast(item, dtype) for item in value]
    if isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
        return value.to(dtype)
    return value
