"""A real HTTP server on this machine that speaks the part of OpenAI's chat protocol that is used."""

import base64
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


class Server(ThreadingHTTPServer):
    """script: what to do with the next calls, one entry each: a function of the handler, or None for an answer."""

    daemon_threads = True

    def __init__(self, reply, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.script, self.calls = reply, list(script), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append((self.path, self.headers.get("Authorization"), request))
        act = self.server.script.pop(0) if self.server.script else None
        if act is not None:
            act(self)
            return
        picture, text = request["messages"][0]["content"]
        url = picture["image_url"]["url"]
        head, _, data = url.partition(",")
        assert head == "data:image/png;base64"
        pixels = Image.open(io.BytesIO(base64.b64decode(data)))
        message = {"role": "assistant", "content": self.server.reply(pixels, text["text"])}
        usage = {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103}
        answer(self, 200, json.dumps({"choices": [{"index": 0, "message": message}], "usage": usage}))

    def log_message(self, *_):
        pass


def answer(handler, status, body, **headers):
    data = body.encode() if isinstance(body, str) else body
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def saying(status, body="", **headers):
    return lambda handler: answer(handler, status, body, **headers)


def hang_up(handler):
    handler.connection.close()


@contextmanager
def serving(reply=lambda pixels, text: "yes", script=()):
    server = Server(reply, script)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
