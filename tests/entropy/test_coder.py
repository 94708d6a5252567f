"""The range coder: any int16 survives any table, hardly a bit over the entropy, damage is one clear error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cotam_cli.codec.models import load_model
from cotam_cli.entropy.coder import Decoder, Encoder, Tables
from cotam_cli.errors import FormatError

TOTAL = 1 << 16
PREFIX = np.array([TOTAL - 16, *[1] * 16], np.int64)


def tables_of(rows: list[NDArray[np.int64]], prefix: NDArray[np.int64] = PREFIX) -> Tables:
    reach = np.array([len(row) // 2 - 1 for row in rows], np.int64)
    return Tables(reach, tuple(rows), prefix)


@st.composite
def frequency_rows(draw: st.DrawFn, length: int | None = None) -> NDArray[np.int64]:
    """Frequencies >= 1 with sum 65536 for 2 * reach + 2 symbols, or for `length`."""
    count = length or 2 * draw(st.integers(1, 20)) + 2
    cuts = draw(st.lists(st.integers(1, TOTAL - 1), min_size=count - 1, max_size=count - 1, unique=True))
    return np.diff([0, *sorted(cuts), TOTAL]).astype(np.int64)


INT16 = st.integers(-32768, 32767)
SYMBOLS = st.one_of(st.integers(-3, 3), st.integers(-300, 300), INT16, st.sampled_from([-32768, 32767]))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_symbols_survive_any_tables(data: st.DataObject) -> None:
    rows = data.draw(st.lists(frequency_rows(), min_size=1, max_size=4))
    tables = tables_of(rows, data.draw(frequency_rows(length=17)))
    groups = data.draw(
        st.lists(st.tuples(st.integers(0, len(rows) - 1), st.lists(SYMBOLS, min_size=1, max_size=40)))
    )
    encoder = Encoder(tables)
    for table, symbols in groups:
        encoder.group(table, np.array(symbols, np.int32))
    payload = encoder.finish()
    assert not payload.endswith(b"\0")
    decoder = Decoder(tables, payload)
    for table, symbols in groups:
        assert decoder.group(table, len(symbols)).tolist() == symbols
    decoder.finish()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 62), st.integers(1, 500))
def test_any_bytes_give_symbols_or_one_kind_of_error(payload: bytes, table: int, count: int) -> None:
    tables = load_model().entropy.tables
    try:
        symbols = Decoder(tables, payload).group(table, count)
    except FormatError:
        return
    assert symbols.shape == (count,)
    assert symbols.min() >= -32768
    assert symbols.max() <= 32767


def test_a_payload_with_a_zero_at_its_end_is_refused() -> None:
    with pytest.raises(FormatError, match="zero byte"):
        Decoder(load_model().entropy.tables, b"\x01\x00")


def test_bytes_behind_the_last_symbol_are_refused() -> None:
    tables = load_model().entropy.tables
    encoder = Encoder(tables)
    encoder.group(40, np.arange(-20, 20, dtype=np.int32))
    payload = encoder.finish()
    decoder = Decoder(tables, payload + bytes(8) + b"\x01")
    decoder.group(40, 40)
    with pytest.raises(FormatError, match="goes on"):
        decoder.finish()


def test_a_payload_that_cannot_hold_so_many_symbols_is_refused_before_they_are_decoded() -> None:
    tables = load_model().entropy.tables
    decoder = Decoder(tables, b"\x01" * 20)
    decoder.expect([(30, int((8 * 20 + 512) / tables.least[30]))])
    with pytest.raises(FormatError, match="too few"):
        decoder.expect([(30, 1)])
    with pytest.raises(FormatError, match="too few"):
        Decoder(tables, b"").expect([(1, 2**62), (2, 1)])


def test_the_cost_is_the_entropy_of_the_tables() -> None:
    """Over all shipped tables together, each fed symbols with just its own probabilities: at most 0.5 % more."""
    tables = load_model().entropy.tables
    rng = np.random.default_rng(5)
    encoder, ideal = Encoder(tables), 0.0
    for k, frequencies in enumerate(tables.frequencies):
        reach = int(tables.reach[k])
        inside = frequencies[:-1] / frequencies[:-1].sum()
        index = rng.choice(len(inside), 3000, p=inside)
        ideal += float((16 - np.log2(frequencies[index])).sum())
        encoder.group(k, (index - reach).astype(np.int32))
    spent = 8 * len(encoder.finish())
    assert ideal - 1 <= spent <= 1.005 * ideal


def test_shipped_tables_are_proper() -> None:
    tables = load_model().entropy.tables
    assert len(tables.frequencies) == 63
    for reach, row in zip(tables.reach, tables.frequencies, strict=True):
        assert len(row) == 2 * reach + 2
        assert row.min() >= 1
        assert row.sum() == TOTAL
