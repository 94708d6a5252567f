"""Training of the token adapter: codec and encoder frozen, the multi-level loss on the encoder's tokens.

The loss is `low` times the error of the tokens after a shallow block plus `high` times that of the final ones: the root
of the mean square, as a share of the original tokens', so that the weights mean the same for every encoder. The first
fifth of the schedule holds the shallow ones alone, and is cheap: no block after them runs.
"""

from __future__ import annotations

import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cotam_cli.codec.models import load_model
from cotam_cli.codec.tokens import (
    LATENT_PITCH,
    Interpolation,
    Preprocessing,
    Resize,
    axis_weights,
    codec_identity,
    default_resize,
)
from cotam_cli.errors import CotamError
from cotam_cli.guidance.torch_vit import Tower
from cotam_cli.guidance.towers import named_vit
from cotam_cli.guidance.vit_graph import Vit
from cotam_cli.training.data import Pack
from cotam_cli.training.export import load_codec
from cotam_cli.training.network import Codec, from_unit
from cotam_cli.training.planes import quality_planes
from cotam_cli.training.states import save_state, unpack_state
from cotam_cli.training.stopping import StopSignals
from cotam_cli.training.tokens_identity import check_state, kept_name, tower_identity
from cotam_cli.training.tokens_network import AdapterSizes, TokenAdapter
from cotam_cli.training.workers import step_randomness

STATE_VERSION = 1
START_BATCHES = 8  # to know how large a difference is to be learnt
SMALLEST_SCALE = 0.6  # of the encoder's input against the coded picture, where its size is free


@dataclass(frozen=True)
class TokenRun:
    """One run. tower: clip:MODEL/WEIGHTS or FILE.onnx; resize None: as the tower's kind has it."""

    state: str
    pack: str
    tower: str
    out: str
    minutes: float = 30.0  # of the schedule, all sessions together
    steps: int = 0  # > 0: the schedule's length in steps instead
    batch: int = 4  # crops of the smallest size; fewer of larger ones
    crop: int = 512  # the largest; the smallest is half of it
    rate: float = 3e-4
    low: float = 0.1
    high: float = 1.0
    shallow: int = 1
    alone: float = 0.2  # share of the schedule for the shallow tokens alone
    resize: Resize | None = None
    interpolation: Interpolation = "bicubic"
    model: int | None = None
    threads: int = 1
    seed: int = 1
    save_seconds: float = 120.0
    log_every: int = 50


@dataclass(frozen=True)
class Batch:
    """Original and decoded crops [n, 3, h, w] in 0..1; latents as the synthesis takes them, and their plane t."""

    original: Tensor
    decoded: Tensor
    latents: Tensor
    plane: Tensor


def preprocessing_of(vit: Vit, run: TokenRun) -> Preprocessing:
    """How the tower's input is made: CLIP's way for open_clip's towers, any size for the others."""
    size = vit.positions.shape[-1] * vit.patch.shape[-1]
    resize = run.resize or default_resize(run.tower)
    return Preprocessing(resize, size, run.interpolation, vit.mean, vit.std)


