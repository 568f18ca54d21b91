"""Ollama's interface: ``/api/generate`` with a ``prompt``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from passkwh.prompts import ChatPrompt, TextPrompt
from passkwh.serve.answer import Answer, Cost, Object
from passkwh.serve.batcher import Finished
from passkwh.serve.limits import Served
from passkwh.serve.request import Body, GenerationRequest, PromptText, Sampling, parse

DEFAULT_TEMPERATURE = 0.8
DEFAULT_TOP_P = 0.9


class Options(Sampling):
    """``options``."""

    foreign = ("sampling", "ollama_options")
    num_predict: Annotated[int, Field(ge=-2)] | None = None


class GenerateBody(Body):
    """``POST /api/generate``."""

    foreign = ("ollama",)
    model: str
    prompt: PromptText
    stream: bool | None = None
    raw: bool | None = None
    options: dict[str, Any] | None = None
    usage: bool | None = None


def generate(data: dict[str, Any], served: Served) -> GenerationRequest:
    """A request; a chat model gets the prompt as a user's turn unless it is ``raw``, as with Ollama."""
    body = parse(GenerateBody, data)
    served.check_name(body.model)
    options = parse(Options, body.options or {}, "options.")
    tokens = options.num_predict
    if tokens is not None and tokens <= 0:
        tokens = None if tokens < 0 else 1
    return options.request(
        (TextPrompt(body.prompt) if body.raw else ChatPrompt(body.prompt),),
        served.new_tokens(tokens, served.limits.new_tokens, "options.num_predict"),
        DEFAULT_TEMPERATURE,
        DEFAULT_TOP_P,
        stream=body.stream is not False,
        usage=bool(body.usage),
    )


class OllamaAnswer(Answer):
    """Lines of JSON, or one object; durations in nanoseconds."""

    def __init__(self, model: str, arrived_ns: int) -> None:
        self._model, self._arrived_ns = model, arrived_ns

    def piece(self, index: int, piece: str | Finished) -> Object | None:
        return None if isinstance(piece, Finished) else self._part(piece)

    def whole(self, rows: Sequence[Finished], cost: Cost) -> Object:
        return self._end(rows[0].text, rows[0], cost)

    def last(self, rows: Sequence[Finished], cost: Cost) -> Object | None:
        return self._end("", rows[0], cost)

    def _part(self, text: str) -> Object:
        return {"model": self._model, "created_at": datetime.now(UTC).isoformat(), "response": text, "done": False}

    def _end(self, text: str, row: Finished, cost: Cost) -> Object:
        end: Object = {
            **self._part(text),
            "done": True,
            "done_reason": row.finish_reason,
            "total_duration": time.monotonic_ns() - self._arrived_ns,
            "load_duration": 0,
            "prompt_eval_count": row.completion.prompt_tokens,
            "eval_count": row.completion.completion_tokens,
        }
        first_ns = row.completion.first_token_ns
        if first_ns is not None:
            end |= {"prompt_eval_duration": first_ns - row.start_ns, "eval_duration": row.end_ns - first_ns}
        return end if cost is None else {**end, "usage": cost}
