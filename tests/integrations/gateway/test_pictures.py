"""Where pictures are found in requests, and what replaces them."""

import base64
import copy
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotam_cli.errors import FormatError
from cotam_cli.integrations.gateway.pictures import find_pictures, is_ctm, may_hold_pictures

DATA = b"\x89CTM\x01 not whole, but it starts as one"
RAW = base64.b64encode(DATA).decode()
URL = f"data:image/x-ctm;base64,{RAW}"
NEW = "data:image/png;base64,AAAA"


def replaced(document: Any, *, embeddings: bool = False) -> tuple[list[str], Any]:
    document = copy.deepcopy(document)
    places = find_pictures(document, embeddings=embeddings)
    for place in places:
        assert place.data() == DATA
        place.put("image/png", "AAAA")
    return [place.where for place in places], document


PARTS = {
    "chat image_url": (
        {"type": "image_url", "image_url": {"url": URL, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": NEW, "detail": "high"}},
        "image_url.url",
    ),
    "chat image_url as text": (
        {"type": "image_url", "image_url": URL},
        {"type": "image_url", "image_url": NEW},
        "image_url",
    ),
    "chat file": (
        {"type": "file", "file": {"filename": "a.ctm", "file_data": URL}},
        {"type": "image_url", "image_url": {"url": NEW}},
        "file.file_data",
    ),
    "chat file as bare base64": (
        {"type": "file", "file": {"file_data": RAW}},
        {"type": "image_url", "image_url": {"url": NEW}},
        "file.file_data",
    ),
    "responses input_image": (
        {"type": "input_image", "image_url": URL, "detail": "low"},
        {"type": "input_image", "image_url": NEW, "detail": "low"},
        "image_url",
    ),
    "responses input_file": (
        {"type": "input_file", "filename": "a.ctm", "file_data": URL},
        {"type": "input_image", "image_url": NEW, "detail": "auto"},
        "file_data",
    ),
    "responses screenshot": (
        {"type": "computer_screenshot", "image_url": URL},
        {"type": "computer_screenshot", "image_url": NEW},
        "image_url",
    ),
    "anthropic image": (
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/x-ctm", "data": RAW},
            "cache_control": {"type": "ephemeral"},
        },
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            "cache_control": {"type": "ephemeral"},
        },
        "source.data",
    ),
    "anthropic image of a wrong type": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": RAW}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        "source.data",
    ),
    "anthropic document": (
        {
            "type": "document",
            "title": "t",
            "source": {"type": "base64", "media_type": "image/x-ctm", "data": RAW},
        },
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        "source.data",
    ),
    "octet stream": (
        {"type": "image_url", "image_url": {"url": f"data:application/octet-stream;base64,{RAW}"}},
        {"type": "image_url", "image_url": {"url": NEW}},
        "image_url.url",
    ),
    "embedding image": ({"image": RAW}, {"image": "AAAA"}, "image"),
    "embedding image_base64": ({"image_base64": URL}, {"image_base64": NEW}, "image_base64"),
    "embedding images": ({"images": ["x", URL, RAW]}, {"images": ["x", NEW, "AAAA"]}, "images[1]"),
}


@pytest.mark.parametrize("case", PARTS)
def test_every_shape(case: str) -> None:
    part, expected, where = PARTS[case]
    text = {"type": "text", "text": "hello"}
    document = {"messages": [{"role": "user", "content": [text, part]}], "n": 1}
    found, new = replaced(document)
    assert found[0] == f"messages[0].content[1].{where}"
    assert new == {"messages": [{"role": "user", "content": [text, expected]}], "n": 1}


def test_inside_tool_results_and_outputs() -> None:
    image = PARTS["anthropic image"]
    tool = {"type": "tool_result", "tool_use_id": "1", "content": [image[0]]}
    found, new = replaced({"messages": [{"content": [tool]}]})
    assert found == ["messages[0].content[0].content[0].source.data"]
    assert new["messages"][0]["content"][0]["content"][0] == image[1]
    output = {"type": "function_call_output", "output": [PARTS["responses input_image"][0]]}
    assert replaced({"input": [output]})[0] == ["input[0].output[0].image_url"]


