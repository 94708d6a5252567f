"""A run that is stopped and goes on gives what a run in one piece gives."""

import random
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs PyTorch")

import torch

from cotam_cli.errors import CotamError
from cotam_cli.guidance.torch_vit import Tower
from cotam_cli.training.data import Pack
from cotam_cli.training.fidelity import VitTeacher
from cotam_cli.training.loop import resume_or_start
from cotam_cli.training.network import NetworkConfig
from cotam_cli.training.states import grow, pack_state, unpack_state
from cotam_cli.training.train_config import TrainConfig
from guidance.making import random_vit

TINY = NetworkConfig(
    latents=16,
    hyper=8,
    width=16,
    encoder_blocks=1,
    decoder_blocks=1,
    features=8,
    context=16,
    context_hidden=16,
)


def train(settings, out, steps, network=TINY, carried=None, teachers=None, **options):
    config = TrainConfig(out=str(out), steps=steps, **{**settings, **options})
    run = resume_or_start(config, network, carried, teachers)
    run.train(Pack(Path(config.pack)))
    return run


def weights_of(run):
    return torch.cat([p.detach().flatten() for p in run.codec.parameters()])


def flat(value, name=""):
    """(path, tensor or number) of everything in a state."""
    if isinstance(value, dict):
        return [item for key in value for item in flat(value[key], f"{name}.{key}")]
    if isinstance(value, list | tuple):
        return [item for k, part in enumerate(value) for item in flat(part, f"{name}[{k}]")]
    return [(name, value)]


def assert_equal(a, b, but=()):
    left, right = dict(flat(a)), dict(flat(b))
    assert left.keys() == right.keys()
    for name, value in left.items():
        if name.split(".")[1].split("[")[0] not in but:
            same = (
                torch.equal(value, right[name]) if isinstance(value, torch.Tensor) else value == right[name]
            )
            assert same, name


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_six_steps_equal_three_and_three(settings, tmp_path, optimiser):
    whole = train(settings, tmp_path / "whole", 6, optimiser=optimiser)
    train(settings, tmp_path / "parts", 3, optimiser=optimiser)
    parts = train(settings, tmp_path / "parts", 6, optimiser=optimiser)
    assert whole.step == parts.step == 6
    assert_equal(whole.state(), parts.state(), but=("core_seconds", "loss"))


def test_a_cool_down_stopped_and_continued(settings, tmp_path):
    """It goes on where it was; once over, the same command changes nothing."""
    whole = train(settings, tmp_path / "whole", 0, decay_steps=4)
    train(settings, tmp_path / "parts", 2, decay_steps=4)
    parts = train(settings, tmp_path / "parts", 0, decay_steps=4)
    again = train(settings, tmp_path / "parts", 0, decay_steps=4)
    assert whole.step == parts.step == again.step == 4
    assert_equal(whole.state(), parts.state(), but=("core_seconds", "loss"))
    assert_equal(whole.state(), again.state(), but=("core_seconds", "loss"))


def test_a_run_keeps_its_objective(settings, tmp_path):
    options = {"crop": 128, "similarity": 0.5}
    train(settings, tmp_path / "run", 1, **options)
    pack_state(tmp_path / "run", tmp_path / "carried.pt")
    for out, carried in (("run", None), ("new", tmp_path / "carried.pt")):
        with pytest.raises(CotamError, match=r"trained with --similarity 0\.5, not 0\.0"):
            train(settings, tmp_path / out, 2, carried=carried)
        assert train(settings, tmp_path / out, 2, carried=carried, **options).step == 2


def test_a_cooled_down_run_can_be_trained_on(settings, tmp_path):
    train(settings, tmp_path / "run", 0, decay_steps=2)
    pack_state(tmp_path / "run", tmp_path / "carried.pt")
    assert train(settings, tmp_path / "new", 0, carried=tmp_path / "carried.pt", decay_steps=2).step == 4
    assert train(settings, tmp_path / "run", 3).set_rate() == 1.0
    assert train(settings, tmp_path / "run", 0, decay_steps=2).step == 5


def test_a_grown_codec_warms_up_once(settings, tmp_path):
    run = train(settings, tmp_path / "run", 2)
    (tmp_path / "grown").mkdir()
    torch.save(grow(run.state(), TINY), tmp_path / "grown" / "state.pt")
    assert train(settings, tmp_path / "grown", 3, warmup=4).set_rate() == 0.5
    assert (
        resume_or_start(
            TrainConfig(out=str(tmp_path / "grown"), **{**settings, "warmup": 4}), TINY
        ).set_rate()
        == 0.5
    )


@pytest.fixture(scope="module")
def teachers():
    return {"teacher": VitTeacher(Tower(random_vit()), (1,), (2, 3), 8)}


def test_a_taught_run_stopped_and_continued(settings, tmp_path, teachers):
    options = {"teachers": teachers, "fidelity": 0.5, "distant": 0.5, "seen": 1}
    whole = train(settings, tmp_path / "whole", 6, **options)
    train(settings, tmp_path / "parts", 3, **options)
    parts = train(settings, tmp_path / "parts", 6, **options)
    assert_equal(whole.state(), parts.state(), but=("core_seconds", "loss"))
    assert parts.taught == {"teacher": 6}


