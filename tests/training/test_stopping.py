"""Signals that stop a run, and states that stay whole."""

import os
import signal

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch

from cotam_cli.training.states import save_state
from cotam_cli.training.stopping import SIGNALS, StopSignals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_and_ends_nothing(number):
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
    assert signal.getsignal(number) is before


def test_handlers_are_back_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="from within"), StopSignals():
        raise ValueError("from within")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_state_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_state({"step": 1}, path)

    def full(_state, part):
        part.write_bytes(b"half")
        raise OSError("no space")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        save_state({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
