"""The options of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from cotam_cli.errors import CotamError

OPTIMISERS = ("muon", "adamw")


@dataclass(frozen=True)
class TrainConfig:
    """One run. Times in seconds, rates per step. Raises CotamError where a field cannot be followed."""

    pack: str
    out: str
    minutes: float = 60.0
    steps: int = 0  # > 0: stop at this step, counted from the run's beginning
    batch: int = 8
    crop: int = 192
    optimiser: str = "muon"  # of OPTIMISERS
    rate: float = 1e-3  # AdamW's learning rate
    muon_rate: float = 0.01
    warmup: int = 300
    similarity: float = 0.0  # share of structural distance in the distortion
    distant: float = 0.0  # share of the steps with crops twice as wide, a quarter as many
    fidelity: float = 0.2  # weight of what teachers see, where there are any
    seen: int = 1  # crops of each worker's batch that they look at
    decay_steps: int = 0  # > 0: cool down linearly to zero over this many steps, then stop
    cooling: float = 0.0  # the last share of the minutes in which the rates fall to zero (on an accelerator)
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 1
    device: str = "cpu"
    threads: int = 2
    save_seconds: float = 240.0
    log_every: int = 100

    def __post_init__(self) -> None:
        least = 128 if self.similarity else 64  # five scales, the smallest with one window of 8x8
        for name in ("batch", "warmup", "log_every"):
            if getattr(self, name) < 1:
                raise CotamError(f"--{name.replace('_', '-')} {getattr(self, name)}: give 1 or more")
        if self.optimiser not in OPTIMISERS:
            raise CotamError(f"--optimiser {self.optimiser}: give one of {', '.join(OPTIMISERS)}")
        if not 0 <= self.similarity <= 1:
            raise CotamError(f"--similarity {self.similarity}: give 0 to 1")
        if self.crop < least or self.crop % 64:
            which = " with --similarity" if self.similarity else ""
            raise CotamError(f"--crop {self.crop}: give a multiple of 64, {least} or more{which}")
