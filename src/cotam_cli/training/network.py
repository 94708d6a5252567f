"""The network while it is trained: a float picture codec with a rate estimate.

One straight road: pixels -> analysis -> gains -> rounding -> synthesis, with a hyperprior and a
four-pass context that predict a mean and a scale for every latent.

Shapes are NCHW. Pixels are scaled to about unit range (`to_unit`), `plane` is the quality of each latent
position mapped from [1, 8] to t in [-1, 1], [n, 1, h/16, w/16].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotam_cli.codec.quality import LAMBDAS
from cotam_cli.codec.structure import EQUAL
from cotam_cli.training.bits import training_bits
from cotam_cli.training.layers import (
    BLOCK,
    LEAK,
    Block,
    Dense,
    Lapped,
    between,
    compand,
    pointwise,
    quadratic,
    shuffle_down,
    shuffle_up,
    ste_round,
)
from cotam_cli.training.phases import (
    PASSES,
    from_phases,
    gather_passes,
    own_channels,
    own_rows,
    to_phases,
)
from cotam_cli.training.similarity import structural_distance

PIXEL_SCALE = 4.0  # pixels 0..1 become -2..2: gated and residual blocks diverge on 0..255
LAMBDA_LOW, LAMBDA_HIGH = LAMBDAS  # of loss = lambda * 255^2 * MSE + bpp, at quality 1 and 8
MIN_LOG_SCALE, MAX_LOG_SCALE = math.log(0.005), math.log(96.0)  # a floor of 0.04 cost 0.1 bpp of noise


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; the defaults are the shipped model's."""

    latents: int = 256
    hyper: int = 96
    width: int = 192
    encoder_blocks: int = 5
    decoder_blocks: int = 11
    features: int = 128
    context: int = 256
    context_hidden: int = 512


def to_unit(pixels: Tensor) -> Tensor:
    """Pixels 0..1 to the network's range."""
    return (pixels - 0.5) * PIXEL_SCALE


def from_unit(pixels: Tensor) -> Tensor:
    """The network's range to pixels 0..1, not clipped."""
    return pixels / PIXEL_SCALE + 0.5


def log_lambda(t: Tensor) -> Tensor:
    """Natural log of the rate-distortion weight at t, log-spaced over the quality range."""
    low, high = math.log(LAMBDA_LOW), math.log(LAMBDA_HIGH)
    return (low + high) / 2 + t * (high - low) / 2


class Analysis(nn.Module):
    """Pixels to latents: linear 16x16 transform (KLT start) plus a learned residual path at 1/8."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.klt = nn.Parameter(torch.zeros(config.latents, 3 * BLOCK * BLOCK))
        self.stem = Dense(3 * 64 + 2, config.width)
        self.blocks = nn.Sequential(
            *(Block(config.width, 2 * config.width) for _ in range(config.encoder_blocks))
        )
        self.head = Dense(4 * config.width, config.latents, gain=0.0)

    def forward(self, pixels: Tensor, plane: Tensor) -> Tensor:
        with torch.autocast(pixels.device.type, enabled=False):
            patches = shuffle_down(pixels.float(), BLOCK)
            linear = pointwise(patches, self.klt)
        t = F.interpolate(plane, scale_factor=2, mode="nearest")
        x = self.stem(torch.cat([shuffle_down(pixels, 8), t, t * t], 1))
        return linear + self.head(shuffle_down(self.blocks(x), 2))


class Synthesis(nn.Module):
    """Latents to pixels: the mirror of `Analysis`, with overlapping windows: 32x32 pixels a latent position, 16x16 a
    position of the residual path."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.klt = nn.Parameter(torch.zeros(3 * BLOCK * BLOCK, config.latents))
        self.lap = nn.Parameter(torch.zeros(3 * BLOCK * BLOCK, config.latents, 2, 2))
        self.register_buffer("input_scale", torch.ones(config.latents))
        self.stem = Dense(config.latents + 2, 4 * config.width)
        self.blocks = nn.Sequential(
            *(Block(config.width, 2 * config.width) for _ in range(config.decoder_blocks))
        )
        self.head = Lapped(config.width)

    def features(self, latents: Tensor, plane: Tensor) -> Tensor:
        """What the blocks make of the latents, [n, width, 2 h, 2 w]."""
        scaled = latents * self.input_scale.view(1, -1, 1, 1)
        x = self.stem(torch.cat([scaled, plane, plane * plane], 1))
        return self.blocks(shuffle_up(x, 2))

    def picture(self, latents: Tensor, features: Tensor) -> Tensor:
        """Latents and their features to pixels in the network's range, [n, 3, 16 h, 16 w]."""
        with torch.autocast(latents.device.type, enabled=False):
            linear = shuffle_up(pointwise(latents.float(), self.klt), BLOCK)
        lapped = shuffle_up(between(latents, self.lap), BLOCK)
        half = BLOCK // 2
        return linear + lapped[:, :, half:-half, half:-half] + self.head(features)

    def forward(self, latents: Tensor, plane: Tensor) -> Tensor:
        return self.picture(latents, self.features(latents, plane))