@torch.no_grad()
def coded(codec: Codec, pixels: Tensor, plane: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """Decoded pixels, clipped to 0..1, and latents as the synthesis takes them; pixels [n, 3, h, w], sides multiples
    of 64, plane t [n, 1, h/16, w/16], base t [n, 1, 1, 1]."""
    latents, _, _ = codec.code(pixels, plane, base)
    return from_unit(codec.synthesis(latents, plane)).float().clamp(0, 1), latents


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of each picture, [n], as a share of the variance of `wanted` over all tokens; both
    [n, tokens, d]."""
    wanted = wanted.float()
    spread = (wanted - wanted.mean((0, 1))).square().mean()
    return (found.float() - wanted).square().mean((1, 2)) / spread


def root(errors: Tensor) -> Tensor:
    """The mean of the errors' roots: low qualities, whose errors are many times as large, do not decide alone."""
    return (errors + 1e-6).sqrt().mean()


class TokenTraining:
    """A run: codec, tower, adapter, optimiser, counters. Goes on with the state in `out` where there is one."""

    def __init__(self, run: TokenRun) -> None:
        torch.manual_seed(run.seed)
        self.run, self.path = run, Path(run.out) / "state.pt"
        codec_state = unpack_state(Path(run.state))
        self.model = load_model(run.model)
        check_state(codec_state, self.model)
        self.codec = load_codec(codec_state)
        self.vit = named_vit(run.tower)
        self.tower = Tower(self.vit)
        if not 1 <= run.shallow < self.tower.depth:
            raise CotamError(
                f"{run.tower} has {self.tower.depth} blocks; the shallow one must be before the last"
            )
        self.how = preprocessing_of(self.vit, run)
        sizes = AdapterSizes(self.codec.config.latents, self.tower.width, self.vit.heads, self.tower.extra)
        self.net = TokenAdapter(sizes)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=run.rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.step, self.crops, self.seconds, self.core_seconds = 0, 0, 0.0, 0.0
        if self.path.exists():
            self.load(torch.load(self.path, map_location="cpu", weights_only=True))

    @torch.no_grad()
    def start(self, pack: Pack) -> None:
        """Scales of what comes in and goes out, from the codec and from some crops."""
        rng, lacking = random.Random(self.run.seed), []
        for _ in range(START_BATCHES):
            batch = self.draw(pack, rng)
            lack = self.tower.embed(batch.original) - self.tower.embed(batch.decoded)
            lacking.append(lack[:, self.tower.extra :].flatten(0, 1))
        deviation = torch.cat(lacking).square().mean(0).sqrt()
        self.net.start_from(self.codec.synthesis.input_scale, deviation)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        tower, sizes, codec = self.run.tower, asdict(self.net.sizes), codec_identity(self.model)
        return tower_identity(tower, self.vit) | {"sizes": sizes, "codec": codec}

    def state(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "identity": self.identity(),
            "preprocessing": asdict(self.how),
            "run": {
                key: value
                for key, value in asdict(self.run).items()
                if key in ("low", "high", "shallow", "alone")
            },
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "crops": self.crops,
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
        }

    def _goes_on(self, state: dict[str, Any]) -> bool:
        saved = state["identity"]
        own = self.identity() | {"tower": kept_name(saved, self.run.tower)}
        return state["preprocessing"] == asdict(self.how) and saved == {key: own.get(key) for key in saved}

    def load(self, state: dict[str, Any]) -> None:
        if state.get("version") != STATE_VERSION or not self._goes_on(state):
            raise CotamError(
                f"{self.path} is of another tower, preprocessing, codec or version; give another --out"
            )
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.crops = state["step"], state["crops"]
        self.seconds, self.core_seconds = state["seconds"], state["core_seconds"]

    def save(self) -> None:
        save_state(self.state(), self.path)

    def progress(self, seconds: float) -> float:
        """Share of the schedule that is done, 0..1."""
        done = self.step / self.run.steps if self.run.steps else seconds / (60 * self.run.minutes)
        return min(1.0, done)

    def draw(self, pack: Pack, rng: random.Random) -> Batch:
        """Crops of a random size, coded at random qualities, scaled to the tower's input."""
        smallest = max(64, self.run.crop // 128 * 64)
        crop = rng.choice(range(smallest, self.run.crop + 1, 64))
        count = max(1, round(self.run.batch * (smallest / crop) ** 2))
        pixels = torch.from_numpy(pack.batch(rng, count, crop)).float() / 255
        plane, base = quality_planes(rng, count, crop // LATENT_PITCH)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded, latents = coded(self.codec, pixels.to(memory_format=torch.channels_last), plane, base)
        side = self.how.size
        if self.how.resize == "fit":
            patches = max(1, round(crop * rng.uniform(SMALLEST_SCALE, 1.0) / self.tower.patch))
            side = min(side, patches * self.tower.patch)
        scale = {"size": (side, side), "mode": self.how.interpolation, "antialias": True}
        original, decoded = (F.interpolate(x, **scale).clamp(0, 1) for x in (pixels, decoded))
        return Batch(original, decoded, latents, plane)

    def losses(self, batch: Batch, deep: bool) -> tuple[Tensor, Tensor | None]:
        """The shallow and the final tokens' error; without `deep` the former alone."""
        tower, shallow, last = self.tower, self.run.shallow, self.tower.depth
        rows, crop = batch.original.shape[-1] // tower.patch, LATENT_PITCH * batch.plane.shape[-1]
        weights = torch.from_numpy(axis_weights(batch.plane.shape[-1], LATENT_PITCH, 0, crop, rows))
        blocks = (shallow, last) if deep else (shallow,)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                wanted = tower(batch.original, tokens=blocks).tokens
                prior = tower.embed(batch.decoded)
            added = self.net(batch.latents, batch.plane, weights, weights)
            found = tower.run_from(prior.float() + added.float(), tokens=blocks).tokens
        low = root(relative_error(found[shallow], wanted[shallow]))
        if not deep:
            return low, None
        ends = (tower.normed(tokens[last].float()) for tokens in (found, wanted))
        return low, root(relative_error(*ends))

    def advance(self, pack: Pack, progress: float) -> dict[str, float]:
        """One step; its pictures depend on its number alone."""
        batch = self.draw(pack, step_randomness(self.run.seed, self.step))
        factor = min(1.0, (self.step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = self.run.rate * factor
        low, high = self.losses(batch, deep=progress >= self.run.alone)
        loss = self.run.low * low if high is None else self.run.low * low + self.run.high * high
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        self.crops += len(batch.plane)
        figures = {"low": low.item()}
        return figures if high is None else {**figures, "high": high.item()}

    def train(self, pack: Pack) -> None:
        """Go on to the end of the schedule, saving and logging. SIGTERM and SIGINT save and stop."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        base, base_core, began, cpu = self.seconds, self.core_seconds, time.monotonic(), time.process_time()
        saved, figures = began, []
        with StopSignals() as stop:
            while not stop.asked and (progress := self.progress(self.seconds)) < 1:
                figures.append(self.advance(pack, progress))
                self.seconds = base + time.monotonic() - began
                self.core_seconds = base_core + time.process_time() - cpu
                if self.step % self.run.log_every == 0:
                    self.log(figures)
                    figures = []
                if time.monotonic() - saved > self.run.save_seconds:
                    self.save()
                    saved = time.monotonic()
            self.save()

    def log(self, figures: list[dict[str, float]]) -> None:
        record: dict[str, float] = {"step": self.step, "crops": self.crops, "seconds": round(self.seconds)}
        for key in ("low", "high"):
            values = [f[key] for f in figures if key in f]
            if values:
                record[key] = round(sum(values) / len(values), 5)
        line = json.dumps(record)
        print(line, flush=True)
        with open(self.path.parent / "log.jsonl", "a") as log:
            log.write(line + "\n")


def train_tokens(run: TokenRun) -> TokenTraining:
    """Train until the schedule ends. Raises CotamError where codec, tower or pack cannot be had or do not fit."""
    torch.set_num_threads(run.threads)
    if run.crop < 64 or run.crop % 64:
        raise CotamError(f"crops of {run.crop} px are not possible; take a multiple of 64")
    pack = Pack(Path(run.pack))
    training = TokenTraining(run)
    if training.step == 0:
        training.start(pack)
    training.train(pack)
    return training