def test_what_the_teachers_miss_shapes_the_codec(settings, tmp_path, teachers):
    """The same batch again and again: what they miss falls further where it counts."""
    missed = {}
    for name, weight in (("taught", 10.0), ("untaught", 0.0)):
        config = TrainConfig(out=str(tmp_path / name), fidelity=weight, seen=2, **settings)
        run = resume_or_start(config, TINY, None, teachers)
        batch = run.batch(Pack(Path(config.pack)), random.Random(1))
        missed[name] = [run.train_step(*batch, random.Random(2))["missed"] for _ in range(40)]
    assert missed["taught"][0] == missed["untaught"][0]
    assert min(missed["taught"]) < 0.97 * min(missed["untaught"])


def test_wide_crops_are_fewer(settings, tmp_path):
    run = train(settings, tmp_path, 1, batch=8, distant=1.0)
    pixels, plane, base = run.batch(Pack(Path(settings["pack"])), run.randomness())
    assert pixels.shape == (2, 3, 128, 128)
    assert plane.shape == (2, 1, 8, 8) and base.shape == (2, 1, 1, 1)


def test_steps_differ_from_one_another(settings, tmp_path):
    run = resume_or_start(TrainConfig(out=str(tmp_path), **settings), TINY)
    draws = []
    for run.step in (1, 2, 2):
        draws.append((run.randomness().random(), torch.rand(1).item()))
    assert draws[1] == draws[2] != draws[0]


def test_a_resumed_run_keeps_its_sizes(settings, tmp_path):
    train(settings, tmp_path, 2)
    run = train(settings, tmp_path, 2, network=NetworkConfig())
    assert run.codec.config == TINY


def test_a_carried_state_is_small_and_close(settings, tmp_path):
    run = train(settings, tmp_path / "run", 4)
    pack_state(tmp_path / "run", tmp_path / "carried.pt")
    assert (tmp_path / "carried.pt").stat().st_size < 0.7 * (tmp_path / "run" / "state.pt").stat().st_size
    before, after = dict(flat(run.state())), dict(flat(unpack_state(tmp_path / "carried.pt")))
    assert after.keys() < before.keys()
    assert all(name.endswith(".momentum_buffer") for name in before.keys() - after.keys())
    before |= {
        f".codec{name.removeprefix('.average')}": v for name, v in before.items() if ".average." in name
    }
    for name, value in after.items():
        if name.endswith(".exp_avg"):
            assert not value.any(), name  # momentum begins anew
        elif isinstance(value, torch.Tensor):
            assert value.dtype == before[name].dtype, name
            assert torch.allclose(value, before[name], rtol=0.01, atol=1e-6), name


def test_a_carried_state_loses_no_squared_gradient(settings, tmp_path):
    """A squared gradient of 1e-9 that becomes zero makes the next step a thousandfold one."""
    run = train(settings, tmp_path / "run", 2)
    for values in run.optimisers[0].state.values():
        values["exp_avg_sq"].fill_(1e-12)
    run.save(tmp_path / "run" / "state.pt")
    pack_state(tmp_path / "run", tmp_path / "carried.pt")
    carried = unpack_state(tmp_path / "carried.pt")["optimisers"][0]["state"]
    assert all(values["exp_avg_sq"].min() > 0.9e-12 for values in carried.values())


def test_a_run_goes_on_from_a_carried_state(settings, tmp_path):
    """Near to where it would be had it never been carried, measured by the way that all its steps have gone; the rest
    is the momentum, which stays behind."""
    options = {"optimiser": "adamw"}
    config = TrainConfig(out=str(tmp_path / "none"), **{**settings, **options})
    start = weights_of(resume_or_start(config, TINY))
    train(settings, tmp_path / "a", 3, **options)
    pack_state(tmp_path / "a", tmp_path / "carried.pt")
    direct = train(settings, tmp_path / "a", 4, **options)
    carried = train(settings, tmp_path / "b", 4, carried=tmp_path / "carried.pt", **options)
    assert carried.step == 4
    assert (weights_of(carried) - weights_of(direct)).norm() < 0.4 * (weights_of(direct) - start).norm()


def test_muon_goes_on_from_a_carried_state(settings, tmp_path):
    train(settings, tmp_path / "a", 3)
    pack_state(tmp_path / "a", tmp_path / "carried.pt")
    run = train(settings, tmp_path / "b", 5, carried=tmp_path / "carried.pt")
    assert run.step == 5
    assert all(p.isfinite().all() for p in run.codec.parameters())


def test_states_that_are_not_there(settings, tmp_path):
    with pytest.raises(CotamError, match="does not exist"):
        resume_or_start(TrainConfig(out=str(tmp_path), **settings), TINY, tmp_path / "none.pt")
    with pytest.raises(CotamError, match="does not exist"):
        pack_state(tmp_path, tmp_path / "carried.pt")


def test_a_run_shorter_than_a_line_of_its_log_counts_its_time(settings, tmp_path):
    run = train(settings, tmp_path, 1)
    assert 0 < run.core_seconds == unpack_state(tmp_path / "state.pt")["core_seconds"]


def test_a_save_that_fails_leaves_the_older_state(settings, tmp_path, monkeypatch):
    train(settings, tmp_path, 1)
    pack_state(tmp_path, tmp_path / "carried.pt")
    before = (tmp_path / "carried.pt").read_bytes()

    def full_disk(_state, path):
        Path(path).write_bytes(b"half")
        raise OSError

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError):
        pack_state(tmp_path, tmp_path / "carried.pt")
    assert (tmp_path / "carried.pt").read_bytes() == before


def test_signals_are_given_back(settings, tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    train(settings, tmp_path, 1)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
