"""Cold and warm times, and memory: real processes, no claim about their speed."""

import sys
from functools import partial

import pytest

from bench.making import failing, save, swollen
from cotam_cli.bench.codecs import Codec, anchors
from cotam_cli.bench.timing import peak_memory, time_codec
from cotam_cli.errors import CotamError


def test_a_codec_is_timed_in_processes_of_its_own(tmp_path):
    jpeg = anchors()[0][0]
    timing = time_codec(jpeg, save(tmp_path / "a.png"))
    assert (timing.codec, timing.picture, timing.width, timing.height) == ("jpeg", "a.png", 80, 64)
    assert timing.setting == jpeg.ladder[len(jpeg.ladder) // 2]
    assert timing.bytes > 100
    for cost in (timing.encode, timing.decode):
        assert cost.cold > cost.warm > 0
        assert cost.memory is None or 5e6 < cost.memory < 1e9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_the_peak_is_seen(tmp_path):
    """A codec that takes 300 MB for a moment."""
    codec = Codec("big", "1", (1.0,), (1.0,), partial(swollen, size=300_000_000), len)
    assert 3e8 < time_codec(codec, save(tmp_path / "a.png")).encode.memory < 8e8
    assert peak_memory() > 5e6


def test_a_codec_that_fails(tmp_path):
    codec = Codec("bad", "1", (1.0,), (1.0,), failing, len)
    with pytest.raises(CotamError, match="no luck"):
        time_codec(codec, save(tmp_path / "a.png"))
