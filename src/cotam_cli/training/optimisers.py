"""The optimisers of the float networks. Each group keeps its full rate as `top`, for schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM, WEIGHT_DECAY, ITERATIONS = 0.95, 0.01, 4
NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)


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
    on_device = rest[0].is_cuda
    groups = [
        {"params": rest, **_rates(rate, rest)},
        {"params": curves, **_rates(2 * rate, rest), "weight_decay": 0.0},
        {"params": linear, **_rates(0.1 * rate, rest), "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        betas=(0.9, 0.98),
        weight_decay=WEIGHT_DECAY,
        fused=True,
        capturable=on_device,
    )
    if not matrices:
        return [adam]
    group = {"params": matrices, **_rates(muon_rate, rest)}
    if on_device:
        return [adam, StackedMuon([group])]
    muon = torch.optim.Muon([group], weight_decay=WEIGHT_DECAY, adjust_lr_fn="original", ns_steps=ITERATIONS)
    return [adam, muon]


def _rates(rate: float, parameters: Sequence[Tensor]) -> dict[str, Any]:
    """A group's rate, on an accelerator as a tensor: a recorded step reads it there."""
    device = parameters[0].device
    return {"lr": torch.tensor(rate, device=device) if parameters[0].is_cuda else rate, "top": rate}


def set_rates(optimisers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Every group's rate to this share of its full one."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(group["top"] * factor)
            else:
                group["lr"] = group["top"] * factor


class StackedMuon(torch.optim.Optimizer):
    """`torch.optim.Muon`'s rule ("original") with equal shapes as one batch of matrices: a few kernels instead of
    thousands. Rates are tensors, and `found_inf`, where set to 1.0, skips a step, as in the fused AdamW."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        self.found_inf: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Without the momentum, which is back after twenty steps, and is `torch.optim.Muon`'s in another form."""
        return {**super().state_dict(), "state": {}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The groups alone."""
        super().load_state_dict({**state_dict, "state": {}})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step; `closure` is not used."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for alike in shapes.values():
                self._step(alike, group["lr"])

    def _step(self, alike: list[Tensor], rate: Tensor) -> None:
        gradients = torch.stack([p.grad for p in alike if p.grad is not None])
        finite = torch.isfinite(gradients)
        gradients = torch.where(finite, gradients, torch.zeros_like(gradients))
        state = self.state[alike[0]]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradients)
        state["momentum"].lerp_(gradients, 1 - MOMENTUM)
        update = orthogonal(gradients.lerp(state["momentum"], MOMENTUM))
        outputs, inputs = alike[0].shape
        wanted = rate if self.found_inf is None else rate * (1 - self.found_inf)
        torch._foreach_mul_(alike, 1 - wanted * WEIGHT_DECAY)
        changes = update.float() * (-wanted * math.sqrt(max(1.0, outputs / inputs)))
        torch._foreach_add_(alike, list(changes.unbind(0)))


def orthogonal(matrices: Tensor) -> Tensor:
    """Newton-Schulz iterations towards the nearest orthogonal matrices, [k, rows, columns]; bfloat16."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / torch.linalg.vector_norm(x.float(), dim=(1, 2), keepdim=True).clamp_min(1e-7).bfloat16()
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
