"""Measuring: points, what is kept, and that no file ends a run."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from bench.making import killed, save, shifting
from cotam_cli.bench import measuring
from cotam_cli.bench.codecs import Codec, anchors
from cotam_cli.bench.measuring import Job, Shelf, judge_original, measure, measure_all
from cotam_cli.bench.pictures import content_hash, find_pictures, load_pixels
from cotam_cli.bench.tasks import Task, Truth
from cotam_cli.errors import CotamError


class Reader:
    """A judge that knows how bright a picture is."""

    def __init__(self):
        self.asked = 0

    def answer(self, pixels):
        self.asked += 1
        return {"mean": np.array(pixels.mean())}

    def score(self, original, decoded, truth):
        scores = {"agreement": (float(decoded["mean"] / original["mean"] > 0.5), 2.0)}
        return scores | ({"accuracy": (1.0, 1.0)} if truth.label == 7 else {})


@pytest.fixture
def judge(monkeypatch):
    judge = Reader()
    monkeypatch.setattr(measuring, "load_judge", lambda _: judge)
    return judge


def test_a_point(tmp_path):
    picture = save(tmp_path / "a.png", size=(16, 32))
    codec, _ = shifting(ladder=(0.0, 3.0))
    row = measure(Job(picture, codec))
    assert (row.picture, row.codec, row.failures) == ("a.png", "shift", ())
    point = row.points[1]
    assert point.setting == 3
    assert point.bpp == 8 * point.bytes / (16 * 32)
    assert point.ms_ssim is None
    assert point.encode_seconds > 0 and point.decode_seconds > 0
    pixels = load_pixels(picture.path)
    error = np.square(pixels.astype(float) - (pixels // 2 + 3)).mean()
    assert point.psnr == pytest.approx(10 * np.log10(255**2 / error))


def test_unchanged_pictures_count_as_100_db(tmp_path):
    codec = replace(shifting()[0], encode=lambda pixels, _: pixels.tobytes())
    codec = replace(codec, decode=lambda data: np.frombuffer(data, np.uint8).reshape(16, 32, 3))
    row = measure(Job(save(tmp_path / "a.png", size=(16, 32)), codec))
    assert row.points[0].psnr == 100


def test_results_are_kept_by_content_version_and_setting(tmp_path):
    kept = tmp_path / "kept"
    picture, same = save(tmp_path / "a.png", 1), save(tmp_path / "same.bmp", 1)
    codec, calls = shifting()
    first = measure(Job(picture, codec, kept=kept))
    assert calls == [1, 2, 3]
    assert measure(Job(same, codec, kept=kept)).points == first.points
    assert calls == [1, 2, 3]
    measure(Job(picture, replace(codec, ladder=(3.0, 4.0)), kept=kept))
    assert calls == [1, 2, 3, 4]
    newer, newer_calls = shifting(version="2")
    measure(Job(picture, newer, kept=kept))
    measure(Job(save(tmp_path / "b.png", 2), newer, kept=kept))
    assert len(newer_calls) == 6


def test_a_damaged_result_is_measured_again(tmp_path):
    kept = tmp_path / "kept"
    job = Job(save(tmp_path / "a.png"), shifting()[0], kept=kept)
    first = measure(job)
    for content in (b"{", b"[1]", b'{"setting": 1}'):
        for path in kept.rglob("*.json"):
            path.write_bytes(content)
        again = measure(job)
        assert [p.psnr for p in again.points] == [p.psnr for p in first.points]


def test_rates_choose_settings_and_remember_them(tmp_path):
    kept = tmp_path / "kept"
    jpeg = anchors()[0][0]
    job = Job(save(tmp_path / "a.png"), jpeg, rates=(1.0, 2.0), kept=kept)
    row = measure(job)
    assert [point.bpp for point in row.points] == pytest.approx([1, 2], rel=0.15)
    forgetful = replace(jpeg, encode=lambda *_: pytest.fail("asked to encode again"))
    assert measure(replace(job, codec=forgetful)) == row


def test_one_setting_that_fails_leaves_the_others(tmp_path):
    codec, _ = shifting(fails=2.0)
    row = measure(Job(save(tmp_path / "a.png"), codec))
    assert [point is None for point in row.points] == [False, True, False]
    (failure,) = row.failures
    assert str(failure) == "a.png shift at 2: ValueError: three lines of bad luck"


def test_a_picture_of_another_size_is_a_failure(tmp_path):
    codec = replace(shifting()[0], decode=lambda _: np.zeros((3, 4, 3), np.uint8))
    row = measure(Job(save(tmp_path / "a.png"), codec))
    assert row.points == (None, None, None)
    assert "different sizes" in row.failures[0].reason


def test_a_picture_that_is_gone_is_a_failure(tmp_path):
    picture = save(tmp_path / "a.png")
    picture.path.unlink()
    row = measure(Job(picture, shifting()[0]))
    assert "does not exist" in row.failures[0].reason


def test_judges_see_the_original_once_and_score_what_is_kept(tmp_path, judge):
    kept = tmp_path / "kept"
    picture = save(tmp_path / "a.png")
    codec, calls = shifting()
    measure(Job(picture, codec, kept=kept))
    task = Task("bright")
    job = Job(picture, codec, tasks=(task,), truth=Truth(label=7), kept=kept)
    assert judge_original(job).scores == {"bright": {"agreement": (1.0, 2.0), "accuracy": (1.0, 1.0)}}
    row = measure(job)
    assert judge.asked == 1 + 3
    assert len(calls) == 3, "a new judge must not cost a new encode"
    assert row.points[0].scores[task.score_key(Truth(label=7))]["accuracy"] == (1.0, 1.0)
    assert measure(job) == row
    assert judge.asked == 4
    other = measure(replace(job, truth=Truth(label=1)))
    assert "accuracy" not in other.points[0].scores[task.score_key(Truth(label=1))]


def test_a_judge_that_fails_costs_its_score_only(tmp_path, judge):
    judge.score = lambda *_: 1 / 0
    row = measure(Job(save(tmp_path / "a.png"), shifting()[0], tasks=(Task("bright"),)))
    assert None not in row.points
    assert [failure.task for failure in row.failures] == ["bright"] * 3
    assert "ZeroDivisionError" in str(row.failures[0])


def test_a_killed_process_takes_nothing_along(tmp_path):
    """With worker processes and a codec that kills its process, the others' rows are all there."""
    jpeg = anchors()[0][0]
    mark = tmp_path / "deaths"
    bad = Codec("bad", "1", (1.0,), (1.0,), partial(killed, mark=str(mark)), jpeg.decode)
    short = replace(jpeg, ladder=(10.0, 50.0))
    pictures = [save(tmp_path / f"{k}.png", k) for k in range(2)]
    jobs = [Job(pictures[0], bad), *(Job(picture, short) for picture in pictures)]
    rows = {(row.picture, row.codec): row for row in measure_all(jobs, workers=2)}
    assert len(rows) == 3
    assert mark.read_text() == "xx"
    assert "killed" in rows["0.png", "bad"].failures[0].reason
    for picture in pictures:
        alone = measure(Job(picture, short)).points
        assert [p.psnr for p in rows[picture.name, "jpeg"].points] == [p.psnr for p in alone]


def test_files_are_kept_for_later(tmp_path):
    kept = tmp_path / "kept"
    codec, _ = shifting()
    job = Job(save(tmp_path / "a.png"), codec, kept=kept)
    row = measure(job)
    assert len(Shelf.of(job).file(2.0)) == row.points[1].bytes
    assert Shelf.of(job).file(9.0) is None


def test_folders_of_pictures(tmp_path):
    for k in range(10):
        save(tmp_path / f"{k}.png", k)
    (tmp_path / "notes.txt").write_text("not a picture")
    assert len(find_pictures(tmp_path)) == 10
    assert [path.name for path in find_pictures(tmp_path, 4)] == ["0.png", "2.png", "5.png", "7.png"]
    with pytest.raises(CotamError, match="holds no pictures"):
        find_pictures(tmp_path / "none")


def test_the_content_hash_sees_pixels_and_size_only(tmp_path):
    one, same = save(tmp_path / "a.png", 1), save(tmp_path / "b.bmp", 1)
    assert one.digest == same.digest
    pixels = load_pixels(one.path)
    assert content_hash(pixels) == one.digest != content_hash(pixels.reshape(80, 64, 3))
    assert (one.width, one.height) == (80, 64)
