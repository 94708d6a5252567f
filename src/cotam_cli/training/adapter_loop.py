"""Training of the pixel adapter on a frozen codec with the multi-level fidelity loss.

The adapter is the synthesis once more, with weights of its own that start as the codec's: what it adds to the prior is
the difference of the two pictures. So it costs no more than the prior alone, and learns from its first step on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cotam_cli.errors import CotamError
from cotam_cli.training.adapter_log import both_errors, log_line
from cotam_cli.training.data import DEFAULT_SHARES, PAGES, Pack
from cotam_cli.training.device_pack import DevicePack, device_planes
from cotam_cli.training.fidelity import (
    DEEP,
    READING,
    SHALLOW,
    TEXT,
    Teacher,
    distances,
    fidelity_loss,
    level_weights,
    load_teachers,
    teacher_name,
    view,
)
from cotam_cli.training.network import Codec, NetworkConfig, Synthesis, from_unit
from cotam_cli.training.optimisers import make_optimisers, set_rates
from cotam_cli.training.pixel_loss import cell_errors, pixel_loss
from cotam_cli.training.planes import quality_planes
from cotam_cli.training.states import save_state
from cotam_cli.training.stopping import StopSignals
from cotam_cli.training.workers import agree, average_gradients, join_workers, step_randomness

STATE_VERSION = 3
PRIOR_EVERY = 5  # steps between looks at the prior, which cost as much as half a step


@dataclass(frozen=True)
class AdapterRun:
    """One run; the rates cool down to zero at the last step."""

    pack: str
    out: str
    steps: int = 4000
    minutes: float = 600.0
    batch: int = 4
    crop: int = 192
    distant: float = 0.3  # share of the steps with crops twice as wide, halved before the teachers look
    shallow: float = SHALLOW
    deep: float = DEEP
    text: float = TEXT
    reading: float = READING
    alone: float = 0.0  # the first share of the steps, with the shallow answers alone (paper: 0.2)
    pixels: float = 0.3  # weight of the squared error beside the prior's
    pages: float = 0.4  # share of the steps with pages, for teachers that read, where there are others too
    page_pixels: float = 1.0  # `pixels` for these: what no reader sees is not to be traded for what they see
    rate: float = 1e-4  # four times as much drowns what is to be learnt in noise
    muon_rate: float = 1e-3
    warmup: int = 20
    decay: float = 0.4  # the last share of the steps, in which the rates fall to zero
    ema: float = 0.998
    seed: int = 1
    device: str = "cpu"
    threads: int = 1
    save_seconds: float = 120.0
    log_every: int = 50


class Fidelity:
    """A run: frozen codec, adapter, its average, optimisers, counters."""

    def __init__(self, run: AdapterRun, base: dict[str, Any], teachers: list[str]) -> None:
        self.rank, self.workers = join_workers()
        torch.manual_seed(run.seed)
        self.run, self.path = run, Path(run.out) / "state.pt"
        self.device, state = torch.device(run.device), None
        if self.path.exists():
            state = torch.load(self.path, map_location=self.device, weights_only=True)
            if state.get("version") != STATE_VERSION:
                raise CotamError(f"{self.path} was written by another version; give another folder")
        self.codec = Codec(NetworkConfig(**base["network"])).to(
            self.device, memory_format=torch.channels_last
        )
        self.codec.load_state_dict(base["average"])
        self.codec.eval().requires_grad_(False)
        self.base_step = base["step"]
        self.teachers = [teacher_name(name) for name in teachers]
        self.step, self.crops, self.core_seconds, self.device_seconds = 0, 0, 0.0, 0.0
        carried = base.get("adapter")
        weights = self.codec.synthesis.state_dict() if carried is None else carried["weights"]
        self.adapter, self.average = self._adapter(weights), self._adapter(weights).requires_grad_(False)
        self.optimisers = make_optimisers(self.adapter, run.rate, run.muon_rate)
        if state is not None:
            self._load(state)

    def _adapter(self, weights: dict[str, Any]) -> Synthesis:
        adapter = Synthesis(self.codec.config).to(self.device, memory_format=torch.channels_last)
        adapter.load_state_dict(weights)
        return adapter

    def state(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "adapter": self.adapter.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "base_step": self.base_step,
            "teachers": self.teachers,
            "step": self.step,
            "crops": self.crops,
            "core_seconds": self.core_seconds,
            "device_seconds": self.device_seconds,
        }

    def _load(self, state: dict[str, Any]) -> None:
        if state["base_step"] != self.base_step:
            raise CotamError(
                f"{self.path} belongs to step {state['base_step']} of the codec, not {self.base_step}"
            )
        before = sorted(map(teacher_name, state["teachers"]))
        if before != sorted(self.teachers):
            raise CotamError(
                f"{self.path} learns from {', '.join(before)}; name these, or give another folder"
            )
        self.adapter.load_state_dict(state["adapter"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            own = optimiser.state_dict()["param_groups"]  # of this run's rates and device
            optimiser.load_state_dict({"state": saved["state"], "param_groups": own})
        self.step, self.crops, self.core_seconds = state["step"], state["crops"], state["core_seconds"]
        self.device_seconds = state.get("device_seconds", 0.0)

    def save(self) -> None:
        save_state(self.state(), self.path)

    def count_time(self, core: float, clock: float) -> None:
        """Processor and wall-clock seconds of a step, where they count."""
        if self.device.type == "cpu":
            self.core_seconds += core * self.workers
        else:
            self.device_seconds += clock

    def set_rate(self) -> None:
        """Warm-up, constant, then linearly to zero."""
        run = self.run
        left = (run.steps - self.step) / max(1.0, run.decay * run.steps)
        factor = min(1.0, (self.step + 1) / run.warmup, left)
        set_rates(self.optimisers, factor)

    def decode(self, pixels: Tensor, plane: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """What is decoded and the prior, both 0..1."""
        with torch.no_grad():
            latents, _, _ = self.codec.code(pixels, plane, base)
            prior = self.codec.synthesis(latents, plane)
        return from_unit(self.adapter(latents, plane)), from_unit(prior)

    def batch(
        self, pictures: Pack | DevicePack, rng: random.Random, side: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Crops, 0..1, their quality planes and base t."""
        count = self.run.batch
        if isinstance(pictures, DevicePack):
            return pictures.crops(count, side), *device_planes(count, side // 16, self.device)
        pixels = torch.from_numpy(pictures.batch(rng, count, side)).float() / 255
        return pixels.to(memory_format=torch.channels_last), *quality_planes(rng, count, side // 16)

    def advance(
        self, photos: Pack | DevicePack, pages: Pack | DevicePack, teachers: list[Teacher]
    ) -> dict[str, float]:
        """One step; its pictures depend on its number and the worker alone, so that a resumed run goes on as it was.

        Teachers that read look at pages alone, and the others at photos: what a network for photos misses in type is
        no guide to legible type, and what a reader sees in a photo is chance, at two thirds of the time.
        """
        run = self.run
        page, distant = step_kind(run, self.step)
        readers = [teacher.reads for teacher in teachers]
        page = all(readers) or (page and any(readers))  # no step without a teacher
        rng = step_randomness(run.seed, self.step, self.rank, self.workers)
        side = run.crop * 2 if distant else run.crop
        pixels, plane, base = self.batch(pages if page else photos, rng, side)
        late = float(self.step >= run.alone * run.steps)
        weights = level_weights(run.shallow, late * run.deep, late * run.text, late * run.reading)
        self.set_rate()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            found, prior = self.decode(pixels, plane, base)
            figures: dict[str, float] = {}
            loss = torch.zeros(())
            for number, teacher in enumerate(teachers):
                if page != teacher.reads:
                    continue
                scale = 0.5 if distant else 1.0
                looked = view(rng, (pixels, found.clamp(0, 1), prior.clamp(0, 1)), teacher.stride, scale)
                answers = distances(teacher, looked[0], looked[1])
                loss = loss + fidelity_loss(answers, weights)
                if self.step % PRIOR_EVERY == 0:
                    with torch.no_grad():
                        figures |= both_errors(number, answers, distances(teacher, looked[0], looked[2]))
        error, before = (cell_errors(x.float(), pixels) for x in (found, prior))
        loss = loss + (run.page_pixels if page else run.pixels) * pixel_loss(error, before)
        decibel = 10 * torch.log10((before.mean((1, 2)) + 1e-6) / (error.detach().mean((1, 2)) + 1e-6))
        figures["db"] = decibel.mean().item()
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.adapter.parameters(), self.workers)
        norm = nn.utils.clip_grad_norm_(self.adapter.parameters(), 1.0)
        if torch.isfinite(norm):
            for optimiser in self.optimisers:
                optimiser.step()
        self.step += 1
        self.crops += run.batch * self.workers
        decay = min(run.ema, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.adapter.parameters()), 1 - decay)
        return figures | {"loss": loss.item()}


