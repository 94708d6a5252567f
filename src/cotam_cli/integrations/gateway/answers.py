"""Errors of the gateway's own, in the shape of the API that was called, so that every SDK raises what it should."""

from __future__ import annotations

from starlette.responses import JSONResponse

_OPENAI_TYPES = {400: "invalid_request_error", 413: "invalid_request_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Refusal(Exception):
    """An answer that the gateway gives itself.

    status   HTTP status
    code     one word for programs, logs and metrics
    message  one line for people
    where    the part of the request that it is about
    """

    def __init__(self, status: int, code: str, message: str, where: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.where = where


def respond(refusal: Refusal, *, anthropic: bool) -> JSONResponse:
    """The refusal as JSON: Anthropic's shape, or OpenAI's, which most other servers share."""
    if anthropic:
        message = f"{refusal.where}: {refusal.message}" if refusal.where else refusal.message
        kind = _ANTHROPIC_TYPES.get(refusal.status, "api_error")
        content: dict[str, object] = {"type": "error", "error": {"type": kind, "message": message}}
    else:
        kind = _OPENAI_TYPES.get(refusal.status, "server_error")
        content = {
            "error": {
                "message": refusal.message,
                "type": kind,
                "param": refusal.where,
                "code": refusal.code,
            }
        }
    headers = {"retry-after": "1"} if refusal.status in (429, 503) else {}
    if refusal.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    return JSONResponse(content, refusal.status, headers)
