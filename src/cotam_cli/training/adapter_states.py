"""Adapters and the codecs that carry them, as training states: put into a codec, or taken along to a newer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cotam_cli.errors import CotamError
from cotam_cli.training.fidelity import teacher_name
from cotam_cli.training.states import save_state


def merge(base: dict[str, Any], run: Path, out: Path, share: float = 1.0) -> None:
    """Write a codec's state with the adapter of a run as out/state.pt: its weights at `share` of the way from the
    synthesis, which trades what teachers gain for what type on scans loses.

    Raises CotamError when the run is none of an adapter, or belongs to another step of the codec.
    """
    path = run / "state.pt"
    if not path.exists():
        raise CotamError(f"{run} holds no run; train one with: fidelity train")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if "base_step" not in state:
        raise CotamError(f"{run} is no run of an adapter; train one with: fidelity train")
    if state["base_step"] != base["step"]:
        raise CotamError(f"{run} belongs to step {state['base_step']} of the codec, not {base['step']}")
    before = base["adapter"]["training"] if "adapter" in base else {}
    on_device = before.get("device_seconds", 0) + round(state.get("device_seconds", 0.0))
    training = {
        "step": before.get("step", 0) + state["step"],
        "crops": before.get("crops", 0) + state["crops"],
        "core_hours": round(before.get("core_hours", 0.0) + state["core_seconds"] / 3600, 2),
        **({"device_seconds": on_device} if on_device else {}),
        "share": share,
        "teachers": [teacher_name(name) for name in state["teachers"]],
    }
    weights = {
        name: torch.lerp(base["average"][f"synthesis.{name}"], values, share)
        for name, values in state["average"].items()
    }
    adapter = {"weights": weights, "training": training}
    _write(base | {"adapter": adapter}, out)


def carry_over(old: dict[str, Any], new: dict[str, Any], out: Path) -> None:
    """Write a codec's state with an older one's adapter as out/state.pt: what it had learnt beyond the synthesis is
    added to the new synthesis. A start, to be trained on.

    Raises CotamError when the older state carries no adapter, or the networks differ in size.
    """
    if "adapter" not in old or old["network"] != new["network"]:
        raise CotamError("the older state carries no adapter, or its network has other sizes; train one anew")
    learnt, part = old["adapter"]["weights"], "synthesis."
    weights = {
        name: new["average"][part + name] + learnt[name] - old["average"][part + name] for name in learnt
    }
    _write(new | {"adapter": {"weights": weights, "training": old["adapter"]["training"]}}, out)


def _write(state: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    save_state(state, out / "state.pt")
