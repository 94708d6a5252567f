"""The vendors' own client libraries through the gateway."""

import json

import pytest

pytest.importorskip("uvicorn", reason="needs the extra gateway")

from .rig import Running, Upstream, chat, data_url

openai = pytest.importorskip("openai", reason="the OpenAI client library is not installed")
anthropic = pytest.importorskip("anthropic", reason="the Anthropic client library is not installed")

COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a parrot"}}
    ],
}
MESSAGE = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "a parrot"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
RESPONSE = {
    "id": "r1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "id": "o1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "a parrot", "annotations": []}],
        }
    ],
}


@pytest.fixture
def client(gateway: Running) -> "openai.OpenAI":
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-test", max_retries=0)


@pytest.fixture
def claude(gateway: Running) -> "anthropic.Anthropic":
    return anthropic.Anthropic(base_url=gateway.url, api_key="sk-ant-test", max_retries=0)


def user(url: str) -> list[dict[str, object]]:
    return chat(url)["messages"]  # type: ignore[return-value]


def test_openai_chat(client: "openai.OpenAI", upstream: Upstream, ctm_url: str) -> None:
    upstream.answer = json.dumps(COMPLETION).encode()
    answer = client.chat.completions.create(model="m", messages=user(ctm_url))
    assert answer.choices[0].message.content == "a parrot"
    assert "data:image/png;base64,iVBOR" in upstream.arrived[0].body.decode()
    assert upstream.arrived[0].header("authorization") == ["Bearer sk-test"]


def test_openai_streaming(client: "openai.OpenAI", ctm_url: str) -> None:
    events = client.chat.completions.create(model="stream", messages=user(ctm_url), stream=True)
    assert [event.n for event in events] == [0, 1, 2, 3, 4]


def test_openai_responses(client: "openai.OpenAI", upstream: Upstream, ctm_url: str) -> None:
    upstream.answer = json.dumps(RESPONSE).encode()
    part = {"type": "input_image", "image_url": ctm_url, "detail": "auto"}
    answer = client.responses.create(model="m", input=[{"role": "user", "content": [part]}])
    assert answer.output_text == "a parrot"
    assert "data:image/png" in upstream.arrived[0].json()["input"][0]["content"][0]["image_url"]


def test_openai_errors(client: "openai.OpenAI", coded: bytes) -> None:
    with pytest.raises(openai.BadRequestError, match="cut off") as caught:
        client.chat.completions.create(model="m", messages=user(data_url(coded[:-5])))
    assert caught.value.code == "invalid_image"
    assert caught.value.param == "messages[0].content[1].image_url.url"


def test_anthropic_messages(claude: "anthropic.Anthropic", upstream: Upstream, ctm_url: str) -> None:
    upstream.answer = json.dumps(MESSAGE).encode()
    source = {"type": "base64", "media_type": "image/x-ctm", "data": ctm_url.partition(",")[2]}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    answer = claude.messages.create(model="m", max_tokens=9, messages=messages)  # type: ignore[arg-type]
    assert answer.content[0].text == "a parrot"
    arrived = upstream.arrived[0].json()["messages"][0]["content"][0]["source"]
    assert arrived["media_type"] == "image/png"
    assert arrived["data"].startswith("iVBOR")
    key = upstream.arrived[0].header("x-api-key") + upstream.arrived[0].header("authorization")
    assert key in (["sk-ant-test"], ["Bearer sk-ant-test"])  # by the library's version


def test_anthropic_errors(claude: "anthropic.Anthropic", coded: bytes) -> None:
    import base64

    source = {"type": "base64", "media_type": "image/x-ctm", "data": base64.b64encode(coded[:-5]).decode()}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    with pytest.raises(anthropic.BadRequestError, match="cut off"):
        claude.messages.create(model="m", max_tokens=9, messages=messages)  # type: ignore[arg-type]
