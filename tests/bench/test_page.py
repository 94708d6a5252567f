"""The report in a real Chromium: no errors, no network, and everything that can be touched does what it says."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from bench.making import save
from cotam_cli.bench import exhibits, page, run
from cotam_cli.bench.exhibits import ImportanceMap
from cotam_cli.bench.planning import Options, make_plan
from cotam_cli.bench.timing import Cost, Timing

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def timed(codec, picture):
    """Stands for the processes that take the times."""
    cost = Cost(0.5, 0.1, 60_000_000)
    return Timing(codec.name, picture.name, picture.width, picture.height, 30.0, 1234, cost, cost)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two pictures, three codecs and a map."""
    folder = tmp_path_factory.mktemp("report")
    for k in range(2):
        save(folder / f"{k}.png", k, (176, 192))
    Image.open(folder / "0.png").save(folder / "x'\"><i id=evil>.png")
    plan = make_plan(folder, Options(codecs="jpeg,webp,avif", cache=folder / "cache", workers=1))
    levels = np.arange(36, dtype=np.uint8).reshape(6, 6) % 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhibits, "importance_map", lambda _: ImportanceMap(levels, 3, 32))
        patch.setattr(run, "time_codec", timed)
        result = run.run_bench(plan)
    path = folder / "report.html"
    path.write_text(page.page(result, "jpeg"))
    return path


@pytest.fixture(params=[(390, "light"), (1280, "dark")], ids=["phone", "desk"])
def opened(request, browser, report):
    """The page, and everything that it said or asked for."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab, noise = context.new_page(), []
    tab.on("console", lambda message: noise.append(message.text))
    tab.on("pageerror", lambda error: noise.append(str(error)))
    tab.on("request", lambda asked: noise.append(asked.url) if asked.url.startswith("http") else None)
    tab.goto(report.as_uri())
    yield tab
    assert noise == []
    context.close()


def test_it_fits_the_screen_and_takes_nothing_for_markup(opened):
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.locator("#evil").count() == 0
    assert opened.locator("h1").inner_text().startswith("cotam bench")


def test_the_measure_can_be_chosen(opened):
    shown = opened.locator("#curves > .panel:visible")
    assert shown.count() == 1
    assert "PSNR" in shown.inner_text()
    opened.select_option("#measure", "MS-SSIM")
    assert "MS-SSIM" in opened.locator("#curves > .panel:visible").inner_text()


def test_a_codec_can_be_hidden(opened):
    button, curve = (
        opened.locator(".toggle", has_text="webp"),
        opened.locator("#curves .curve[data-codec=webp]"),
    )
    assert curve.first.is_visible()
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert not curve.first.is_visible()
    button.click()
    assert curve.first.is_visible()


def test_points_are_read_by_keyboard_and_pointer(opened):
    panel, said = opened.locator("#curves > .panel:visible"), opened.locator("#said")
    panel.focus()
    panel.press("ArrowRight")
    first = said.inner_text()
    assert first.startswith("jpeg: ") and "bpp" in first
    panel.press("ArrowRight")
    assert said.inner_text() != first
    panel.press("ArrowDown")
    assert said.inner_text().startswith("webp: ")
    panel.locator(".curve[data-codec=jpeg] .mark").first.hover()
    assert said.inner_text() == first


def test_the_slider_divides_two_crops(opened):
    panel = opened.locator("#crops > .panel:visible")
    assert panel.count() == 1
    slider = panel.locator(".divide")
    slider.focus()
    above = panel.locator("img.above")
    assert panel.locator(".left").input_value() != panel.locator(".right").input_value()

    def cut():
        return above.evaluate("image => getComputedStyle(image).clipPath")

    before = cut()
    for _ in range(10):
        slider.press("ArrowRight")
    assert slider.input_value() == "60"
    assert cut() != before
    box = panel.locator(".compare").bounding_box()
    opened.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    assert abs(float(slider.input_value()) - 25) <= 1
    panel.locator(".left").select_option("original")
    panel.locator(".right").select_option("avif")
    assert panel.locator("img.above").get_attribute("alt") == "original"
    text = panel.locator(".sides").inner_text()
    assert "left: original" in text and "right: avif: " in text and "bytes" in text
    loaded = "images => images.every(image => image.complete && image.naturalWidth > 0)"
    assert panel.locator("img").evaluate_all(loaded)


def test_the_anchor_and_the_picture_can_be_chosen(opened):
    opened.select_option("[data-shows=rates]", "avif")
    assert "against avif" in opened.locator("#rates > .panel:visible").inner_text()
    opened.select_option("[data-shows=crops]", "1.png")
    assert "1.png" in opened.locator("#crops > .panel:visible").inner_text()


def test_the_map_fades(opened):
    cells = opened.locator(".map .cells").first
    assert "3 levels, cells of 32 pixels" in opened.locator(".maps").inner_text()
    opened.locator("#opacity").fill("20")
    assert cells.evaluate("cells => getComputedStyle(cells).opacity") == "0.2"


def test_everything_can_be_reached_by_keyboard(opened):
    reached = opened.evaluate(
        "() => [...document.querySelectorAll('select, button, input, summary, figure.panel')]"
        ".filter(part => part.checkVisibility())"
        ".every(part => { part.focus(); return document.activeElement === part })"
    )
    assert reached


def test_text_stands_out(opened):
    """Contrast of every codec's colour and of the text against the page: 3:1 for lines, 4.5:1 for text."""
    tones = json.loads(
        opened.evaluate(
            """() => JSON.stringify({
                back: getComputedStyle(document.body).backgroundColor,
                text: [...document.querySelectorAll('p, .fewer, .more, td')].map(p => getComputedStyle(p).color),
                lines: [...document.querySelectorAll('.curve polyline')].map(p => getComputedStyle(p).stroke),
            })"""
        )
    )

    def luminance(tone):
        parts = [int(part) / 255 for part in tone[tone.index("(") + 1 : -1].split(",")[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(tone):
        low, high = sorted((luminance(tone), luminance(tones["back"])))
        return (high + 0.05) / (low + 0.05)

    assert min(map(contrast, set(tones["lines"]))) >= 3
    assert min(map(contrast, set(tones["text"]))) >= 4.5
