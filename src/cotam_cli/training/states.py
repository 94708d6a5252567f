"""A training state in one small half-precision file, to carry a run elsewhere, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cotam_cli.errors import CotamError
from cotam_cli.training.network import Codec, NetworkConfig

SYNTHESIS = "synthesis."
MOMENTUM = ("momentum_buffer", "exp_avg")
SQUARES = "exp_avg_sq"


def pack_state(run_folder: Path, target: Path) -> None:
    """Write the run's state in half precision: average weights, AdamW's part, counters (<= 25 MB).

    The weights themselves are left out: a run goes on from their average, which is better than they are, and the same
    once it has cooled down.

    AdamW's squared gradients are bfloat16: most are below float16's range, and a zero there turns the next step into a
    leap. Momentum is left out, AdamW's and Muon's: it is back after twenty steps.
    """
    state = torch.load(_existing(run_folder / "state.pt"), map_location="cpu", weights_only=True)
    optimisers = _cast(state.pop("optimisers"), torch.bfloat16)
    for optimiser in optimisers:
        kept = {k: {n: x for n, x in v.items() if n not in MOMENTUM} for k, v in optimiser["state"].items()}
        optimiser["state"] = {k: v for k, v in kept.items() if v}
    del state["codec"]
    save_state({**_cast(state, torch.float16), "optimisers": optimisers}, target)


def save_state(state: Mapping[str, Any], target: Path) -> None:
    """Write a state, the whole file or nothing."""
    part = target.with_name(f"{target.name}.part")
    torch.save(dict(state), part)
    part.replace(target)


def unpack_state(source: Path) -> dict[str, Any]:
    """A state written by `pack_state` (or a run's own `state.pt`), in float32; a cool-down stays with its run."""
    state = dict(_cast(torch.load(_existing(source), map_location="cpu", weights_only=True), torch.float32))
    for optimiser in state.get("optimisers", []):
        for values in optimiser["state"].values():
            if SQUARES in values:
                values.setdefault("exp_avg", torch.zeros_like(values[SQUARES]))
    return {"codec": state["average"]} | state | {"decay_from": -1}


def grow(state: Mapping[str, Any], network: NetworkConfig) -> dict[str, Any]:
    """The same codec in a larger network, with the same output: blocks are added at the end of the transforms,
    starting as the identity, and hidden channels to the context's blocks, starting unheard. The optimisers begin anew.

    Raises CotamError where `network` differs in more than these, or is smaller.
    """
    torch.manual_seed(0)
    fresh = Codec(network).state_dict()
    average = _into(fresh, state["average"])
    grown = {**state, "network": asdict(network), "codec": average, "average": average, "optimisers": []}
    if "adapter" in state:
        inner = {name.removeprefix(SYNTHESIS): x for name, x in fresh.items() if name.startswith(SYNTHESIS)}
        grown["adapter"] = {**state["adapter"], "weights": _into(inner, state["adapter"]["weights"])}
    return grown


def _into(fresh: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Old weights in the first places of new ones."""
    result = {name: values.clone() for name, values in fresh.items()}
    for name, values in old.items():
        room = result.get(name)
        hidden = re.fullmatch(r"passes\.\d\.block\.(up|down)\.(weight|bias)", name)
        if room is None or (room.shape != values.shape and not hidden):
            raise CotamError(f"{name} would not stay as it is; only blocks and context_hidden can grow")
        if any(new < before for new, before in zip(room.shape, values.shape, strict=True)):
            raise CotamError(f"{name} would shrink; give at least the sizes of the state")
        room[tuple(slice(side) for side in values.shape)] = values
    return result


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
