"""What a run of the token adapter belongs to: one tower, and the state of one codec model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cotam_cli.codec.models import Model
from cotam_cli.errors import CotamError
from cotam_cli.guidance.towers import tower_name
from cotam_cli.guidance.vit_graph import Vit
from cotam_cli.training.export import sha256


def tower_identity(tower: str, vit: Vit) -> dict[str, Any]:
    """What tells a tower from others: its name, and the patch embedding that an adapter is exported with."""
    digest = sha256(np.ascontiguousarray(vit.patch).tobytes())
    return {"tower": tower_name(tower), "patch": vit.patch.shape[-1], "patch_sha256": digest}


def kept_name(identity: dict[str, Any], tower: str) -> str:
    """A tower's name as a run's identity has it: its last part alone where there is no hash, in older runs."""
    return tower_name(tower) if "patch_sha256" in identity else Path(tower).name


def check_state(state: dict[str, Any], model: Model) -> None:
    """Raise CotamError where a training state is not the one that a model was exported from."""
    trained = model.manifest.get("training", {}).get("step")
    if state["step"] != trained:
        raise CotamError(
            f"the state is of step {state['step']}, {model.record.name} of step {trained}; give the model's own state"
        )
