"""The .ctm pictures of a request: where the APIs keep pictures in their JSON, and how one is replaced.

| API                              | part of the request                                                         |
|----------------------------------|-----------------------------------------------------------------------------|
| OpenAI chat completions          | {"type": "image_url", "image_url": {"url": DATA_URL}}                       |
|                                  | {"type": "file", "file": {"file_data": DATA_URL}}     -> an image_url part  |
| OpenAI responses                 | {"type": "input_image", "image_url": DATA_URL}                              |
|                                  | {"type": "input_file", "file_data": DATA_URL}         -> an input_image     |
|                                  | {"type": "computer_screenshot", "image_url": DATA_URL}                      |
| Anthropic messages               | {"type": "image", "source": {"type": "base64", "media_type": .., "data": }} |
|                                  | {"type": "document", "source": {..the same..}}        -> an image           |
| embeddings of various servers    | "image", "image_url", "image_base64" or "images" with data URLs or bare     |
|                                  | base64, and data URLs as "input"                                            |

They are found at any depth, so inside tool results too. A picture is ours if its type is image/x-ctm or its
bytes start like a .ctm file, whatever the type says: SDKs that guess types from names send octet streams.
Addresses of pictures on other machines are never followed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cotam_cli.errors import FormatError

MIME = "image/x-ctm"
BASE64_MAGIC = "iUNUT"  # 89 43 54 4D
_HINTS = (b"x-ctm", BASE64_MAGIC.encode())
_DATA_URL = re.compile(r"data:([^,;]*)(;[^,]*)?,", re.IGNORECASE)
_SLICE = 2**20  # of base64, for which other threads wait
_TEXT_KEYS = ("image", "image_url", "image_base64")

_Path: TypeAlias = "tuple[_Path, str | int] | None"  # the parent's path, and the key there
Kind = Literal["text", "file", "input_file", "source"]


@dataclass(frozen=True)
class Place:
    """Where one picture stands.

    path    where it stands in the request
    kind    how it is replaced
    holder  the dict or list that is changed
    key     for `text`: where in the holder
    text    the data URL or the base64 as it came
    """

    path: _Path
    kind: Kind
    holder: Any
    key: str | int
    text: str

    @property
    def where(self) -> str:
        """Its path as people write it: messages[0].content[1].image_url.url"""
        parts: list[str] = []
        path = self.path
        while path is not None:
            path, key = path
            parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
        return "".join(reversed(parts)).removeprefix(".")

    def data(self) -> bytes:
        """The file's bytes. Raises FormatError where they are not base64."""
        head = _DATA_URL.match(self.text)
        if head and ";base64;" not in (head[2] or "").lower() + ";":
            raise FormatError("the data URL is not base64; put ;base64 before the comma")
        try:
            body = (self.text[head.end() :] if head else self.text).encode("ascii")
            body = body.translate(None, b" \t\r\n").rstrip(b"=")
            if b"=" in body:
                raise ValueError("padding before the end")
            body += b"=" * (-len(body) % 4)
            parts = (body[start : start + _SLICE] for start in range(0, len(body), _SLICE))
            return b"".join(base64.b64decode(part, validate=True) for part in parts)
        except (binascii.Error, ValueError) as error:
            raise FormatError("the picture's base64 is broken; send it as standard base64") from error

    def put(self, mime: str, encoded: str) -> None:
        """Replace the picture by another: its type, such as image/png, and its bytes as base64."""
        url = f"data:{mime};base64,{encoded}"
        if self.kind == "text":
            self.holder[self.key] = url if self.text[:5].lower() == "data:" else encoded
        elif self.kind == "file":
            del self.holder["file"]
            self.holder.update(type="image_url", image_url={"url": url})
        elif self.kind == "input_file":
            for name in ("file_data", "filename", "file_id", "file_url"):
                self.holder.pop(name, None)
            self.holder.update(type="input_image", image_url=url, detail="auto")
        else:
            for name in ("title", "context", "citations"):  # of a document; an image has none of them
                self.holder.pop(name, None)
            self.holder["type"] = "image"
            self.holder["source"] |= {"media_type": mime, "data": encoded}


def may_hold_pictures(body: bytes) -> bool:
    """Whether a JSON text is worth parsing; False for nearly all requests without a .ctm."""
    return any(hint in body for hint in _HINTS)


def find_pictures(document: Any, *, embeddings: bool = False) -> list[Place]:
    """All .ctm pictures of a parsed request; `embeddings` also looks at plain strings in its "input"."""
    places: list[Place] = []
    stack: list[tuple[_Path, Any]] = [(None, document)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            places.extend(_in_part(path, node))
        children = node.items() if isinstance(node, dict) else enumerate(node)
        nested = [((path, key), child) for key, child in children if isinstance(child, dict | list)]
        stack.extend(reversed(nested))
    if embeddings and isinstance(document, dict):
        places.extend(_strings(None, document, "input", data_urls_only=True))
    return places


def _in_part(path: _Path, part: dict[str, Any]) -> Iterator[Place]:
    """Pictures that stand directly in one dict."""
    for key in (*_TEXT_KEYS, "images"):
        value = part.get(key)
        if isinstance(value, dict):
            yield from _strings((path, key), value, "url")
        else:
            yield from _strings(path, part, key)
    file, source = part.get("file"), part.get("source")
    if isinstance(file, dict) and part.get("type") == "file" and is_ctm(file.get("file_data")):
        yield Place(((path, "file"), "file_data"), "file", part, "file", file["file_data"])
    if part.get("type") == "input_file" and is_ctm(part.get("file_data")):
        yield Place((path, "file_data"), "input_file", part, "file_data", part["file_data"])
    if isinstance(source, dict) and part.get("type") in ("image", "document"):
        data = source.get("data")
        if source.get("type") == "base64" and isinstance(data, str):
            named = str(source.get("media_type", "")).lower() == MIME
            if named or data.startswith(BASE64_MAGIC):
                yield Place(((path, "source"), "data"), "source", part, "data", data)


def _strings(
    path: _Path, holder: dict[str, Any], key: str, *, data_urls_only: bool = False
) -> Iterator[Place]:
    """The value at a key if it is a picture, or the pictures in the list that it is."""
    value = holder.get(key)
    place: Any = holder
    items: Iterable[tuple[str | int, Any]] = [(key, value)]
    if isinstance(value, list):
        path, place, items = (path, key), value, enumerate(value)
    for index, text in items:
        if is_ctm(text) and (text[:5].lower() == "data:" or not data_urls_only):
            yield Place((path, index), "text", place, index, text)


def is_ctm(text: object) -> bool:
    """Whether a string is a data URL or bare base64 of a .ctm file, by its type or its first bytes."""
    if not isinstance(text, str):
        return False
    head = _DATA_URL.match(text)
    if head is None:
        return text.startswith(BASE64_MAGIC)
    return head[1].strip().lower() == MIME or text.startswith(BASE64_MAGIC, head.end())
