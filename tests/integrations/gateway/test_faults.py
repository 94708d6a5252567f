"""What goes wrong around the gateway: the upstream, the clients, the workers, too much at once, its own end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="needs the extra gateway")
pytest.importorskip("httpx2", reason="needs the extra gateway")

import httpx2
import numpy as np

import cotam_cli

from .rig import Running, Upstream, chat, data_url, wait_until

LINUX = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")


@pytest.fixture
def own(upstream: Upstream) -> "Running":
    """A gateway of the test's own, that it may break."""
    running = Running(upstream.address + "/v1", "--queue", "4")
    yield running
    running.process.kill()
    running.process.wait()


def test_upstream_down_is_502(ctm_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    running = Running(f"http://127.0.0.1:{port}/v1")
    try:
        for path, body in (
            ("/v1/chat/completions", chat(ctm_url)),
            ("/v1/models", {}),
            ("/v1/messages", {"messages": []}),
        ):
            answer = running.post(path, body)
            assert answer.status_code == 502
            message = answer.json()["error"]["message"]
            assert "upstream cannot be reached" in message
            assert str(port) not in message
        assert answer.json()["type"] == "error"
    finally:
        assert running.stop() == 0


def test_a_silent_upstream_is_504(gateway: Running) -> None:
    answer = gateway.post("/v1/chat/completions", {"model": "sleepy"})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "upstream_timeout"


def test_an_answer_that_breaks_off_breaks_off(gateway: Running) -> None:
    """The client must see that it is not whole."""
    with pytest.raises(httpx2.RemoteProtocolError):
        gateway.post("/v1/chat/completions", {"model": "break", "stream": True})
    assert wait_until(lambda: any("upstream_broke_off" in line for line in gateway.lines[-3:]))
    assert gateway.post("/v1/chat/completions", {"model": "m"}).status_code == 200


def test_a_client_that_leaves_ends_the_upstreams_work(gateway: Running, upstream: Upstream) -> None:
    url = f"{gateway.url}/v1/chat/completions"
    with httpx2.stream("POST", url, json={"model": "endless", "stream": True}, timeout=20) as answer:
        next(answer.iter_raw())
    assert upstream.left.wait(10)
    assert wait_until(lambda: "client_left" in gateway.lines[-1])


@LINUX
def test_a_dead_worker_is_replaced(own: Running, ctm_url: str) -> None:
    assert own.post("/v1/chat/completions", chat(ctm_url)).status_code == 200
    (worker,) = own.workers()
    os.kill(worker, signal.SIGKILL)
    assert wait_until(lambda: worker not in own.workers())
    assert own.post("/v1/chat/completions", chat(ctm_url)).status_code == 200
    assert own.workers() != [worker]


@LINUX
@pytest.mark.parametrize("route", ["chat/completions", "messages"])
def test_workers_that_die_twice_are_503(own: Running, upstream: Upstream, ctm_url: str, route: str) -> None:
    """In the shape of the API, with word to come again; the gateway lives on and makes new workers."""
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(own.post, f"/v1/{route}", chat(ctm_url))
        while not job.done():
            own.kill_workers()
            time.sleep(0.02)
    answer = job.result()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    error = answer.json()["error"]
    assert "the decoder failed; try again" in error["message"]
    assert error["type"] == ("overloaded_error" if route == "messages" else "server_error")
    assert upstream.arrived == []
    assert (
        'cotam_gateway_refusals_total{code="decoder_down"} 1.0' in own.client.get(own.url + "/metrics").text
    )
    assert own.post(f"/v1/{route}", chat(ctm_url)).status_code == 200
    assert not any("Traceback" in line for line in own.lines)


@LINUX
def test_a_worker_that_dies_in_the_middle_is_replaced(own: Running, upstream: Upstream) -> None:
    """The picture gets its second try, and the client notices nothing but the time."""
    large = data_url(cotam_cli.encode(np.zeros((1200, 1600, 3), np.uint8), quality=2))
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(own.post, "/v1/chat/completions", chat(large))
        assert wait_until(
            lambda: "cotam_gateway_pictures_in_flight 1.0" in own.client.get(own.url + "/metrics").text
        )
        own.kill_workers()
    assert job.result().status_code == 200
    assert len(upstream.arrived) == 1


@LINUX
def test_workers_do_not_outlive_the_server(own: Running) -> None:
    (worker,) = own.workers()
    own.process.kill()
    own.process.wait()
    status = Path(f"/proc/{worker}/status")
    assert wait_until(lambda: not status.exists() or "zombie" in status.read_text())


def test_more_than_the_queue_holds_is_429(own: Running, upstream: Upstream, ctm_url: str) -> None:
    """Four pictures fit; what comes on top is refused at once, with word when to come again."""
    part = {"type": "image_url", "image_url": {"url": ctm_url}}
    full = {"messages": [{"role": "user", "content": [part] * 4}]}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: own.post("/v1/chat/completions", full), range(12)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = answers[statuses.index(429)]
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert len(upstream.arrived) == statuses.count(200)
    assert own.post("/v1/chat/completions", full).status_code == 200  # the room comes back


def test_two_hundred_requests_in_flight(upstream: Upstream, ctm_url: str) -> None:
    running = Running(upstream.address + "/v1", "--workers", "2")
    answers = []
    body = chat(ctm_url, model="together")
    try:
        with ThreadPoolExecutor(200) as pool:
            jobs = [pool.submit(running.post, "/v1/chat/completions", body) for _ in range(200)]
            assert wait_until(lambda: upstream.in_flight == 200, 55)
            upstream.go.set()
            answers = [job.result() for job in jobs]
    finally:
        upstream.go.set()
        assert running.stop() == 0
    assert {answer.status_code for answer in answers} == {200}
    assert len({arrived.body for arrived in upstream.arrived}) == 1


def test_sigterm_lets_requests_end(own: Running, upstream: Upstream, ctm_url: str) -> None:
    answers = []
    body = chat(ctm_url, model="stream", stream=True)
    client = threading.Thread(target=lambda: answers.append(own.post("/v1/chat/completions", body)))
    client.start()
    assert wait_until(lambda: len(upstream.arrived) == 1)
    assert own.stop(signal.SIGTERM) == 0
    client.join(20)
    assert answers[0].content.endswith(b"[DONE]\n\n")
    assert json.loads(own.lines[-1])["event"] == "stopped"
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(own.url + "/health")


def test_small_answers_are_not_held_back() -> None:
    """asyncio sets TCP_NODELAY only on sockets that were made for TCP by name."""
    from cotam_cli.integrations.gateway.server import _listen

    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_ctrl_c_stops_it(own: Running) -> None:
    assert own.stop(signal.SIGINT) == 0
    assert not any("Traceback" in line for line in own.lines)


def test_a_body_that_never_comes_is_408(upstream: Upstream) -> None:
    """In process, as nobody wants to wait for the default of a minute."""
    import asyncio

    from cotam_cli.integrations.gateway.proxy import Gateway
    from cotam_cli.integrations.gateway.settings import Settings

    sent = []

    async def never() -> None:
        await asyncio.sleep(60)

    async def send(message: object) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"5")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/responses",
        "query_string": b"",
        "headers": headers,
    }
    app = Gateway(Settings(upstream.address, body_timeout=0.2), None)  # type: ignore[arg-type]
    asyncio.run(app(scope, never, send))
    assert sent[0]["status"] == 408


