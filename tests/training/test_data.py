"""What goes into a pack, and that it shares no picture with the pictures that are measured on."""

import io
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from cotam_cli.errors import CotamError
from cotam_cli.training import data
from cotam_cli.training.data import Pack, build_pack, check_disjoint


def test_groups_and_sizes(pack_folder):
    pack = Pack(pack_folder)
    assert sorted((entry.name, entry.group) for entry in pack.entries)[-1] == ("text/5.png", "text")
    assert {group: len(entries) for group, entries in pack.groups.items()} == {"photo": 4, "text": 2}
    assert pack.pixels.size == 6 * 130 * 150 * 3


def test_disjoint_folders_pass(pack_folder, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 80, 3), np.uint8)).save(tmp_path / "new.png")
    check_disjoint(Pack(pack_folder), tmp_path)


@pytest.mark.parametrize("name", ["copy.png", "copy.bmp", "deep/er/copy.webp"])
def test_a_shared_picture_is_found_whatever_its_name_and_lossless_format(
    pictures, pack_folder, tmp_path, name
):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(pictures / "photo" / "2.png").save(path, lossless=True)
    with pytest.raises(CotamError, match=r"1 pictures .*copy.* is photo/2\.png"):
        check_disjoint(Pack(pack_folder), tmp_path)


def test_a_shared_picture_is_found_in_a_tar_file(pictures, pack_folder, tmp_path):
    with tarfile.open(tmp_path / "some-0.tar", "w") as archive:
        archive.add(pictures / "text" / "4.png", "x/4.png")
    with pytest.raises(CotamError, match=r"some/x/4\.png is text/4\.png"):
        check_disjoint(Pack(pack_folder), tmp_path)


def test_a_picture_that_the_pack_scales_down_is_found_too(tmp_path):
    """The hash is of the picture as it came."""
    y, x = np.mgrid[:1310, :70]
    tall = Image.fromarray(np.stack([x, y % 256, x + y], -1).astype(np.uint8))
    wide = tall.resize((140, 2620))
    (tmp_path / "in").mkdir()
    wide.save(tmp_path / "in" / "a.png")
    build_pack([tmp_path / "in"], tmp_path / "pack", drawn=0)
    pack = Pack(tmp_path / "pack")
    assert pack.entries[0].height == 1310
    with pytest.raises(CotamError):
        check_disjoint(pack, tmp_path / "in")


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG no")
    small = io.BytesIO()
    Image.new("RGB", (20, 20)).save(small, "PNG")
    (tmp_path / "in" / "small.png").write_bytes(small.getvalue())
    with pytest.raises(CotamError, match="no pictures"):
        build_pack([tmp_path / "in"], tmp_path / "pack", drawn=0)


def damaged_png():
    """A picture whose second chunk of pixels has a broken name: Pillow calls that a syntax error."""
    rng = np.random.default_rng(0)
    whole = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (300, 300, 3), np.uint8)).save(whole, "PNG")
    before, first, second, *rest = whole.getvalue().split(b"IDAT")
    return b"IDAT".join([before, first + b"\x00\x00\x00\x00" + second, *rest])


def test_a_damaged_picture_is_left_out_of_a_pack_and_stops_the_check(tmp_path, pictures):
    for name in ("in", "dev"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "damaged.png").write_bytes(damaged_png())
    shutil.copy(pictures / "photo" / "2.png", tmp_path / "in")
    build_pack([tmp_path / "in"], tmp_path / "pack", drawn=0)
    pack = Pack(tmp_path / "pack")
    assert [entry.name for entry in pack.entries] == ["2.png"]
    with pytest.raises(CotamError, match=r"damaged\.png of .*dev cannot be read"):
        check_disjoint(pack, tmp_path / "dev")


def test_a_pack_that_is_cut_off_between_pixels_and_index_is_none(tmp_path, pictures, monkeypatch):
    build_pack([pictures], tmp_path, drawn=0)

    def no_room(path, _data):
        raise CotamError(f"{path}: cannot be written")

    monkeypatch.setattr(data, "write_atomic", no_room)
    with pytest.raises(CotamError, match="cannot be written"):
        build_pack([pictures / "text"], tmp_path, drawn=0)
    with pytest.raises(CotamError, match="holds no pack"):
        Pack(tmp_path)


def test_fonts_without_letters_are_not_drawn_with(tmp_path, monkeypatch):
    """A font of another script shows the same box for every letter, and a page of boxes teaches nothing."""
    from PIL import ImageFont

    from cotam_cli.training import drawn

    letters = ImageFont.load_default(24)

    class Boxes:
        def getmask(self, _letter):
            return letters.getmask("x")

    (tmp_path / "boxes.ttf").write_bytes(b"")
    (tmp_path / "letters.otf").write_bytes(b"")
    (tmp_path / "broken.ttf").write_bytes(b"")

    def truetype(path, _size):
        if "broken" in path:
            raise OSError
        return Boxes() if "boxes" in path else letters

    monkeypatch.setattr(drawn.ImageFont, "truetype", truetype)
    monkeypatch.setattr(drawn, "FONT_FOLDERS", (str(tmp_path),))
    assert drawn.font_files.__wrapped__() == (str(tmp_path / "letters.otf"),)