class HyperAnalysis(nn.Module):
    """Gained latents at 1/16 to hyper latents at 1/64."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c = config.features
        self.first = Dense(config.latents, c)
        self.second = Dense(4 * c, c)
        self.block = Block(c, 2 * c)
        self.head = Dense(4 * c, config.hyper)

    def forward(self, gained: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(compand(gained)), LEAK)
        x = F.leaky_relu(self.second(shuffle_down(x, 2)), LEAK)
        return self.head(shuffle_down(self.block(x), 2))


class HyperSynthesis(nn.Module):
    """Hyper latents at 1/64 to features at 1/16. Runs as an integer network."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c = config.features
        self.first = Dense(config.hyper, 2 * c)
        self.second = Dense(2 * c, 4 * c)
        self.block = Block(c, 2 * c)
        self.third = Dense(c, 4 * c)
        self.last = Block(c, 2 * c)

    def forward(self, z: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(compand(z)), LEAK)
        x = self.block(shuffle_up(F.leaky_relu(self.second(x), LEAK), 2))
        return self.last(shuffle_up(F.leaky_relu(self.third(x), LEAK), 2))


class Parameters(nn.Module):
    """Features, quality and (in the second pass) known latents to means and log scales. An integer network."""

    def __init__(self, inputs: int, config: NetworkConfig, with_block: bool) -> None:
        super().__init__()
        c = config.context
        self.stem = Dense(inputs, c)
        self.block = Block(c, config.context_hidden) if with_block else None
        self.head = Dense(c, 2 * config.latents, gain=0.0)

    def body(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.stem(x), LEAK)
        return x if self.block is None else self.block(x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        with torch.autocast(x.device.type, enabled=False):
            mean, log_scale = self.head(x.float()).chunk(2, 1)
        return mean * 8, log_scale * 4  # both heads start at zero and have far to go

    def own(self, x: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """The same for the latents that pass `number` codes alone, each [4, n h/2 w/2, latents / 4]."""
        x = self.body(x)
        with torch.autocast(x.device.type, enabled=False):
            halves = zip(self.head.weight.chunk(2), self.head.bias.chunk(2), strict=True)
            rows = [(own_rows(weight, number), own_rows(bias, number)) for weight, bias in halves]
            weight, bias = (torch.cat(part, 1) for part in zip(*rows, strict=True))
            found = torch.baddbmm(bias[:, None], to_phases(x.float()), weight.mT)
        mean, log_scale = found.chunk(2, 2)
        return mean * 8, log_scale * 4


@dataclass(frozen=True)
class Output:
    """What one pass through the codec gives. Bits are per latent position, [n, 1, h/16, w/16]."""

    pixels: Tensor
    y_bits: Tensor
    z_bits: Tensor


class Codec(nn.Module):
    """The whole codec; `forward` is the training pass."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        m = config.latents
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.hyper_analysis = HyperAnalysis(config)
        self.hyper_synthesis = HyperSynthesis(config)
        first = Parameters(config.features + 2, config, with_block=False)
        later = (Parameters(config.features + m + 2, config, with_block=True) for _ in range(1, PASSES))
        self.passes = nn.ModuleList([first, *later])
        self.log_gain = nn.Parameter(torch.zeros(3, m))
        self.log_regain = nn.Parameter(torch.zeros(3, m))
        self.y_prior = nn.Parameter(torch.zeros(3, m))
        self.z_prior = nn.Parameter(torch.zeros(3, config.hyper))

    @torch.no_grad()
    def start_from_klt(self, basis: Tensor, sigma: Tensor) -> None:
        """Make step 0 a working transform codec.

        basis [768, latents] orthonormal over `shuffle_down` 16x16 patches in unit range, sigma [latents]
        the standard deviations of its coefficients.
        """
        self.analysis.klt.copy_(basis.T)
        self.synthesis.klt.copy_(basis)
        self.synthesis.input_scale.copy_(1 / sigma)
        # At high rate the best step of loss lambda MSE + bpp is sqrt(26 / lambda) in 0..255 units.
        middle = 0.5 * (math.log(LAMBDA_LOW * LAMBDA_HIGH) / 2 - math.log(26)) + math.log(255 / PIXEL_SCALE)
        slope = (math.log(LAMBDA_HIGH) - math.log(LAMBDA_LOW)) / 4
        self.log_gain[0] = middle
        self.log_gain[1] = slope
        # sqrt(3)/pi: a logistic's scale from its standard deviation; the hyperprior narrows it further.
        self.y_prior.copy_(self.log_gain)
        self.y_prior[0] += torch.log(sigma * 0.55) - 0.7
        self.z_prior[0] = math.log(0.5)

    def pass_of(self, shape: torch.Size, device: torch.device) -> Tensor:
        """The pass 0..3 that codes each latent, [1, latents, h, w]; the order is that of docs/FORMAT.md."""
        _, m, h, w = shape
        steps = torch.tensor([[0, 2], [3, 1]], device=device).repeat(-(-h // 2), -(-w // 2))[:h, :w]
        return ((steps + torch.arange(m, device=device)[:, None, None]) % PASSES)[None]

    def predict(self, number: int, features: Tensor, planes: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale (without the per-channel prior) of every latent, as pass 0..3 sees them."""
        mean, log_scale = self.passes[number](self.context(number, features, planes, known))
        return mean, log_scale

    def context(self, number: int, features: Tensor, planes: Tensor, known: Tensor) -> Tensor:
        """What pass 0..3 sees, [n, channels, h, w]."""
        latents = [compand(known)] if number else []
        return torch.cat([features, *latents, planes], 1)

    def code(self, pixels: Tensor, plane: Tensor, base: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels to decoded latents, and the bits of y and z at each latent position (see `forward`)."""
        y = self.analysis(to_unit(pixels), plane)
        gained = y.float() * torch.exp(quadratic(self.log_gain, plane))
        z = self.hyper_analysis(gained).float()
        z_scale = quadratic(self.z_prior, base.expand(-1, 1, z.shape[2], z.shape[3]))
        z_bits = training_bits(z, z_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE).expand_as(z))
        features = self.hyper_synthesis(ste_round(z))
        planes = torch.cat([plane, plane * plane], 1)
        size = (y.shape[0], *y.shape[2:])
        wanted, prior = to_phases(gained), to_phases(quadratic(self.y_prior, plane))
        coded: list[Tensor] = []
        residuals, log_scales = [], []
        for number in range(PASSES):
            known = from_phases(gather_passes(coded), *size) if number else gained  # the first pass sees none
            mean, log_scale = self.passes[number].own(self.context(number, features, planes, known), number)
            residual = own_channels(wanted, number) - mean
            coded.append(ste_round(residual) + mean)
            residuals.append(residual)
            log_scales.append(own_channels(prior, number) + log_scale)
        scales = torch.stack(log_scales).clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)
        bits = training_bits(torch.stack(residuals), scales).sum((0, 3))
        y_bits = from_phases(bits[..., None], *size)
        rounded = from_phases(gather_passes(coded), *size)
        latents = rounded * torch.exp(quadratic(self.log_regain - self.log_gain, plane))
        z_share = F.interpolate(z_bits.sum(1, keepdim=True) / 16, scale_factor=4, mode="nearest")
        return latents, y_bits, z_share

    def forward(self, pixels: Tensor, plane: Tensor, base: Tensor) -> Output:
        """pixels [n, 3, h, w] in 0..1, sides multiples of 64; plane t [n, 1, h/16, w/16]; base t [n, 1, 1, 1]."""
        latents, y_bits, z_share = self.code(pixels, plane, base)
        return Output(from_unit(self.synthesis(latents, plane)), y_bits, z_share)


def rate_distortion(output: Output, pixels: Tensor, plane: Tensor, similarity: float = 0.0) -> Tensor:
    """Mean over latent positions of (lambda * 255^2 * MSE + bpp) / sqrt(lambda / lambda at the middle).

    `similarity` is the share of the distortion that structural distance takes over from squared error.

    The division keeps any one quality from dominating: rate and weighted distortion both grow about as
    sqrt(lambda).
    """
    squared = (output.pixels - pixels).square().mean(1, keepdim=True) * (255.0**2)
    distortion = F.avg_pool2d(squared, BLOCK)
    if similarity:
        structure = EQUAL * structural_distance(output.pixels, pixels, BLOCK)
        distortion = (1 - similarity) * distortion + similarity * structure
    weight = torch.exp(-0.5 * (log_lambda(plane) - log_lambda(torch.zeros(()))))
    bpp = (output.y_bits + output.z_bits) / BLOCK**2
    return (weight * (torch.exp(log_lambda(plane)) * distortion + bpp)).mean()
