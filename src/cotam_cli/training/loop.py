"""The training loop: constant learning rate with an average of the weights, resumable to the minute.

A run is stopped and continued at will. `--decay-steps` cools it down for an export, in its own folder: keep a copy of
`state.pt` from before to go on at the full rate. `device_loop` is the same on an accelerator.

State on disk: `state.pt` (everything, float32, every few minutes) and, on request, one small half-precision file to
carry a run elsewhere (`pack_state`).
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cotam_cli.errors import CotamError
from cotam_cli.training.data import Pack
from cotam_cli.training.fidelity import Teacher, level_weights, seen_loss
from cotam_cli.training.layers import shuffle_down
from cotam_cli.training.network import Codec, NetworkConfig, rate_distortion, to_unit
from cotam_cli.training.optimisers import make_optimisers, set_rates
from cotam_cli.training.planes import quality_planes
from cotam_cli.training.states import save_state, unpack_state
from cotam_cli.training.stopping import StopSignals
from cotam_cli.training.train_config import TrainConfig
from cotam_cli.training.workers import agree, average_gradients, join_workers, step_randomness

STATE_VERSION = 3


@torch.no_grad()
def klt_statistics(pack: Pack, rng: random.Random, latents: int, crops: int = 1500) -> tuple[Tensor, Tensor]:
    """KLT of 16x16 RGB patches in unit range: basis [768, latents] and standard deviations [latents]."""
    total = torch.zeros(768, 768, dtype=torch.float64)
    count = 0
    for _ in range(crops // 10):
        pixels = torch.from_numpy(pack.batch(rng, 10, 192)).float() / 255
        patches = shuffle_down(to_unit(pixels), 16).permute(0, 2, 3, 1).reshape(-1, 768).double()
        total += patches.T @ patches
        count += len(patches)
    values, vectors = torch.linalg.eigh(total / count)
    order = values.argsort(descending=True)[:latents]
    return vectors[:, order].float(), values[order].clamp_min(1e-8).sqrt().float()


class Run:
    """A training run: model, its average, optimisers, counters."""

    def __init__(
        self, config: TrainConfig, network: NetworkConfig, teachers: Mapping[str, Teacher] | None = None
    ) -> None:
        self.rank, self.workers = join_workers()
        torch.set_num_threads(config.threads)
        torch.set_flush_denormal(True)  # improbable latents' sigmoids underflow, and such numbers are slow
        self.config = config
        self.device = torch.device(config.device)
        torch.manual_seed(config.seed)  # the same first weights in every worker and at every start
        self.codec = Codec(network).to(self.device, memory_format=torch.channels_last)
        self.average = Codec(network).to(self.device).requires_grad_(False)
        self.optimisers = make_optimisers(self.codec, config.rate, config.muon_rate, config.optimiser)
        self.step = 0
        self.crops = 0
        self.core_seconds = 0.0
        self.device_seconds = 0.0  # on an accelerator
        self.share_done = 0.0  # of the minutes, on an accelerator
        self.loss = math.nan
        self.decay_from = -1
        self.warm_from = 0  # the step at which the optimisers began
        self.stop = StopSignals()
        self.teachers = dict(teachers or {})
        self.taught = dict.fromkeys(self.teachers, 0)  # crops that each has looked at

    def start(self, pack: Pack) -> None:
        """First step of a new run: the KLT of the training pictures."""
        torch.manual_seed(self.config.seed)
        self.codec.start_from_klt(
            *klt_statistics(pack, random.Random(self.config.seed), self.codec.config.latents)
        )
        self.average.load_state_dict(self.codec.state_dict())

    def state(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "network": asdict(self.codec.config),
            "codec": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step,
            "crops": self.crops,
            "core_seconds": self.core_seconds,
            "device_seconds": self.device_seconds,
            "loss": self.loss,
            "teachers": self.taught,
            "similarity": self.config.similarity,
            "warm_from": self.warm_from,
            "decay_steps": self.config.decay_steps,
            "decay_from": self.decay_from,
        }

    def load(self, state: dict[str, Any]) -> None:
        if state.get("version") != STATE_VERSION:
            raise CotamError("this training state was written by another version; start a new run")
        trained, asked = state.get("similarity", self.config.similarity), self.config.similarity
        if trained != asked:
            raise CotamError(
                f"this state was trained with --similarity {trained}, not {asked}; give {trained}"
            )
        self.codec.load_state_dict(state["codec"], strict=True)
        self.average.load_state_dict(state["average"], strict=True)
        self.warm_from = state.get("warm_from", 0) if state.get("optimisers") else state["step"]
        if state.get("decay_steps") == self.config.decay_steps:
            self.decay_from = state.get("decay_from", -1)
        for optimiser, saved in zip(self.optimisers, state.get("optimisers", []), strict=False):
            own = optimiser.state_dict()["param_groups"]  # of this run's rates and device
            optimiser.load_state_dict({"state": saved["state"], "param_groups": own})
        self.step, self.crops = state["step"], state["crops"]
        self.core_seconds, self.loss = state["core_seconds"], state["loss"]
        self.device_seconds = state.get("device_seconds", 0.0)
        self.taught |= state.get("teachers", {})

    def save(self, path: Path) -> None:
        save_state(self.state(), path)

    def set_rate(self) -> float:
        """Warm-up, then constant; linear to zero once a cool-down was asked for. Returns the factor."""
        factor = min(1.0, (self.step - self.warm_from + 1) / self.config.warmup)
        if self.config.decay_steps:
            if self.decay_from < 0:
                self.decay_from = self.step
            factor *= max(0.0, 1 - (self.step - self.decay_from) / self.config.decay_steps)
        if self.config.cooling:
            factor *= min(1.0, max(0.0, 1 - self.share_done) / self.config.cooling)
        set_rates(self.optimisers, factor)
        return factor

    def batch(self, pack: Pack, rng: random.Random) -> tuple[Tensor, Tensor, Tensor]:
        """Crops, their quality planes and base t: a few wide crops now and then, else many."""
        config = self.config
        wide = rng.random() < config.distant
        count, side = (max(1, config.batch // 4), 2 * config.crop) if wide else (config.batch, config.crop)
        pixels = torch.from_numpy(pack.batch(rng, count, side)).to(self.device).float() / 255
        plane, base = quality_planes(rng, count, side // 16)
        return pixels.to(memory_format=torch.channels_last), plane.to(self.device), base.to(self.device)

    def seen(self, rng: random.Random, pixels: Tensor, found: Tensor) -> Tensor:
        """What the teachers miss in the first crops, wide ones halved before they look."""
        count = min(self.config.seen, len(pixels))
        scale = 0.5 if pixels.shape[-1] > self.config.crop else 1.0
        for name in self.teachers:
            self.taught[name] += count * self.workers
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            teachers = list(self.teachers.values())
            return seen_loss(teachers, rng, pixels[:count], found[:count], scale, level_weights())

    def train_step(self, pixels: Tensor, plane: Tensor, base: Tensor, rng: random.Random) -> dict[str, float]:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            output = self.codec(pixels, plane, base)
        loss = rate_distortion(output, pixels, plane, self.config.similarity)
        figures = {"loss": loss.item()}
        if self.teachers:
            missed = self.seen(rng, pixels, output.pixels)
            figures["missed"] = missed.item()
            loss = loss + self.config.fidelity * missed
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.codec.parameters(), self.workers)
        norm = nn.utils.clip_grad_norm_(self.codec.parameters(), self.config.clip)
        if torch.isfinite(norm):
            for optimiser in self.optimisers:
                optimiser.step()
        decay = min(self.config.ema, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.codec.parameters()), 1 - decay)
        bpp = (output.y_bits.mean() + output.z_bits.mean()).item() / 256
        mse = (output.pixels.detach() - pixels).square().mean().item()
        return figures | {"bpp": bpp, "mse": mse * 255**2, "norm": float(norm)}

    def train(self, pack: Pack) -> None:
        """Train for the configured time, saving and logging as it goes. SIGTERM and SIGINT save and stop."""
        config, out = self.config, Path(self.config.out)
        out.mkdir(parents=True, exist_ok=True)

        with self.stop:
            began = saved = time.monotonic()
            cpu = time.process_time()
            sums: dict[str, float] = {}
            counted = 0  # less than log_every where a resumed run began between two lines of the log
            while agree(not self.finished(time.monotonic() - began), self.workers):
                if self.set_rate() == 0.0:
                    break
                rng = self.randomness()
                figures = self.train_step(*self.batch(pack, rng), rng)
                self.step += 1
                self.crops += config.batch * self.workers
                counted += 1
                now = time.process_time()
                self.core_seconds += (now - cpu) * self.workers
                cpu = now
                for key, value in figures.items():
                    sums[key] = sums.get(key, 0.0) + value
                if self.step % config.log_every == 0:
                    self._tell({key: value / counted for key, value in sums.items()}, out / "log.jsonl")
                    sums, counted = {}, 0
                if self.rank == 0 and time.monotonic() - saved > config.save_seconds:
                    self.save(out / "state.pt")
                    saved = time.monotonic()
            if self.rank == 0:
                self.save(out / "state.pt")

    def _tell(self, means: dict[str, float], log: Path) -> None:
        """A line of figures, the first process's."""
        self.loss = means["loss"]
        counters = {"step": self.step, "crops": self.crops, "core_h": round(self.core_seconds / 3600, 3)}
        if self.rank == 0:
            line = json.dumps(counters | {key: round(value, 5) for key, value in means.items()})
            print(line, flush=True)
            with log.open("a") as file:
                file.write(line + "\n")

    def finished(self, seconds: float) -> bool:
        """True when it is time to stop."""
        enough = self.config.steps and self.step >= self.config.steps
        return bool(self.stop.asked or enough or seconds >= self.config.minutes * 60)

    def randomness(self) -> random.Random:
        """Random numbers of this step and worker alone."""
        return step_randomness(self.config.seed, self.step, self.rank, self.workers)


def resume_or_start(
    config: TrainConfig,
    network: NetworkConfig,
    carried: Path | None = None,
    teachers: Mapping[str, Teacher] | None = None,
) -> Run:
    """Continue from out/state.pt, else from a carried half-precision state, else start anew.

    A run that goes on keeps its own sizes; `network` is for a new one. Raises CotamError when `carried` is
    needed and does not exist.
    """
    path = Path(config.out) / "state.pt"
    if path.exists():
        state = torch.load(path, map_location=config.device, weights_only=True)
    elif carried is not None:
        state = unpack_state(carried)
    else:
        run = Run(config, network, teachers)
        run.start(Pack(Path(config.pack)))
        return run
    run = Run(config, NetworkConfig(**state["network"]), teachers)
    run.load(state)
    return run
