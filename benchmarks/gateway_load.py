"""The gateway under load and abuse: wrk on loopback, with hundreds of idle and slow connections beside it.

    python benchmarks/gateway_load.py [--seconds 10]      needs the extra gateway, and wrk

For each kind of body: the status that it gets, requests per second, how many were refused, and the memory afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "attacks"))

import forge
import httpx2
import numpy as np
from gateway import body, start_gateway, start_upstream

import cotam_cli

IDLE = 400  # connections that send nothing, and as many that stop in the middle of a body
BEGUN = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
BEGUN += b"content-length: 99999\r\n\r\n{"
JSON = {"content-type": "application/json"}
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{path}", "rb"); wrk.body = file:read("*a"); file:close()
function done(summary)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, e.connect, e.read, e.status, e.timeout))
end
"""


def bodies() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    small = cotam_cli.encode(rng.integers(0, 256, (48, 64, 3), np.uint8))
    return {
        "text": b'{"model":"m"}',
        "a good picture": body(small, "image/x-ctm"),
        "a bomb of 33 bytes": body(forge.still(16384, 16384), "image/x-ctm"),
        "forged up to its hash": body(forge.bomb(512, 512), "image/x-ctm"),
        "noise in base64": body(rng.bytes(30_000), "image/x-ctm"),
        "half a JSON text": body(small, "image/x-ctm")[:-40],
    }


def hang(address: str) -> list[socket.socket]:
    """Connections that hold on: silent ones, and ones in the middle of a body."""
    host, port = address.removeprefix("http://").split(":")
    held = []
    for number in range(2 * IDLE):
        connection = socket.create_connection((host, int(port)))
        if number % 2:
            connection.sendall(BEGUN)
        held.append(connection)
    return held


def memory(pid: int) -> float:
    """Resident megabytes of a process and its children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    own = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(own.split()[1]) / 1024 + sum(memory(int(child)) for child in text.split())


def load(gateway: str, content: bytes, seconds: int) -> str:
    """One run of wrk: requests per second and errors."""
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder, "body"), Path(folder, "load.lua")
        path.write_bytes(content)
        script.write_text(SCRIPT.format(path=path))
        command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
        done = subprocess.run(
            [*command, gateway + "/v1/chat/completions"], capture_output=True, text=True, check=True
        )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    requests, connect, read, status, timeout = (int(word) for word in line.split()[1:])
    return f"{requests / seconds:8.1f} requests/s, {status} refused, {connect + read + timeout} broken off"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian: apt-get install wrk")
    process, gateway = start_gateway(start_upstream())
    try:
        held = hang(gateway)
        print(f"{len(held)} idle and slow connections held; {memory(process.pid):.0f} MB", flush=True)
        for name, content in bodies().items():
            answer = httpx2.post(gateway + "/v1/chat/completions", content=content, headers=JSON, timeout=60)
            said = load(gateway, content, given.seconds)
            print(f"{name:24} {answer.status_code} {said}, {memory(process.pid):.0f} MB", flush=True)
        healthy = httpx2.get(gateway + "/health", timeout=10).status_code
        print(f"health afterwards: {healthy}")
    finally:
        process.terminate()
        process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
