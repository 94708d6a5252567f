"""The gateway over real sockets: what arrives upstream, what comes back, and what it refuses."""

import base64
import gzip
import http.client
import io
import json
import socket
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import cotam_cli

pytest.importorskip("uvicorn", reason="needs the extra gateway")
pytest.importorskip("httpx2", reason="needs the extra gateway")

import httpx2

from .rig import SSE, Running, Upstream, chat, data_url, wait_until


def pixels(url: str) -> np.ndarray:
    head, _, body = url.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    assert head == f"data:{image.get_format_mimetype()};base64"
    return np.asarray(image)


def test_a_picture_arrives_as_png_and_the_rest_as_it_was(
    gateway: Running, upstream: Upstream, coded: bytes, ctm_url: str
) -> None:
    request = chat(ctm_url, temperature=0.25, seed=12345678901234567890, stop=["\n", "\ud800"])
    answer = gateway.post("/v1/chat/completions", request, authorization="Bearer sk-1")
    assert (answer.status_code, answer.content) == (200, b'{"ok": true}')
    (arrived,) = upstream.arrived
    assert (arrived.method, arrived.target) == ("POST", "/v1/chat/completions")
    assert arrived.header("authorization") == ["Bearer sk-1"]
    assert arrived.header("content-length") == [str(len(arrived.body))]
    sent = arrived.json()
    image = sent["messages"][0]["content"][1]["image_url"].pop("url")
    assert image.startswith("data:image/png;base64,")
    assert np.array_equal(pixels(image), np.asarray(cotam_cli.decode(coded)))
    del request["messages"][0]["content"][1]["image_url"]["url"]
    assert sent == request


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", lambda url: {"input": [{"content": [{"type": "input_image", "image_url": url}]}]}),
        (
            "/v1/responses",
            lambda url: {
                "input": [{"content": [{"type": "input_file", "file_data": url, "filename": "x.ctm"}]}]
            },
        ),
        ("/v1/embeddings", lambda url: {"input": [url]}),
        ("/v1/embeddings", lambda url: {"messages": chat(url)["messages"]}),
        ("/v1/chat/completions", chat),
        (
            "/v1/messages",
            lambda url: {
                "messages": [
                    {
                        "content": [
                            {
                                "type": "image",
                                "source": {
                                    "type": "base64",
                                    "media_type": "image/x-ctm",
                                    "data": url.partition(",")[2],
                                },
                            }
                        ]
                    }
                ]
            },
        ),
    ],
)
def test_every_api(gateway: Running, upstream: Upstream, ctm_url: str, path: str, body: object) -> None:
    assert gateway.post(path, body(ctm_url)).status_code == 200
    text = upstream.arrived[0].body.decode()
    assert "x-ctm" not in text
    assert "image/png" in text
    assert base64.b64encode(b"\x89PNG\r\n").decode()[:8] in text


