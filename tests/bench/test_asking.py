"""Questions about pictures, put to a real HTTP server."""

from PIL import Image

from bench.making import save
from bench.serving import serving
from cotam_cli.bench.asking import ask_all
from cotam_cli.bench.endpoint import Client, Endpoint
from cotam_cli.bench.questions import Question


def test_a_picture_is_written_as_png_once_and_not_for_kept_replies(tmp_path, monkeypatch):
    picture = save(tmp_path / "a.png")
    questions = {"a.png": [Question("a.png", text, ("yes",), "exact", ()) for text in "abc"]}
    written, plain_save = [], Image.Image.save

    def counted(image, *args, **options):
        written.append(image.size)
        plain_save(image, *args, **options)

    monkeypatch.setattr(Image.Image, "save", counted)
    with serving() as server:
        for _ in range(2):
            client = Client(Endpoint(server.url, "small-vlm"), tmp_path / "replies")
            (asked,) = ask_all(client, [picture], [], questions)
            assert asked.scores == {"accuracy": (1.0, 3.0)}
            assert written == [(80, 64)]
        assert len(server.calls) == 3
