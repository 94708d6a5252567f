"""Training of the embedded guide: distillation from kept answers, resumable at any step.

Attention is judged by correlation over a picture's patches, since only its order and spread steer bits; text by
cross entropy.
"""

from __future__ import annotations

import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cotam_cli.errors import CotamError
from cotam_cli.training.guide_data import Shard, load_shards, shard_numbers
from cotam_cli.training.guide_network import GuideConfig, SmallVit
from cotam_cli.training.states import save_state
from cotam_cli.training.stopping import StopSignals
from cotam_cli.training.workers import step_randomness

STATE_VERSION = 2


@dataclass(frozen=True)
class GuideRun:
    """One run."""

    shards: str
    out: str
    steps: int = 4000  # the rate cools down to zero at the last one
    batch: int = 16
    rate: float = 1e-3
    warmup: int = 100
    ema: float = 0.99  # older weights than a hundred steps drag a short run down
    text_share: float = 1.0
    seed: int = 1
    threads: int = 1
    minutes: float = 600.0
    save_seconds: float = 120.0
    log_every: int = 100


def standardised(field: Tensor) -> Tensor:
    """Zero mean and unit deviation over each picture's patches; outliers at most 3 away."""
    flat = field.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return (flat / (flat.std(1, keepdim=True) + 1e-4)).clamp(-3, 3)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation over patches, [n, ...] twice to [n]."""
    x, y = (t.flatten(1) - t.flatten(1).mean(1, keepdim=True) for t in (a, b))
    return (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1) + 1e-6)


def distillation_loss(found: Tensor, wanted: Tensor, text_share: float) -> Tensor:
    """found, wanted [n, rows, columns, 3] (`FIELDS`); wanted text is a probability."""
    attention = sum(1 - correlation(found[..., k], standardised(wanted[..., k])).mean() for k in (0, 1))
    text = F.binary_cross_entropy_with_logits(found[..., 2], wanted[..., 2])
    return attention + text_share * text


def draw_batch(shards: list[Shard], rng: random.Random, count: int) -> tuple[Tensor, Tensor]:
    """Regions of one shard, some mirrored, with a little change of light."""
    shard = rng.choice(shards)
    chosen = rng.sample(range(len(shard.fields)), count)
    pixels = torch.from_numpy(shard.pixels[chosen]).float()
    fields = torch.from_numpy(shard.fields[chosen].astype(np.float32))
    gain = torch.tensor([rng.uniform(0.8, 1.2) for _ in chosen]).view(-1, 1, 1, 1)
    mirrored = torch.tensor([rng.random() < 0.5 for _ in chosen]).view(-1, 1, 1, 1)
    pixels = torch.where(mirrored, pixels.flip(2), pixels)
    fields = torch.where(mirrored, fields.flip(2), fields)
    return (pixels * gain).clamp(0, 255), fields


def factor_at(step: int, run: GuideRun) -> float:
    """Warm-up, then a cosine to zero at the last step."""
    return min(1.0, (step + 1) / run.warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / run.steps)))


class Distillation:
    """A run: network, its average, optimiser, counters."""

    def __init__(self, run: GuideRun, sizes: GuideConfig) -> None:
        torch.manual_seed(run.seed)
        self.run = run
        self.path = Path(run.out) / "state.pt"
        state = torch.load(self.path, weights_only=True) if self.path.exists() else None
        if state is not None and state.get("version") != STATE_VERSION:
            raise CotamError(f"{self.path} was written by another version; start a new run")
        self.net = SmallVit(sizes if state is None else GuideConfig(**state["sizes"]))
        self.average = SmallVit(self.net.config).requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=run.rate, betas=(0.9, 0.98), weight_decay=0.05
        )
        self.step, self.core_seconds, self.regions = 0, 0.0, 0
        if state is not None:
            self.net.load_state_dict(state["net"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.core_seconds = state["step"], state["core_seconds"]

    def state(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "sizes": asdict(self.net.config),
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "core_seconds": self.core_seconds,
            "regions": self.regions,
        }

    def save(self) -> None:
        save_state(self.state(), self.path)

    def advance(self, shards: list[Shard]) -> float:
        """One step; returns its loss. Its pictures depend on its number alone: a resumed run goes on as it was."""
        rng = step_randomness(self.run.seed, self.step)
        pixels, wanted = draw_batch(shards, rng, self.run.batch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.run.rate * factor_at(self.step, self.run)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = self.net(pixels)
        loss = distillation_loss(found.float(), wanted, self.run.text_share)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        decay = min(self.run.ema, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)
        return loss.item()


def train_guide(run: GuideRun, sizes: GuideConfig) -> dict[str, Any]:
    """Train until the last step or the end of the time, or go on with the run in `out`. Returns its state.

    SIGTERM and SIGINT save and stop.
    """
    torch.set_num_threads(run.threads)
    folder = Path(run.shards)
    numbers = shard_numbers(folder, test=False)
    if not numbers:
        raise CotamError(f"{folder} holds no answers to learn from; make more with: guide ask")
    shards = load_shards(folder, numbers)
    Path(run.out).mkdir(parents=True, exist_ok=True)
    work = Distillation(run, sizes)
    work.regions = sum(len(shard.fields) for shard in shards)
    began = saved = time.monotonic()
    cpu, losses = time.process_time(), []
    with StopSignals() as stop:
        while work.step < run.steps and time.monotonic() - began < run.minutes * 60 and not stop.asked:
            losses.append(work.advance(shards))
            if work.step % run.log_every == 0:
                print(json.dumps({"step": work.step, "loss": round(float(np.mean(losses)), 5)}), flush=True)
                losses = []
            if time.monotonic() - saved > run.save_seconds:
                work.core_seconds += time.process_time() - cpu
                cpu, saved = time.process_time(), time.monotonic()
                work.save()
        work.core_seconds += time.process_time() - cpu
        work.save()
    return work.state()


def load_student(state: dict[str, Any]) -> SmallVit:
    """The averaged network of a run's state."""
    net = SmallVit(GuideConfig(**state["sizes"]))
    net.load_state_dict(state["average"])
    return net.eval().requires_grad_(False)


