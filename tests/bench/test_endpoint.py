"""The client against a real HTTP server: the protocol, and everything that an endpoint may do wrong."""

import json
import time

import pytest

from bench.making import scene
from bench.serving import hang_up, saying, serving
from cotam_cli.bench.endpoint import KEY, PATIENCE, TRIES, Client, Endpoint, EndpointDown, Sight
from cotam_cli.errors import CotamError

PICTURE = Sight(scene(24, 32))


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)


def client(server, kept=None, **options):
    options = {"first_wait": 0.01, "timeout": 5.0, **options}
    return Client(Endpoint(server.url, "small-vlm", **options), kept)


def test_a_picture_and_a_question_go_out_and_a_reply_comes_back():
    with serving(lambda pixels, text: f"{pixels.size} {text}") as server:
        asker = client(server, price=(2.0, 10.0))
        assert asker.ask(PICTURE, "What is it?") == "(32, 24) What is it?"
        ((path, key, request),) = server.calls
    assert path == "/v1/chat/completions"
    assert key is None
    assert (request["model"], request["temperature"]) == ("small-vlm", 0)
    assert (asker.usage.requests, asker.usage.tokens_in, asker.usage.tokens_out) == (1, 100, 3)
    assert asker.usage.cost(asker.endpoint.price) == pytest.approx((100 * 2 + 3 * 10) / 1e6)


def test_nothing_is_asked_twice(tmp_path):
    with serving() as server:
        assert client(server, tmp_path).ask(PICTURE, "one") == "yes"
        again = client(server, tmp_path)
        assert again.ask(PICTURE, "one") == "yes"
        assert (again.usage.requests, again.usage.kept) == (0, 1)
        again.ask(PICTURE, "two")
        again.ask(Sight(PICTURE.pixels + 1), "one")
        assert len(server.calls) == 3
        for path in tmp_path.iterdir():
            path.write_text("{")
        again.ask(PICTURE, "one")
        assert len(server.calls) == 4


@pytest.mark.parametrize("trouble", [saying(500), saying(503), saying(429, Retry_After="0"), hang_up])
def test_passing_trouble_is_waited_out(trouble):
    with serving(script=[trouble, trouble]) as server:
        assert client(server).ask(PICTURE, "?") == "yes"
        assert len(server.calls) == 3


def test_it_waits_as_long_as_it_is_told():
    with serving(script=[saying(429, Retry_After="0.4")]) as server:
        began = time.monotonic()
        client(server).ask(PICTURE, "?")
        assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, "<html>welcome</html>", "no JSON object: '<html>welcome"),
        (200, "[]", "no JSON object"),
        (200, '{"choices": []}', "without a message"),
        (200, '{"choices": [{"message": {"content": null}}]}', "without a message"),
        (200, b"\xff\xfe\x00", "no JSON object"),
        (404, "no such model", "refuses the request, status 404: no such model"),
        (302, "", "status 302"),
    ],
)
def test_nonsense_is_named_and_not_repeated(status, body, reason):
    with serving(script=[saying(status, body, Location="http://127.0.0.1:9/")]) as server:
        with pytest.raises(CotamError, match=reason.replace("[", r"\[")):
            client(server).ask(PICTURE, "?")
        assert len(server.calls) == 1


def test_a_slow_endpoint_runs_into_the_timeout():
    slow = [lambda _: time.sleep(0.5)] * TRIES
    with serving(script=slow) as server, pytest.raises(CotamError, match=f"not answer after {TRIES} tries"):
        client(server, timeout=0.1).ask(PICTURE, "?")


def test_an_endpoint_that_is_down_is_given_up():
    with serving() as server:
        url = server.url
    asker = Client(Endpoint(url, "m", first_wait=0.001))
    for _ in range(PATIENCE):
        with pytest.raises(CotamError, match="does not answer"):
            asker.ask(PICTURE, "?")
    sent = asker.usage.requests
    with pytest.raises(EndpointDown, match="is down"):
        asker.ask(PICTURE, "?")
    assert asker.usage.requests == sent == PATIENCE * TRIES


def test_hosted_models_that_take_other_parameters():
    refuse = saying(400, '{"error": {"message": "max_tokens is not supported, use max_completion_tokens"}}')
    refuse_too = saying(400, '{"error": {"message": "temperature must be 1"}}')
    with serving(script=[refuse, refuse_too]) as server:
        asker = client(server)
        assert asker.ask(PICTURE, "?") == "yes"
        last = server.calls[-1][2]
        assert "max_tokens" not in last and last["max_completion_tokens"] == 64 and "temperature" not in last
        asker.ask(PICTURE, "again")
        assert len(server.calls) == 4


def test_the_rate_limit_holds():
    with serving() as server:
        asker = client(server, rpm=600)
        began = time.monotonic()
        for k in range(4):
            asker.ask(PICTURE, str(k))
        assert time.monotonic() - began >= 3 * 0.1


class TestTheKey:
    SECRET = "sk-very-secret-123"

    @pytest.fixture(autouse=True)
    def key(self, monkeypatch):
        monkeypatch.setenv(KEY, self.SECRET)

    def test_goes_to_the_endpoint_only(self, tmp_path):
        with serving() as server:
            client(server, tmp_path).ask(PICTURE, "?")
            assert server.calls[0][1] == f"Bearer {self.SECRET}"
        assert all(self.SECRET not in path.read_text() for path in tmp_path.iterdir())

    def test_does_not_follow_a_redirect(self):
        with serving() as other, serving(script=[saying(307, "", Location=other.url)]) as server:
            with pytest.raises(CotamError, match="status 307"):
                client(server).ask(PICTURE, "?")
            assert not other.calls

    @pytest.mark.parametrize("status", [200, 401, 500])
    def test_is_cut_out_of_what_the_endpoint_says(self, status):
        said = saying(status, f"wrong key: {self.SECRET}")
        with serving(script=[said] * TRIES) as server, pytest.raises(CotamError) as caught:
            client(server).ask(PICTURE, "?")
        assert self.SECRET not in str(caught.value)
        assert "***" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://x/v1",
        "http://",
        "file:///etc/passwd",
        "http://me:pw@host/v1",
        "http://me:pw@[::1",
        "http://host:many/v1",
        "http://host:99999/v1",
        f"http://{'a' * 64}/v1",
    ],
)
def test_addresses_that_are_none(url):
    with pytest.raises(CotamError) as caught:
        Endpoint(url, "m")
    assert "pw" not in str(caught.value).replace("password", "")


def test_the_shown_address_has_no_query():
    assert Endpoint("https://host/v1?key=abc", "m").shown == "https://host/v1"


def test_kept_answers_hold_no_picture(tmp_path):
    with serving() as server:
        client(server, tmp_path).ask(PICTURE, "?")
    (path,) = tmp_path.iterdir()
    assert set(json.loads(path.read_text())) == {"reply", "usage"}
