"""OpenAI's interface: ``/v1/completions``, and ``/v1/chat/completions`` for a single turn of the user."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from passkwh.prompts import ChatPrompt, Prompt, TextPrompt
from passkwh.serve.answer import EVENTS, Answer, Cost, Object, token_counts
from passkwh.serve.batcher import Finished
from passkwh.serve.limits import Refused, Served, invalid
from passkwh.serve.request import MAX_CHOICES, Body, GenerationRequest, PromptText, Sampling, Tokens, parse

DEFAULT_TOKENS = 16
"""OpenAI's default of ``max_tokens``."""
DEFAULT_TEMPERATURE = 1.0
MAX_PROMPTS = 64


class StreamOptions(Body):
    """``stream_options``."""

    foreign = ("openai_stream_options",)
    include_usage: bool = False


class _Common(Sampling):
    """What completions and chat completions share."""

    foreign = ("openai",)
    model: str
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    usage: bool | None = None
    max_tokens: Tokens | None = None


class CompletionBody(_Common):
    """``POST /v1/completions``."""

    prompt: PromptText | Annotated[list[PromptText], Field(min_length=1, max_length=MAX_PROMPTS)]


class Message(Body):
    """One turn of a chat."""

    foreign = ("openai_message",)
    role: Literal["user", "system", "developer", "assistant", "tool"]
    content: PromptText


class ChatBody(_Common):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: Tokens | None = None


def completion(data: dict[str, Any], served: Served) -> GenerationRequest:
    """A completion request: every prompt is continued as it is."""
    if isinstance(data.get("prompt"), list) and any(not isinstance(prompt, str) for prompt in data["prompt"]):
        raise invalid("prompt: lists of token ids are not supported, give text", "prompt")
    body = parse(CompletionBody, data)
    texts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    return _request(body, tuple(map(TextPrompt, texts)), body.max_tokens, served)


def chat(data: dict[str, Any], served: Served) -> GenerationRequest:
    """A chat request: one turn of the user, which a system prompt may precede."""
    body = parse(ChatBody, data)
    turns = [parse(Message, turn, "messages.") for turn in body.messages]
    *before, role = [turn.role for turn in turns]
    if role != "user" or before not in ([], ["system"], ["developer"]):
        raise invalid(
            "messages: only one message of the user, after at most one of the system, is supported", "messages"
        )
    prompt = ChatPrompt(turns[-1].content, system=turns[0].content if before else None)
    tokens = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return _request(body, (prompt,), tokens or served.limits.new_tokens, served)


def _request(body: _Common, prompts: tuple[Prompt, ...], tokens: int | None, served: Served) -> GenerationRequest:
    served.check_name(body.model)
    options = parse(StreamOptions, body.stream_options or {}, "stream_options.")
    if body.stream_options is not None and not body.stream:
        raise invalid("stream_options: only together with stream", "stream_options")
    return body.request(
        prompts,
        served.new_tokens(tokens, DEFAULT_TOKENS, "max_tokens"),
        DEFAULT_TEMPERATURE,
        n=body.n or 1,
        stream=bool(body.stream),
        usage=bool(body.usage),
        token_counts=options.include_usage,
    )


class OpenAiAnswer(Answer):
    """Choices, in events when streamed."""

    media_type = EVENTS
    terminator = "data: [DONE]\n\n"

    def __init__(self, model: str, request: GenerationRequest, is_chat: bool) -> None:
        self._is_chat, self._counts = is_chat, request.token_counts
        self._head = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": f"chat.completion{'.chunk' if request.stream else ''}" if is_chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, rows: Sequence[Finished], cost: Cost) -> Object:
        choices = [
            {"index": index, "logprobs": None, "finish_reason": row.finish_reason}
            | ({"message": _message(row)} if self._is_chat else {"text": row.text})
            for index, row in enumerate(rows)
        ]
        return {**self._head, "choices": choices, "usage": token_counts(rows, cost)}

    def piece(self, index: int, piece: str | Finished) -> Object | None:
        text, reason = ("", piece.finish_reason) if isinstance(piece, Finished) else (piece, None)
        content: Object = {"delta": {"content": text} if text else {}} if self._is_chat else {"text": text}
        return {**self._head, "choices": [{"index": index, "logprobs": None, "finish_reason": reason, **content}]}

    def last(self, rows: Sequence[Finished], cost: Cost) -> Object | None:
        wanted = self._counts or cost is not None
        return {**self._head, "choices": [], "usage": token_counts(rows, cost)} if wanted else None

    def error(self, refused: Refused) -> Object:
        return error(refused)


def _message(row: Finished) -> Object:
    """The answer, and apart from it what was thought before."""
    thought = row.completion.reasoning
    return {"role": "assistant", "content": row.text} | ({"reasoning_content": thought.text} if thought else {})


def error(refused: Refused) -> Object:
    """OpenAI's form of an error."""
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {"error": {"message": refused.message, "type": kind, "param": refused.field, "code": refused.reason}}
