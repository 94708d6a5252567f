"""What the gateway costs: added latency against the bare upstream, and pictures per second of one worker.

python benchmarks/gateway.py [PICTURE] [--requests N]      needs the extra gateway

A model server that answers at once stands in for the real one, so that all that is measured is the way to it. Each
figure is a median, with the fastest request beside it: on a busy machine the latter is nearer to the truth.
"""

import argparse
import base64
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import uvicorn

import cotam_cli
from cotam_cli.integrations.gateway.pool import convert

PHOTO = Path(__file__).parents[1] / "examples" / "kodim23.png"


async def upstream(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def start_upstream() -> str:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(upstream, log_level="critical", lifespan="off", access_log=False))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def start_gateway(address: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "cotam_cli", "gateway", "--upstream", address + "/v1"]
    command += ["--listen", "127.0.0.1:0", "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    first = json.loads(process.stderr.readline())
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process, first["address"]


def body(data: bytes, mime: str) -> bytes:
    url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": [part]}]}).encode()


def latency(client: httpx2.Client, url: str, content: bytes, count: int) -> tuple[float, float]:
    """Median and least milliseconds of a request."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        client.post(url, content=content, headers={"content-type": "application/json"}).raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", default=str(PHOTO))
    parser.add_argument("--requests", type=int, default=20)
    options = parser.parse_args()
    ctm = cotam_cli.encode(options.picture, quality=3)
    facts = cotam_cli.info(ctm)
    convert(ctm, "png", 2**28)
    began, cpu = time.perf_counter(), time.process_time()
    png = base64.b64decode(convert(ctm, "png", 2**28).base64)
    own = f"{1000 * (time.perf_counter() - began):.0f} ms, {1000 * (time.process_time() - cpu):.0f} ms of CPU"
    address = start_upstream()
    process, gateway = start_gateway(address)
    path = "/v1/chat/completions"
    try:
        with httpx2.Client(timeout=120) as client:
            print(f"{facts.width}x{facts.height}, .ctm {len(ctm)} bytes, as PNG {len(png)} bytes")
            cases = {
                "PNG, bare upstream": (address + path, body(png, "image/png")),
                "PNG, through the gateway": (gateway + path, body(png, "image/png")),
                "text, bare upstream": (address + path, b'{"model":"m"}'),
                "text, through the gateway": (gateway + path, b'{"model":"m"}'),
                ".ctm, through the gateway": (gateway + path, body(ctm, "image/x-ctm")),
            }
            for name, (url, content) in cases.items():
                latency(client, url, content, 2)
                median, least = latency(client, url, content, options.requests)
                print(f"{name:26} {median:8.1f} ms   (fastest {least:.1f})")
            print(f"{'decoding in process':26} {own}")
        content = body(ctm, "image/x-ctm")
        before = worker_seconds(gateway)
        began = time.perf_counter()
        with ThreadPoolExecutor(8) as pool, httpx2.Client(timeout=300) as client:
            jobs = [pool.submit(latency, client, gateway + path, content, 1) for _ in range(options.requests)]
            for job in jobs:
                job.result()
        seconds = time.perf_counter() - began
        busy = (worker_seconds(gateway) - before) / options.requests
        print(
            f"8 clients, one worker: {options.requests / seconds:.2f} pictures/s; {1 / busy:.2f} by the worker's clock"
        )
    finally:
        process.terminate()
        process.wait()


def worker_seconds(gateway: str) -> float:
    text = httpx2.get(gateway + "/metrics").text
    line = next(x for x in text.splitlines() if x.startswith("cotam_gateway_decode_seconds_sum"))
    return float(line.split()[-1])


if __name__ == "__main__":
    main()
