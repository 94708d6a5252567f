"""From trained float networks to integer ones: calibration, scales, tables, proof.

Every activation gets a power-of-two scale from the largest value seen in calibration, with headroom; every
layer the finest weights that fit int16. The result is the set of arrays in `entropy.npz`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cotam_cli.entropy.coder import PREFIXES
from cotam_cli.entropy.tables import SCALES
from cotam_cli.errors import CotamError
from cotam_cli.training.layers import Block, Dense, Depthwise
from cotam_cli.training.network import Codec, Parameters

HEADROOM = 4.0  # activations may grow to this times the calibrated maximum before they clip
MAX_BITS = 12  # of an activation's fraction
FIRST_SCALE, LAST_SCALE = 0.08, 64.0  # logistic scales of scale index 1 and 63
LOG_STEP = math.log(LAST_SCALE / FIRST_SCALE) / (SCALES - 2)
MAX_REACH = 255
SYMBOL_BITS = 6  # companded latents come in 1/64
PLANE_BITS = 12  # t and t^2 come in 1/4096

Arrays = dict[str, NDArray[np.generic]]
Floats = NDArray[np.float64]


def calibrate(codec: Codec, batches: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, float]:
    """Largest magnitude of every layer's output in the networks that become integer, by module name."""
    largest: dict[str, float] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            largest[name] = max(largest.get(name, 0.0), float(output.abs().max()))

        return hook

    handles = []
    for top in ("hyper_synthesis", "passes"):
        for name, module in codec.get_submodule(top).named_modules(prefix=top):
            if isinstance(module, Dense | Depthwise | Block):
                handles.append(module.register_forward_hook(watch(name)))
    with torch.no_grad():
        for pixels, plane, base in batches:
            codec(pixels, plane, base)
    for handle in handles:
        handle.remove()
    return largest


class Converter:
    """Turns layers into integer arrays; `arrays` collects them under the names that `tables.py` reads."""

    def __init__(self, largest: dict[str, float]) -> None:
        self.largest = largest
        self.arrays: Arrays = {}

    def bits(self, name: str) -> int:
        """Fraction bits of a layer's output."""
        return min(MAX_BITS, math.floor(math.log2(32767 / (HEADROOM * max(self.largest[name], 1e-3)))))

    def layer(self, target: str, weight: Floats, bias: Floats, in_bits: Floats, out_bits: int) -> None:
        """weight [..., outputs] with inputs' fraction bits in_bits broadcast against it; finest fit in int16."""
        size = np.abs(weight) * 2.0**-in_bits
        limits = [
            math.log2(32767 / max(size.max(), 1e-12)),
            math.log2((2**31 - 1) / max(np.abs(bias).max(), 1e-6)),
        ]
        total = min(math.floor(min(limits)), out_bits + 31)
        if total <= out_bits:
            raise CotamError(f"{target}: weights too large for int16; train on at a lower rate, then export")
        self.arrays[f"{target}.weight"] = np.rint(weight * 2.0 ** (total - in_bits)).astype(np.int16)
        self.arrays[f"{target}.bias"] = np.rint(bias * 2.0**total).astype(np.int32)
        self.arrays[f"{target}.shift"] = np.array(total - out_bits, np.int8)

    def dense(self, target: str, module: Dense, in_bits: Floats, out_bits: int) -> None:
        weight = module.weight.detach().double().numpy().T
        self.layer(target, weight, module.bias.detach().double().numpy(), in_bits[:, None], out_bits)

    def block(self, target: str, name: str, module: Block, stream: int) -> None:
        """A residual block on a stream of `stream` fraction bits."""
        spatial, up = self.bits(f"{name}.spatial"), self.bits(f"{name}.up")
        weight = module.spatial.weight.detach().double().numpy()[:, 0].transpose(1, 2, 0)
        channels = weight.shape[-1]
        bias = module.spatial.bias.detach().double().numpy()
        self.layer(f"{target}.spatial", weight, bias, np.full(channels, float(stream)), spatial)
        self.dense(f"{target}.up", module.up, np.full(channels, float(spatial)), up)
        hidden = module.up.weight.shape[0]
        self.dense(f"{target}.down", module.down, np.full(hidden, float(up)), stream)