def test_several_pictures_keep_their_order(gateway: Running, upstream: Upstream) -> None:
    shades = [10, 120, 240]
    files = [cotam_cli.encode(Image.new("RGB", (16 + s, 16), (s, s, s))) for s in shades]
    parts = [{"type": "image_url", "image_url": {"url": data_url(data)}} for data in files]
    gateway.post("/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]})
    sent = upstream.arrived[0].json()["messages"][0]["content"]
    assert [pixels(part["image_url"]["url"]).shape[1] for part in sent] == [26, 136, 256]


PASSED = {
    "no picture": b'{ "model":"m",  "messages": [] , "x": 1.0e5, "x": NaN }',
    "a png": b'{"messages": [{"content": [{"image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]}',
    "only named": b'{"messages":  [{"content": "what is image/x-ctm?"}]}',
    "not json": b"\x00\x01 not json",
    "empty": b"",
}


@pytest.mark.parametrize("case", PASSED)
def test_bodies_without_ctm_arrive_byte_for_byte(gateway: Running, upstream: Upstream, case: str) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx2.post(f"{gateway.url}/v1/chat/completions", content=PASSED[case], headers=headers)
    assert answer.status_code == 200
    assert upstream.arrived[0].body == PASSED[case]


def test_other_paths_and_types_stream_through(gateway: Running, upstream: Upstream, ctm_url: str) -> None:
    body = json.dumps(chat(ctm_url)).encode()
    for path, kind in (("/v1/files", "application/json"), ("/v1/chat/completions", "text/plain")):
        httpx2.put(
            f"{gateway.url}{path}?a=b%20c&d",
            content=iter([body[:50], body[50:]]),
            headers={"content-type": kind},
        )
        arrived = upstream.arrived.pop()
        assert (arrived.method, arrived.target, arrived.body) == ("PUT", f"{path}?a=b%20c&d", body)
    large = bytes(range(256)) * 20_000  # over the limit of what is looked into
    assert httpx2.post(f"{gateway.url}/v1/audio", content=large).status_code == 200
    assert upstream.arrived.pop().body == large
    packed = gzip.compress(body)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    httpx2.post(f"{gateway.url}/v1/chat/completions", content=packed, headers=headers)
    assert upstream.arrived.pop().body == packed


def test_methods_and_statuses(gateway: Running, upstream: Upstream) -> None:
    for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PATCH"):
        assert httpx2.request(method, f"{gateway.url}/v1/models/a%2Fb").status_code == 200
        assert (upstream.arrived[-1].method, upstream.arrived[-1].target) == (method, "/v1/models/a%2Fb")
    assert gateway.post("/v1/chat/completions", {"model": "teapot"}).status_code == 418
    moved = gateway.post("/v1/chat/completions", {"model": "elsewhere"})  # not followed
    assert (moved.status_code, moved.headers["location"]) == (307, "http://127.0.0.1:1/elsewhere")


def test_headers_of_one_hop_stay_and_others_go_on(gateway: Running, upstream: Upstream) -> None:
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(address.hostname, address.port)
    connection.putrequest("POST", "/v1/chat/completions", skip_host=True, skip_accept_encoding=True)
    sent = [
        ("Host", "evil.example"),
        ("Connection", "keep-alive, X-Private"),
        ("X-Private", "1"),
        ("Keep-Alive", "timeout=9"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Upgrade", "h2c"),
        ("X-Api-Key", "sk-2"),
        ("X-Twice", "a"),
        ("X-Twice", "b"),
        ("Accept-Encoding", "br"),
        ("Cookie", "mine=1"),
        ("Content-Length", "2"),
        ("Content-Type", "application/json"),
    ]
    for name, value in sent:
        connection.putheader(name, value)
    connection.endheaders(b"{}")
    answer = connection.getresponse()
    answer.read()
    arrived = upstream.arrived[0]
    assert arrived.header("host") == [urlsplit(upstream.address).netloc]
    assert arrived.header("x-api-key") == ["sk-2"]
    assert arrived.header("x-twice") == ["a", "b"]
    assert arrived.header("accept-encoding") == ["br"]
    assert arrived.header("cookie") == ["mine=1"]
    names = {name for name, _ in arrived.headers}
    assert not names & {"x-private", "keep-alive", "te", "proxy-authorization", "upgrade", "connection"}
    assert answer.getheader("x-request-id") == "up-1"
    assert answer.getheader("keep-alive") is None


def test_no_caller_gets_anothers_cookie(gateway: Running, upstream: Upstream) -> None:
    for _ in range(2):
        answer = httpx2.get(f"{gateway.url}/v1/models")
        assert answer.headers["set-cookie"] == "session=of-the-first-caller"
    assert all(arrived.header("cookie") == [] for arrived in upstream.arrived)


def test_answers_stream_as_they_come(gateway: Running, ctm_url: str) -> None:
    times, text = [], b""
    body = chat(ctm_url, model="stream", stream=True)
    with httpx2.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for part in answer.iter_raw():
            times.append(time.monotonic())
            text += part
    assert text == b"".join(SSE)
    assert times[-1] - times[0] > 0.4  # not held back until the end


BAD = {
    "cut": (lambda d: data_url(d[:-9]), "cut off"),
    "flipped": (lambda d: data_url(d[:30] + bytes([d[30] ^ 1]) + d[31:]), "damaged"),
    "header": (lambda d: data_url(d[:9] + b"\xff" + d[10:]), "damaged"),
    "short": (lambda d: data_url(d[:6]), "cut off"),
    "empty": (lambda d: data_url(b""), "empty"),
    "png": (lambda d: data_url(b"\x89PNG\r\n\x1a\n"), "PNG"),
    "base64": (lambda d: data_url(d)[:-30] + "!!", "base64"),
    "not base64": (lambda d: "data:image/x-ctm,hello", "base64"),
    "too large": (lambda d: data_url(cotam_cli.encode(Image.new("RGB", (1000, 101)))), "limit of 100000"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_pictures_get_400_in_the_apis_shape(
    gateway: Running, upstream: Upstream, coded: bytes, case: str
) -> None:
    make, expected = BAD[case]
    answer = gateway.post("/v1/chat/completions", chat(make(coded)))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert expected in error.pop("message")
    where = "messages[0].content[1].image_url.url"
    assert error == {"type": "invalid_request_error", "param": where, "code": "invalid_image"}
    source = {"type": "base64", "media_type": "image/x-ctm", "data": make(coded).partition(",")[2]}
    body = {"messages": [{"content": [{"type": "image", "source": source}]}]}
    if case != "not base64":
        answer = gateway.post("/v1/messages", body)
        assert answer.status_code == 400
        assert answer.json()["type"] == "error"
        assert answer.json()["error"]["type"] == "invalid_request_error"
        message = answer.json()["error"]["message"]
        assert message.startswith("messages[0].content[0].source.data: ")
        assert expected in message
    assert upstream.arrived == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"x-ctm": ',
        b'{"x-ctm": "\xff"}',
        b'{"x-ctm": NaN}',
        b'["x-ctm", ' + b"[" * 100_000 + b"]" * 100_000 + b"]",
        b'["x-ctm"' + b",[]" * 600_000 + b"]",
        b'{"x-ctm": ' + b"9" * 5000 + b"}",
    ],
    ids=["cut", "utf-8", "nan", "deep", "wide", "digits"],
)
def test_bad_json_gets_400(gateway: Running, upstream: Upstream, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx2.post(f"{gateway.url}/v1/chat/completions", content=body, headers=headers, timeout=30)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "invalid_json"
    assert upstream.arrived == []


def test_too_large_a_body_gets_413_before_it_is_read(gateway: Running, upstream: Upstream) -> None:
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.putrequest("POST", "/v1/messages")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.load(answer)["error"]["type"] == "request_too_large"
    chunks = (b" " * 65536 for _ in range(64))  # 4 MiB that nothing announces
    headers = {"content-type": "application/json"}
    answer = httpx2.post(f"{gateway.url}/v1/chat/completions", content=chunks, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert upstream.arrived == []


def test_too_many_pictures_and_pixels(gateway: Running, upstream: Upstream, ctm_url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": ctm_url}}
    answer = gateway.post("/v1/chat/completions", {"messages": [{"content": [part] * 101}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_many_pictures")
    big = data_url(cotam_cli.encode(Image.new("RGB", (1000, 100)), quality=1))
    part = {"type": "image_url", "image_url": {"url": big}}
    answer = gateway.post("/v1/chat/completions", {"messages": [{"content": [part] * 5}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_many_pixels")
    assert upstream.arrived == []


def raw_request(gateway: Running, head: str) -> bytes:
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(head.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/x/..%2f..%2fadmin",
        "/v1\\..\\admin",
        "/./admin",
        "http://127.0.0.1:1/v1/models",
        "//127.0.0.1:1/v1/models",
        "/@127.0.0.1:1/v1/models",
        "*",
    ],
)
def test_no_path_leads_out_of_the_upstreams(gateway: Running, upstream: Upstream, target: str) -> None:
    answer = raw_request(gateway, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    status = int(answer.split()[1])
    for arrived in upstream.arrived:
        assert arrived.target.startswith("/v1/"), arrived.target
        assert ".." not in arrived.target
    assert status in (200, 400)
    assert status == 400 or upstream.arrived


def test_base_paths(upstream: Upstream) -> None:
    from cotam_cli.integrations.gateway.proxy import Gateway
    from cotam_cli.integrations.gateway.settings import Settings

    def url(base: str, path: str) -> str:
        app = Gateway(Settings(base), None)  # type: ignore[arg-type]
        return str(app._url({"path": path, "raw_path": path.encode(), "query_string": b""}))

    assert url("http://h/v1", "/v1/models") == "http://h/v1/models"
    assert url("http://h/v1", "/models") == "http://h/v1/models"
    assert url("http://h:81", "/v1/messages") == "http://h:81/v1/messages"
    assert url("https://h/api/v1", "/v1/models") == "https://h/api/v1/models"
    assert url("https://h/api/v1", "/api/v1/models") == "https://h/api/v1/models"
    assert (
        url("https://h/openai", "/deployments/x/chat/completions")
        == "https://h/openai/deployments/x/chat/completions"
    )


def test_health_and_metrics(gateway: Running, ctm_url: str) -> None:
    assert httpx2.get(f"{gateway.url}/health").json() == {"status": "ok", "workers": 1}
    gateway.post("/v1/chat/completions", chat(ctm_url))

    def value(name: str) -> float:
        text = httpx2.get(f"{gateway.url}/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    assert wait_until(lambda: value("cotam_gateway_requests_in_flight ") == 0)
    before = value("cotam_gateway_pictures_total")
    gateway.post("/v1/chat/completions", chat(ctm_url))
    assert value("cotam_gateway_pictures_total") == before + 1
    assert value('cotam_gateway_requests_total{route="chat/completions",status="200"}') >= 2
    assert value("cotam_gateway_decode_seconds_count") == before + 1
    assert value("cotam_gateway_pictures_in_flight ") == 0


def test_the_log_holds_facts_and_no_contents(gateway: Running, upstream: Upstream, ctm_url: str) -> None:
    path = "/v1/chat/completions?api-key=query-secret"
    body = chat(ctm_url, user="body-secret")
    gateway.post(path, body, authorization="Bearer header-secret")
    broken = data_url(b"\x89CTM\x01picture-secret" + bytes(20))
    gateway.post(path, chat(broken), authorization="Bearer header-secret")
    assert wait_until(lambda: sum('"code": "invalid_image"' in line for line in gateway.lines[-2:]) == 1)
    log = "".join(gateway.lines)
    assert "secret" not in log
    assert ctm_url[30:60] not in log
    facts = json.loads(gateway.lines[-2])
    assert facts.keys() == {"time", "event", "method", "path", "status", "ms", "pictures", "decode_ms"}
    assert (facts["path"], facts["status"], facts["pictures"]) == ("/v1/chat/completions", 200, 1)
    assert upstream.arrived[0].target == path
