"""Integer networks: exactly the integers of docs/FORMAT.md, and a proof that refuses what could overflow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cotam_cli.codec.models import load_model
from cotam_cli.entropy.integer_net import (
    EXACT,
    Block,
    Dense,
    Depthwise,
    Parameters,
    compand,
    prove_exact,
    shuffle_up,
)

Int64 = NDArray[np.int64]


def finish(acc: Int64, shift: int, leaky: bool = False) -> Int64:
    """The page's `finish`, in 64-bit integers."""
    v = (acc + (1 << (shift - 1))) >> shift
    if leaky:
        v = np.where(v < 0, (v + 4) >> 3, v)
    return np.clip(v, -32767, 32767)


def random_dense(rng: np.random.Generator, inputs: int, outputs: int, shift: int, leaky: bool) -> Dense:
    weight = rng.integers(-32767, 32768, (inputs, outputs)).astype(np.int16)
    bias = rng.integers(-(2**31), 2**31, outputs).astype(np.int32)
    return Dense(weight, bias, shift, leaky)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 31), st.booleans())
def test_dense_is_integer_arithmetic(seed: int, shift: int, leaky: bool) -> None:
    rng = np.random.default_rng(seed)
    layer = random_dense(rng, 37, 11, shift, leaky)
    x = rng.integers(-32767, 32768, (3, 5, 37))
    acc = x @ layer.weight.astype(np.int64) + layer.bias
    assert np.array_equal(layer(x.astype(np.float64)), finish(acc, shift, leaky))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 31))
def test_depthwise_is_integer_arithmetic(seed: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-32767, 32768, (3, 3, 7)).astype(np.int16)
    bias = rng.integers(-(2**31), 2**31, 7).astype(np.int32)
    x = rng.integers(-32767, 32768, (4, 6, 7))
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    acc = bias + sum(
        padded[i : i + 4, j : j + 6] * weight[i, j].astype(np.int64) for i in range(3) for j in range(3)
    )
    assert np.array_equal(Depthwise(weight, bias, shift)(x.astype(np.float64)), finish(acc, shift))


def test_a_block_adds_and_clips() -> None:
    rng = np.random.default_rng(3)
    spatial = Depthwise(np.zeros((3, 3, 4), np.int16), np.zeros(4, np.int32), 1)
    block = Block(spatial, random_dense(rng, 4, 8, 20, True), random_dense(rng, 8, 4, 20, False))
    x = np.full((2, 2, 4), 32767.0)
    y = block(x)
    assert np.abs(y).max() <= 32767
    assert np.array_equal(y, np.clip(x + block.down(block.up(block.spatial(x))), -32767, 32767))


def test_compand_and_shuffle() -> None:
    x = np.arange(-40000.0, 40000.0, 7)
    inner = np.clip(x, -256, 256).astype(np.int64)
    wanted = np.clip(inner + ((x.astype(np.int64) - inner + 4) >> 3), -32767, 32767)
    assert np.array_equal(compand(x), wanted)
    up = shuffle_up(np.arange(2 * 3 * 8, dtype=np.float64).reshape(2, 3, 8))
    assert up.shape == (4, 6, 2)
    assert up[2 * 1 + 1, 2 * 2 + 0, 1] == (1 * 3 + 2) * 8 + (2 * 1 + 0) * 2 + 1


def test_a_layer_that_could_overflow_is_refused() -> None:
    inputs = 2**23 + 1024  # that many inputs x 32767 x 32767 is just over 2^53
    wide = Dense(np.full((inputs, 1), 32767, np.int16), np.zeros(1, np.int32), 1)
    small = Dense(np.ones((4, 4), np.int16), np.zeros(4, np.int32), 1)
    assert wide.bound() >= EXACT
    with pytest.raises(ValueError, match=r"not below 2\^53"):
        prove_exact(Parameters(small, None, (small, wide), (small, small)))
    assert prove_exact(Parameters(small, None, (small, small), (small, small))) < EXACT


def test_the_bound_holds_for_the_worst_input() -> None:
    rng = np.random.default_rng(9)
    layer = random_dense(rng, 50, 6, 4, False)
    worst = np.sign(layer.weight.astype(np.int64)) * 32767
    sums = (worst * layer.weight.astype(np.int64)).sum(0) + np.abs(layer.bias.astype(np.int64))
    assert layer.bound() >= sums.max()
    assert layer.bound() - sums.max() == 1 << layer.shift


def test_the_shipped_networks_are_proved() -> None:
    model = load_model().entropy
    for net in (model.hyper_synthesis, *model.passes):
        assert prove_exact(net) < EXACT
