"""The optimisers of the float networks. Each group keeps its full rate as `top`, for schedules."""

from __future__ import annotations

import torch
from torch import nn


def make_optimisers(
    network: nn.Module, rate: float, muon_rate: float, kind: str = "muon"
) -> list[torch.optim.Optimizer]:
    """Muon on the hidden matrices; AdamW on the rest. Curves move faster, linear paths slower."""
    curves, linear, matrices, rest = [], [], [], []
    for name, p in network.named_parameters():
        if name.split(".")[0] in ("log_gain", "log_regain", "y_prior", "z_prior"):
            curves.append(p)
        elif name.endswith(("klt", "lap")):
            linear.append(p)
        elif p.ndim == 2 and kind == "muon" and ".head" not in name:
            matrices.append(p)
        else:
            rest.append(p)
    groups = [
        {"params": rest, "lr": rate, "top": rate},
        {"params": curves, "lr": 2 * rate, "top": 2 * rate, "weight_decay": 0.0},
        {"params": linear, "lr": 0.1 * rate, "top": 0.1 * rate, "weight_decay": 0.0},
    ]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    ]
    if matrices:
        muon = torch.optim.Muon(
            [{"params": matrices, "lr": muon_rate}],
            weight_decay=0.01,
            adjust_lr_fn="original",
            ns_steps=4,
        )
        for group in muon.param_groups:
            group["top"] = muon_rate
        optimisers.append(muon)
    return optimisers