def test_nothing_is_written_to_disk(
    upstream: Upstream, ctm_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folders stay empty through a request, an error and its end."""
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    running = Running(upstream.address + "/v1")
    running.post("/v1/chat/completions", chat(ctm_url))
    running.post("/v1/chat/completions", chat(ctm_url[:-20]))
    assert running.stop() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--upstream", "localhost:8000"), "address"),
        (("--upstream", "ftp://h/v1"), "address"),
        (("--upstream", "http://user:key@h/v1"), "no key"),
        (("--upstream", "http://h/v1?key=1"), "no key"),
        (("--upstream", f"http://{'a' * 64}/v1"), "no address"),
        (("--upstream", "http://999.1.1.1/v1"), "no address"),
        (("--upstream", "http://h/v1", "--listen", f"{'a' * 64}:1"), "cannot listen"),
        (("--upstream", "http://h/v1", "--listen", "8787"), "host:port"),
        (("--upstream", "http://h/v1", "--listen", "127.0.0.1:99999"), "host:port"),
        (("--upstream", "http://h/v1", "--listen", "192.0.2.1:1"), "cannot listen"),
    ],
)
def test_wrong_settings_are_one_line(options: tuple[str, ...], word: str) -> None:
    command = [sys.executable, "-m", "cotam_cli", "gateway", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("cotam: ")
    assert result.stderr.count("\n") == 1
    assert word in result.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    script = (
        "import sys\nsys.modules['uvicorn'] = None\nfrom cotam_cli.cli import main\n"
        "main(['gateway', '--upstream', 'http://h/v1'])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'cotam-cli[gateway]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom cotam_cli.cli import main\nmain(['gateway', '--help'], standalone_mode=False)\n"
        "print([m for m in ('uvicorn', 'starlette', 'httpx2', 'numpy', 'onnxruntime') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
