"""A budget is never exceeded, and nearly used up where the qualities reach that far."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import cotam_cli
from cotam_cli.bitstream import Chunk
from cotam_cli.codec import budget
from cotam_cli.codec.analysis import MapSpec
from cotam_cli.codec.budget import Trial, encode_frames_to_size, encode_to_size
from cotam_cli.codec.encoder import TimedPixels, encode_pixels
from cotam_cli.errors import BudgetError, CotamError

PHOTO = np.asarray(Image.open(Path(__file__).parents[2] / "examples" / "kodim23.png").convert("RGB"))
CROP = np.ascontiguousarray(PHOTO[100:292, 200:456])


@pytest.mark.parametrize("share", [0.1, 0.35, 0.8])
def test_within_three_percent_below(share: float) -> None:
    small, large = (len(encode_pixels(CROP, q)) for q in (1.0, 8.0))
    limit = int(small + share * (large - small))
    data = encode_to_size(CROP, limit)
    assert 0.97 * limit <= len(data) <= limit
    assert cotam_cli.decode(data).size == (256, 192)


def test_a_large_picture_is_sampled_first(monkeypatch: pytest.MonkeyPatch) -> None:
    analysed = []

    def watch(name: str) -> None:
        real = getattr(budget, name)

        def spy(pixels, *others):
            analysed.append(pixels.shape[:2])
            return real(pixels, *others)

        monkeypatch.setattr(budget, name, spy)

    watch("analyse")
    watch("analyse_finely")
    data = encode_to_size(PHOTO, 12_000)
    assert 0.97 * 12_000 <= len(data) <= 12_000
    assert analysed[0] == (64, 64 * 12)  # an eighth of the picture
    assert len(analysed) <= 4


def test_more_than_enough_gives_the_finest() -> None:
    assert encode_to_size(CROP, 10**6) == encode_pixels(CROP, 8.0)


def test_the_smallest_possible_fits_exactly() -> None:
    smallest = encode_pixels(CROP, 1.0)
    assert encode_to_size(CROP, len(smallest)) == smallest
    with pytest.raises(BudgetError, match="smallest possible") as caught:
        encode_to_size(CROP, len(smallest) - 1)
    assert caught.value.smallest == len(smallest)
    assert "--max-side" in str(caught.value)


def test_all_of_the_file_counts() -> None:
    alpha = np.zeros(CROP.shape[:2], np.uint8)
    alpha[50:100, 60:200] = np.random.default_rng(0).integers(0, 256, (50, 140))
    extras = (Chunk(17, bytes(300)),)
    data = encode_to_size(CROP, 9_000, alpha=alpha, extras=extras)
    assert 0.97 * 9_000 <= len(data) <= 9_000
    chunks = cotam_cli.info(data).chunks
    assert chunks["exif"] == 300
    assert chunks["alpha"] > 7000


def test_with_a_map() -> None:
    levels = np.random.default_rng(1).integers(0, 3, (6, 8), dtype=np.uint8)
    data = encode_to_size(CROP, 2000, importance=MapSpec(levels))
    assert 0.97 * 2000 <= len(data) <= 2000
    assert cotam_cli.info(data).levels == 3


def test_an_animation_shares_one_budget() -> None:
    frames = [TimedPixels(np.ascontiguousarray(CROP[:64, k : k + 96]), None, 40) for k in (0, 30, 60)]
    data = encode_frames_to_size(frames, 400)
    assert 0.97 * 400 <= len(data) <= 400
    assert cotam_cli.info(data).frames == 3


@given(
    st.lists(st.integers(-40, 40), min_size=64, max_size=64),
    st.integers(200, 60_000),
    st.integers(4096, 32768),
)
def test_the_search_never_exceeds_whatever_sizes_do(noise: list[int], limit: int, guess: int) -> None:
    """Sizes that jump up and down from quality to quality, and estimates that are off."""

    def size(quality: int) -> int:
        return max(40, int(400 * np.exp(0.5 * (quality / 4096 - 1))) + noise[quality % 64])

    def attempt(quality: int) -> Trial:
        assert 4096 <= quality <= 32768
        return Trial(quality, bytes(size(quality)), lambda q: 1.3 * size(q))

    try:
        data = budget._search(attempt, guess, limit, (100, 100))
    except BudgetError:
        assert size(4096) > limit
    else:
        assert len(data) <= limit


def test_api_counts_base64_and_bits_per_pixel() -> None:
    data = cotam_cli.encode(CROP, max_bytes=3000, base64=True)
    assert 0.96 * 2250 <= len(data) <= 2250
    data = cotam_cli.encode(CROP, target_bpp=0.4)
    assert 0.97 * 0.4 <= cotam_cli.info(data).bpp <= 0.4
    for bad in ({"max_bytes": 0}, {"max_bytes": -5}, {"target_bpp": 0.00001}):
        with pytest.raises(CotamError, match="allow more"):
            cotam_cli.encode(CROP, **bad)


def test_estimates_are_near_the_truth() -> None:
    from cotam_cli.codec.analysis import analyse

    analysis = analyse(CROP, 4.0, None)
    trial, _ = budget._trial(analysis, 4 * 4096, None, None, ())
    assert trial.size_at(4 * 4096) == pytest.approx(len(trial.data), abs=1)
    for quality in (3.75, 4.25):
        truth = len(encode_pixels(CROP, quality))
        assert trial.size_at(int(quality * 4096)) == pytest.approx(truth, rel=0.03)


@settings(deadline=None, max_examples=5)
@given(st.integers(1, 70), st.integers(1, 70), st.floats(0.2, 3))
def test_small_pictures(height: int, width: int, bpp: float) -> None:
    pixels = np.ascontiguousarray(CROP[:height, :width])
    limit = max(1, int(bpp * height * width / 8))
    try:
        assert len(encode_to_size(pixels, limit)) <= limit
    except BudgetError as error:
        assert error.smallest > limit


def test_budgets_of_a_few_bytes_say_what_is_possible() -> None:
    for limit in (1, 5, 40):
        with pytest.raises(BudgetError) as caught:
            encode_to_size(PHOTO[:256, :512], limit)
        assert caught.value.smallest > limit


def drawn() -> np.ndarray:
    """A page of flat boxes, which a screen layer takes fewer bytes for than the networks."""
    pixels = np.full((512, 640, 3), 255, np.uint8)
    for number in range(30):
        top, left = 16 * (number // 6) * 6, 100 * (number % 6)
        pixels[top : top + 40, left + 10 : left + 80] = (number * 8, 40, 200)
    return pixels


def test_a_drawn_picture_fits_into_what_its_layer_needs() -> None:
    small = len(cotam_cli.encode(drawn(), quality=1))
    assert small < len(encode_pixels(drawn(), 1.0))
    assert len(encode_to_size(drawn(), small)) <= small
    with pytest.raises(BudgetError) as caught:
        encode_to_size(drawn(), small - 1)
    assert caught.value.smallest == small


def test_an_error_survives_a_process_pool() -> None:
    error = BudgetError((10, 20), 100, 200)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.smallest) == (str(error), 200)


def test_both_budgets_of_an_animation_hold(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    first, *others = (Image.fromarray(frame) for frame in noise)
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=50)
    each = cotam_cli.encode(tmp_path / "a.png", target_bpp=1)
    assert len(each) <= 3 * 96 * 96 / 8
    both = cotam_cli.encode(tmp_path / "a.png", target_bpp=1, max_bytes=2000)
    assert len(both) <= 2000 < len(each)
    assert cotam_cli.info(each).bpp == pytest.approx(8 * len(each) / (3 * 96 * 96))