@dataclass(frozen=True)
class Agreement:
    """Student against teachers on pictures that were not trained on: means over pictures.

    attention, deep: Spearman's rank correlation of the fields. text: the area under the ROC curve of the text field,
    for the patches that the detector gives more than 0.3; None where no picture has both kinds.
    """

    pictures: int
    attention: float
    attention_median: float
    deep: float
    deep_median: float
    text: float | None


@torch.no_grad()
def agreement(net: SmallVit, folder: Path) -> Agreement:
    """Measure a student on the test shards of a folder."""
    ranks, areas = [], []
    for shard in load_shards(folder, shard_numbers(folder, test=True)):
        for pixels, fields in zip(shard.pixels, shard.fields, strict=True):
            found = net(torch.from_numpy(pixels[None].copy()))[0].numpy()
            ranks.append([spearman(found[..., k], fields[..., k]) for k in (0, 1)])
            written = fields[..., 2].ravel() > 0.3
            if 0 < written.sum() < written.size:
                areas.append(_area(found[..., 2].ravel(), written))
    if not ranks:
        raise CotamError(f"{folder} holds no test shards; make some with: guide ask")
    text = float(np.mean(areas)) if areas else None
    (shallow, deep), (half, deep_half) = np.mean(ranks, 0).tolist(), np.median(ranks, 0).tolist()
    return Agreement(len(ranks), shallow, half, deep, deep_half, text)


def _ranks(values: np.ndarray) -> np.ndarray:
    ranks = np.empty(values.size)
    ranks[np.argsort(values.ravel(), kind="stable")] = np.arange(values.size)
    return ranks


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    ranks = _ranks(scores) + 1
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (positive.size - count)))