def step_kind(run: AdapterRun, step: int) -> tuple[bool, bool]:
    """Whether a step has pages, and wide crops: the same for all workers, so that none waits for another.

    Numbers of their own: those of `step_randomness` choose the crops, and would be the same ones again.
    """
    kind = random.Random(f"kind {run.seed} {step}")
    return kind.random() < run.pages, kind.random() < run.distant


def _pictures(run: AdapterRun, device: torch.device) -> list[Pack | DevicePack]:
    """Photos and pages of the pack, where it has both; else all for both."""
    whole = Pack(Path(run.pack))
    kinds = [{g: s for g, s in DEFAULT_SHARES.items() if (g in PAGES) == page} for page in (False, True)]
    both = all(set(kind) & set(whole.groups) for kind in kinds)
    packs = [Pack(Path(run.pack), kind) for kind in kinds] if both else [whole, whole]
    if device.type == "cpu":
        return list(packs)
    return [DevicePack(pack, device, [run.crop, 2 * run.crop]) for pack in packs]


def train_fidelity(
    run: AdapterRun,
    base: dict[str, Any],
    teachers: list[str],
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train until the last step or the end of the time, or go on with the run in `out`. Returns its state.

    SIGTERM and SIGINT save and stop. Raises CotamError for teachers that cannot be had.
    """
    torch.set_num_threads(run.threads)
    Path(run.out).mkdir(parents=True, exist_ok=True)
    loaded = list(load_teachers(teachers, torch.device(run.device)).values())
    work = Fidelity(run, base, teachers)
    photos, pages = _pictures(run, work.device)
    began = saved = clock = time.monotonic()
    cpu, sums, counts = time.process_time(), dict[str, float](), dict[str, int]()

    def goes_on() -> bool:
        return work.step < run.steps and time.monotonic() - began < run.minutes * 60

    with StopSignals() as stop:
        while agree(goes_on() and not stop.asked, work.workers):
            for key, value in work.advance(photos, pages, loaded).items():
                sums[key] = sums.get(key, 0.0) + value
                counts[key] = counts.get(key, 0) + 1
            work.count_time(time.process_time() - cpu, time.monotonic() - clock)
            cpu, clock = time.process_time(), time.monotonic()
            if work.step % run.log_every == 0 and work.rank == 0:
                means = {key: value / counts[key] for key, value in sums.items()}
                say(log_line(work.step, work.core_seconds, means))
                sums, counts = {}, {}
            if time.monotonic() - saved > run.save_seconds and work.rank == 0:
                work.save()
                saved = time.monotonic()
        if work.rank == 0:
            work.save()
    return work.state()
