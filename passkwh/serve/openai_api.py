"""OpenAI's interface: ``/v1/completions``, and ``/v1/chat/completions`` for a single turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from passkwh.adapters.engines.base import Decoding
from passkwh.serve.engine import Finished
from passkwh.serve.limits import Limits, Refused, invalid
from passkwh.serve.request import MAX_CHOICES, Ask, Body, Drawn, Prompt, check_model, new_tokens, parse, stops

DEFAULT_TOKENS = 16
"""OpenAI's default of ``max_tokens``."""
DEFAULT_TEMPERATURE = 1.0
MAX_PROMPTS = 64


class StreamOptions(Body):
    """``stream_options``."""

    IGNORED = frozenset({"include_obfuscation"})
    include_usage: bool = False


class _Common(Drawn):
    """What completions and chat completions share."""

    IGNORED = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
    NEUTRAL: ClassVar = {
        "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "logprobs": (False,),
        "top_logprobs": (0,), "best_of": (1,), "echo": (False,), "suffix": ("",), "functions": ([],), "tools": ([],),
        "tool_choice": ("none", "auto"), "response_format": ({"type": "text"},), "modalities": (["text"],),
    }  # fmt: skip

    model: str
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    usage: bool | None = None


class CompletionBody(_Common):
    """``POST /v1/completions``."""

    prompt: Prompt | Annotated[list[Prompt], Field(min_length=1, max_length=MAX_PROMPTS)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None


class Message(Body):
    """One turn of a chat."""

    IGNORED = frozenset({"name"})
    role: Literal["user", "system", "developer", "assistant", "tool"]
    content: Prompt


class ChatBody(_Common):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


def completion(data: dict[str, Any], names: tuple[str, ...], limits: Limits) -> tuple[Ask, bool]:
    """What a completion request asks, and whether its stream is to end with the token counts."""
    if isinstance(data.get("prompt"), list) and any(not isinstance(p, str) for p in data["prompt"]):
        raise invalid("prompt: lists of token ids are not supported, give text", "prompt")
    body = parse(CompletionBody, data)
    prompts = (body.prompt,) if isinstance(body.prompt, str) else tuple(body.prompt)
    return _ask(body, prompts, body.max_tokens, names, limits, template=False)


def chat(data: dict[str, Any], names: tuple[str, ...], limits: Limits) -> tuple[Ask, bool]:
    """What a chat request asks: a single user's turn, which is what the adapters can render."""
    body = parse(ChatBody, data)
    turns = [parse(Message, turn, "messages.") for turn in body.messages]
    if [turn.role for turn in turns] != ["user"]:
        raise invalid("messages: only a single message of the user is supported here", "messages")
    asked = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return _ask(body, (turns[0].content,), asked or limits.new_tokens, names, limits, template=True)


def _ask(
    body: _Common, prompts: tuple[str, ...], tokens: int | None, names: tuple[str, ...], limits: Limits, template: bool
) -> tuple[Ask, bool]:
    check_model(body.model, names)
    options = parse(StreamOptions, body.stream_options or {}, "stream_options.")
    if body.stream_options is not None and not body.stream:
        raise invalid("stream_options: only together with stream", "stream_options")
    decoding = Decoding(
        max_new_tokens=new_tokens(tokens, DEFAULT_TOKENS, limits, "max_tokens"),
        temperature=DEFAULT_TEMPERATURE if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        stop=stops(body.stop),
    )
    ask = Ask(
        prompts=prompts,
        decoding=decoding,
        n=body.n or 1,
        seed=body.seed,
        exit=body.exit,
        threshold=body.RL_agent_thresh,
        stream=bool(body.stream),
        usage=bool(body.usage),
        template=template,
    )
    return ask, options.include_usage


# ---------------------------------------------------------------- answers


def answer(
    head: dict[str, Any], finished: Sequence[Finished], extension: dict[str, Any] | None, is_chat: bool
) -> dict[str, Any]:
    """The whole answer at once."""
    choices = [
        {"index": index, "logprobs": None, "finish_reason": row.finish_reason}
        | ({"message": {"role": "assistant", "content": row.text}} if is_chat else {"text": row.text})
        for index, row in enumerate(finished)
    ]
    return {**head, "choices": choices, "usage": usage(finished, extension)}


def part(head: dict[str, Any], index: int, text: str, reason: str | None, is_chat: bool) -> dict[str, Any]:
    """A piece of a stream: text as it came, or the reason why a choice ended."""
    said: dict[str, Any] = {"delta": {"content": text} if text else {}} if is_chat else {"text": text}
    return {**head, "choices": [{"index": index, "logprobs": None, "finish_reason": reason, **said}]}


def usage(finished: Sequence[Finished], extension: dict[str, Any] | None) -> dict[str, Any]:
    """Token counts, a prompt counting once however many completions it got, and the extension where asked for."""
    prompts = {row.prompt_index: row.completion.prompt_tokens for row in finished}
    prompt_tokens = sum(prompts.values())
    completion_tokens = sum(row.completion.completion_tokens for row in finished)
    counts = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return {**counts, **(extension or {})}


def error(refused: Refused) -> dict[str, Any]:
    """OpenAI's form of an error."""
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {"error": {"message": refused.message, "type": kind, "param": refused.field, "code": refused.reason}}