def convert(codec: Codec, largest: dict[str, float]) -> Arrays:
    """All arrays of `entropy.npz` but the tables. `largest` comes from `calibrate`."""
    converter = Converter(largest)
    net, config = codec.hyper_synthesis, codec.config
    c = float(config.features)

    def stream_bits(*names: str) -> int:
        return min(converter.bits(name) for name in names)

    first = converter.bits("hyper_synthesis.first")
    converter.dense("hyper.first", net.first, np.full(config.hyper, float(SYMBOL_BITS)), first)
    stream = stream_bits("hyper_synthesis.second", "hyper_synthesis.block")
    converter.dense("hyper.second", net.second, np.full(2 * int(c), float(first)), stream)
    converter.block("hyper.block", "hyper_synthesis.block", net.block, stream)
    features = stream_bits("hyper_synthesis.third", "hyper_synthesis.last")
    converter.dense("hyper.third", net.third, np.full(int(c), float(stream)), features)
    converter.block("hyper.last", "hyper_synthesis.last", net.last, features)

    planes = np.full(2, float(PLANE_BITS))
    known = np.full(config.latents, float(SYMBOL_BITS))
    for number, module in enumerate(codec.passes):
        assert isinstance(module, Parameters)
        target, name = f"pass{number}", f"passes.{number}"
        context = [known] if number else []
        inputs = np.concatenate([np.full(int(c), float(features)), *context, planes])
        stream = stream_bits(
            *(f"{name}.{part}" for part in (("stem", "block") if module.block else ("stem",)))
        )
        converter.dense(f"{target}.stem", module.stem, inputs, stream)
        if module.block is not None:
            converter.block(f"{target}.block", f"{name}.block", module.block, stream)
        _heads(converter, target, module.head, config.latents, config.context, stream)
    converter.arrays["y_curve"] = _curve(codec.y_prior)
    converter.arrays["z_curve"] = _curve(codec.z_prior)
    return converter.arrays


def _heads(converter: Converter, target: str, head: Dense, latents: int, inputs: int, stream: int) -> None:
    """Means in 1/64 of a symbol (the network's output times 8), scales in 1/256 of an index (times 4)."""
    weight, bias = head.weight.detach().double().numpy().T, head.bias.detach().double().numpy()
    bits = np.full((inputs, 1), float(stream))
    for name, part, unit in (
        ("mean", slice(0, latents), 8 * 2.0**SYMBOL_BITS),
        ("scale", slice(latents, None), 4 * 256 / LOG_STEP),
    ):
        converter.layer(f"{target}.{name}", weight[:, part] * unit, bias[part] * unit, bits, 0)


def _curve(prior: Tensor) -> NDArray[np.generic]:
    """Log scales as quadratics in t to scale indices in 1/256; index 1 is FIRST_SCALE."""
    curve = prior.detach().double().numpy() / LOG_STEP
    curve[0] += 1 - math.log(FIRST_SCALE) / LOG_STEP
    return np.rint(curve * 256).astype(np.int32)


def frequencies(mass: Floats) -> NDArray[np.int64]:
    """Probabilities to integer frequencies, each >= 1, that sum to 65536."""
    scaled = np.maximum(1, np.floor(mass / mass.sum() * 65536)).astype(np.int64)
    scaled[scaled.argmax()] += 65536 - scaled.sum()
    return scaled


def logistic_mass(scale: float, reach: int) -> Floats:
    """Probabilities of -reach..reach and, last, of everything else, under a zero-mean logistic."""
    edges = (np.arange(-reach, reach + 2) - 0.5) / scale
    cumulative = 0.5 * (1 + np.tanh(edges / 2))
    inner = np.diff(cumulative)
    return np.append(inner, max(1 - inner.sum(), 1e-9))


def coder_tables(shape: Callable[[float, int], Floats] = logistic_mass) -> Arrays:
    """The coder's tables for scale indices 1..63 and for escapes' prefixes."""
    rows, reaches = [], []
    for k in range(SCALES - 1):
        scale = FIRST_SCALE * math.exp(k * LOG_STEP)
        reach = min(MAX_REACH, max(1, math.ceil(scale * 9)))
        reaches.append(reach)
        rows.append(frequencies(shape(scale, reach)))
    prefix = frequencies(2.0 ** -np.arange(1.0, PREFIXES + 1))
    return {
        "tables.reach": np.array(reaches, np.uint16),
        "tables.frequencies": np.concatenate(rows).astype(np.uint16),
        "tables.prefix": prefix.astype(np.uint16),
    }
