"""Ask a vision model about every picture that lands in a folder, a few kilobytes each.

python edge.py FOLDER http://gateway:8787/v1 MODEL
"""

import json
import sys
import time
import urllib.request
from pathlib import Path

from cotam_cli import CotamError
from cotam_cli.integrations.openai import image_part

folder, url, model, done = Path(sys.argv[1]), sys.argv[2], sys.argv[3], set()
while True:
    for path in sorted(set(folder.glob("*.jpg")) - done):
        try:
            content = [{"type": "text", "text": "What is new here?"}, image_part(path, quality=2)]
            body = json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()
            request = urllib.request.Request(
                f"{url}/chat/completions", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request) as answer:
                print(path.name, json.load(answer)["choices"][0]["message"]["content"], flush=True)
        except (CotamError, OSError) as error:  # the camera still writes it, the gateway is busy or down
            print(f"{path.name}: {error}; it comes again", file=sys.stderr)
            continue
        done.add(path)
    time.sleep(1)
