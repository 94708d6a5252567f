"""open_clip's towers as judges. Weights are random here: nothing is fetched."""

import pytest

from bench.making import scene
from cotam_cli.bench.contract import Contract
from cotam_cli.bench.tasks import Task, Truth, load_judge
from cotam_cli.errors import CotamError

open_clip = pytest.importorskip("open_clip", reason="needs the extra torch")

TOWER = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def tiny():
    """A tower of four small blocks, under a name of its own."""
    from open_clip import factory

    factory._MODEL_CONFIGS["tiny-test"] = TOWER
    yield
    del factory._MODEL_CONFIGS["tiny-test"]
    load_judge.cache_clear()


def test_layers():
    judge = load_judge(Task("layers", Contract("layers", "tokens", tower="tiny-test")))
    assert judge.layers == {"shallow": 2, "middle": 2, "deep": 3}
    answer = judge.answer(scene())
    assert {name: tokens.shape for name, tokens in answer.items()} == dict.fromkeys(judge.layers, (16, 64))
    same = judge.score(answer, answer, Truth())
    assert all(value == pytest.approx(1, abs=1e-3) for value, _ in same.values())
    other = judge.score(answer, judge.answer(255 - scene()), Truth())
    assert all(value < 0.999 for value, _ in other.values())


def test_zero_shot():
    contract = Contract("z", "zero-shot", tower="tiny-test", classes=("a cat", "a dog", "a bird"))
    judge = load_judge(Task("z", contract))
    answer = judge.answer(scene())
    assert 0 <= int(answer["class"]) < 3
    assert judge.score(answer, answer, Truth())["agreement"] == (1.0, 1.0)


def test_what_cannot_be_had():
    with pytest.raises(CotamError, match="there is no magic of open_clip"):
        load_judge(Task("z", Contract("z", "tokens", tower="magic")))
    with pytest.raises(CotamError, match="the weights no-such-file of tiny-test"):
        load_judge(Task("z", Contract("z", "tokens", tower="tiny-test", weights="no-such-file")))
