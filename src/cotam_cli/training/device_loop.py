"""The training loop on an accelerator: a whole step, from the choice of crops to the average of the weights, is
recorded once for each size of crops and then replayed, as starting its thousands of small kernels one by one takes
three times as long as running them."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cotam_cli.training.data import Pack
from cotam_cli.training.device_pack import DevicePack, device_planes
from cotam_cli.training.loop import Run
from cotam_cli.training.network import rate_distortion

WARM_UP = 3  # steps before a step is recorded
FIGURES = ("loss", "bpp", "mse", "norm")


class Step:
    """A training step with crops of one size. `sums` adds up its figures."""

    def __init__(self, run: Run, pack: DevicePack, count: int, side: int) -> None:
        self.run, self.pack, self.count, self.side = run, pack, count, side
        self.sums = torch.zeros(len(FIGURES), device=run.device)
        self.steps = 0

    def record(self) -> None:
        """Warm up, and record what a step runs on the device. Changes the weights, as steps do."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.advance()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        self._forget_gradients()
        with torch.cuda.graph(self.graph):
            self.advance()
        self.sums.zero_()

    def _forget_gradients(self) -> None:
        for optimiser in self.run.optimisers:
            optimiser.zero_grad(set_to_none=True)

    def advance(self) -> None:
        """One step. A gradient that is not finite changes nothing."""
        run, config = self.run, self.run.config
        pixels = self.pack.crops(self.count, self.side)
        plane, base = device_planes(self.count, self.side // 16, run.device)
        self._forget_gradients()
        with torch.autocast(run.device.type, dtype=torch.bfloat16):
            output = run.codec(pixels, plane, base)
        loss = rate_distortion(output, pixels, plane, config.similarity)
        loss.backward()
        gradients = [p.grad for p in run.codec.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, (config.clip / (norm + 1e-6)).clamp_max(1.0))
        for optimiser in run.optimisers:
            optimiser.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
            optimiser.step()
        torch._foreach_lerp_(list(run.average.parameters()), list(run.codec.parameters()), 1 - config.ema)
        bpp = (output.y_bits.mean() + output.z_bits.mean()) / 256
        mse = (output.pixels.detach() - pixels).square().mean() * 255**2
        self.sums += torch.stack([loss.detach(), bpp.detach(), mse, norm])

    def replay(self) -> None:
        self.graph.replay()
        self.steps += 1

    def means(self) -> dict[str, float]:
        """Means of the figures since the last call."""
        values = (self.sums / max(1, self.steps)).tolist()
        self.sums.zero_()
        self.steps = 0
        return dict(zip(FIGURES, values, strict=True))


def train_on_device(run: Run, pictures: Pack) -> None:
    """As `Run.train`, on run's device: until the configured step, cool-down or minutes from here on are over."""
    config, out = run.config, Path(run.config.out)
    out.mkdir(parents=True, exist_ok=True)
    sides = {config.crop: config.batch}
    if config.distant:
        sides[2 * config.crop] = max(1, config.batch // 4)
    torch.manual_seed(config.seed + run.step)
    pack = DevicePack(pictures, run.device, list(sides))
    run.set_rate()
    steps = [Step(run, pack, count, side) for side, count in sides.items()]
    _record(run, steps)
    rng = random.Random(config.seed * 1_000_003 + run.step)
    began = saved = time.monotonic()
    while not run.finished(time.monotonic() - began):
        run.share_done = (time.monotonic() - began) / (60 * config.minutes)
        if run.set_rate() == 0.0:
            break
        step = steps[len(steps) > 1 and rng.random() < config.distant]
        step.replay()
        run.step += 1
        run.crops += step.count * (step.side // config.crop) ** 2
        if run.step % 20 == 0:
            torch.cuda.synchronize()  # the queue would run minutes ahead of the clock
        if run.step % config.log_every == 0:
            _log(run, steps, out, time.monotonic() - began)
        if time.monotonic() - saved > config.save_seconds:
            run.save(out / "state.pt")
            saved = time.monotonic()
    torch.cuda.synchronize()
    run.device_seconds += time.monotonic() - began
    run.save(out / "state.pt")


@torch.no_grad()
def _put_back(values: Sequence[Tensor], before: dict[int, Tensor]) -> None:
    for value in values:
        old = before.get(id(value))  # an optimiser's tensors come with its first step, and begin as zeros
        value.zero_() if old is None else value.copy_(old)


def _record(run: Run, steps: Sequence[Step]) -> None:
    """Record the steps, and put back what this has changed: weights, and the optimisers' sums and counts. In place, as
    the recorded steps go on with these very tensors."""
    before = {id(value): value.clone() for value in _tensors(run)}
    for step in steps:
        step.record()
    _put_back(_tensors(run), before)


def _tensors(run: Run) -> list[Tensor]:
    """All that a step changes."""
    kept = [values for optimiser in run.optimisers for values in optimiser.state.values()]
    return [
        *run.codec.parameters(),
        *run.average.parameters(),
        *(value for values in kept for value in values.values() if isinstance(value, Tensor)),
    ]


def _log(run: Run, steps: list[Step], out: Path, seconds: float) -> None:
    record: dict[str, float] = {"step": run.step, "crops": run.crops, "seconds": round(seconds, 1)}
    record["rate"] = round(float(run.set_rate()), 4)
    for step in steps:
        if step.steps:
            means = {f"{key}{step.side}": round(value, 5) for key, value in step.means().items()}
            record |= means
    run.loss = record.get(f"loss{run.config.crop}", math.nan)
    line = json.dumps(record)
    print(line, flush=True)
    with open(out / "log.jsonl", "a") as log:
        log.write(line + "\n")