def test_reading_order() -> None:
    part = {"type": "image_url", "image_url": {"url": URL}}
    found, _ = replaced({"messages": [{"content": [part, part]}, {"content": [part]}]})
    assert [where.removesuffix(".image_url.url") for where in found] == [
        "messages[0].content[0]",
        "messages[0].content[1]",
        "messages[1].content[0]",
    ]


def test_plain_strings_as_embedding_input() -> None:
    assert replaced({"input": [URL, "text"]}, embeddings=True)[1] == {"input": [NEW, "text"]}
    assert replaced({"input": URL}, embeddings=True)[1] == {"input": NEW}
    assert replaced({"input": URL}) == ([], {"input": URL})
    assert replaced({"input": RAW}, embeddings=True)[0] == []  # may be a word as well


LEFT_ALONE = [
    {"type": "text", "text": URL},
    {"type": "image_url", "image_url": {"url": "https://example.org/a.ctm"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.ctm"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0="},
    {"type": "image_url", "image_url": None},
    {"type": "image", "source": None},
    {"type": "file", "file": {"file_data": 7}},
]


@pytest.mark.parametrize("part", LEFT_ALONE, ids=str)
def test_what_is_no_ctm_is_left_alone(part: dict[str, Any]) -> None:
    document = {"messages": [{"content": [part]}]}
    assert replaced(document) == ([], document)


@pytest.mark.parametrize(
    "url",
    [
        f"DATA:Image/X-CTM;BASE64,{RAW}",
        f"data:image/x-ctm;name=a.ctm;base64,{RAW}",
        f"data:image/x-ctm;base64,{RAW.rstrip('=')}",
        f"data:image/x-ctm;base64,{RAW[:9]}\n{RAW[9:]}",
        f"data:;base64,{RAW}",
    ],
)
def test_data_urls_as_people_write_them(url: str) -> None:
    assert is_ctm(url)
    assert replaced({"image": url})[1] == {"image": NEW}


@pytest.mark.parametrize("url", ["data:image/x-ctm,%89CTM", "data:image/x-ctm;base64,@@@", URL + "!"])
def test_broken_base64(url: str) -> None:
    (place,) = find_pictures({"image": url})
    with pytest.raises(FormatError, match="base64"):
        place.data()


def test_large_pictures_are_whole() -> None:
    data = DATA + bytes(range(256)) * 9000
    encoded = base64.b64encode(data).decode()
    (place,) = find_pictures({"image": encoded})
    assert place.data() == data
    (place,) = find_pictures({"image": encoded[: 2**20 - 1] + "=" + encoded[2**20 :]})
    with pytest.raises(FormatError, match="base64"):
        place.data()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(URL),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "image", "image_url", "url", "file", "source", "images", "data", "x"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_survived(document: Any) -> None:
    if isinstance(document, dict | list):
        replaced(document)


def test_the_quick_look() -> None:
    assert may_hold_pictures(URL.encode())
    assert may_hold_pictures(RAW.encode())
    assert may_hold_pictures(b'"data:image\\/x-ctm;base64,AA"')  # as some JSON writers escape the slash
    assert not may_hold_pictures(b'{"model": "m"}')


MANY = 300_000
LARGE = {
    "a head of semicolons": {"image": "data:" + ";" * MANY},
    "a head of parameters": {"image": "data:image/x-ctm" + ";ab" * MANY + ",AAAA"},
    "base64 in pieces": {"image": f"data:image/x-ctm;base64,{'AA ' * MANY}"},
    "a list of numbers": {"images": [0] * MANY},
    "a name that many share": {"x" * MANY: {"images": [RAW] * 1000}},
}


@pytest.mark.parametrize("case", LARGE)
def test_looking_takes_a_few_times_the_memory_of_what_is_looked_at(case: str) -> None:
    tracemalloc.start()
    try:
        for place in find_pictures(LARGE[case]):
            with suppress(FormatError):
                place.data()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MANY
