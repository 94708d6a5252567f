"""Latents to payloads and back: any value, any size, the same bytes however the work is cut up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotam_cli.codec.models import load_model
from cotam_cli.entropy import latents as module
from cotam_cli.entropy.latents import (
    Trace,
    decode_latents,
    encode_latents,
    hyper_features,
    hyper_grid,
    put_pass,
    take_pass,
)
from cotam_cli.errors import FormatError

MODEL = load_model().entropy


def random_source(rows: int, columns: int, spread: float, seed: int = 0):
    """z, gained latents and a quality plane; a spread of 1e6 makes every symbol an escape or a clip."""
    rng = np.random.default_rng(seed)
    z = np.clip(np.rint(rng.normal(0, spread, (*hyper_grid(rows, columns), MODEL.hyper))), -32768, 32767)
    gained = rng.normal(0, spread, (rows, columns, MODEL.latents)).astype(np.float32)
    plane = rng.integers(4096, 32769, (rows, columns))
    return z.astype(np.int32), gained, plane


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([0.01, 1.0, 30.0, 3000.0, 1e6]),
    st.integers(4096, 32768),
)
def test_what_is_coded_comes_back(rows: int, columns: int, spread: float, quality: int) -> None:
    z, gained, plane = random_source(rows, columns, spread)
    given_features = hyper_features(MODEL, z)  # of channels too that this quality does not code
    *payloads, coded = encode_latents(MODEL, z, gained, plane, quality, features=given_features)
    decoded = decode_latents(MODEL, *payloads, plane, quality)
    assert np.array_equal(decoded.y, coded.y)
    assert np.array_equal(decoded.z, coded.z)
    assert decoded.crc == coded.crc


def test_values_are_within_half_a_symbol_where_coded() -> None:
    """A coded latent is off by at most 1/2; only those that the model holds for certainly zero may be off by more."""
    z, gained, plane = random_source(6, 6, 20.0)
    trace = Trace.empty(gained.shape)
    *_, coded = encode_latents(MODEL, z, gained, plane, 20000, trace=trace)
    error = np.abs(coded.y / 64 - gained)
    certain = trace.sums < 128  # scale index 0
    assert 0.1 < certain.mean() < 0.9
    assert (error[~certain] <= 0.5 + 1e-3).all()


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    z, gained, plane = random_source(21, 10, 2.0)
    whole = encode_latents(MODEL, z, gained, plane, 12288)
    for strip in (1, 40, 70):
        monkeypatch.setattr(module, "STRIP", strip)
        part = encode_latents(MODEL, z, gained, plane, 12288)
        assert part[:2] == whole[:2]
        assert part[2].crc == whole[2].crc


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (7, 4)])
def test_the_passes_share_the_latents(size: tuple[int, int]) -> None:
    """Every latent is coded once, and by the pass that docs/FORMAT.md names."""
    rows, columns = size
    turn = np.full((rows, columns, 8), -1, np.int32)
    for number in range(4):
        put_pass(turn, number, np.full((rows, columns, 2), number, np.int32))
        assert (take_pass(turn, number) == number).all()
    for row, column, channel in np.ndindex(turn.shape):
        step = ((0, 2), (3, 1))[row % 2][column % 2]
        assert turn[row, column, channel] == (channel + step) % 4


def test_a_cut_payload_is_an_error_or_other_latents() -> None:
    z, gained, plane = random_source(4, 4, 3.0)
    z_payload, y_payload, coded = encode_latents(MODEL, z, gained, plane, 12288)
    for cut in range(0, len(y_payload), 37):
        payload = y_payload[:cut].rstrip(b"\0")
        try:
            decoded = decode_latents(MODEL, z_payload, payload, plane, 12288)
        except FormatError:
            continue
        assert decoded.crc != coded.crc
