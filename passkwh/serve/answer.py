"""How answers are written: what the dialects have in common. Each writes its own objects."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from passkwh.serve.batcher import Finished
from passkwh.serve.limits import Refused

Cost = Mapping[str, Any] | None
"""Energy, time and exit layers of an answer; None where they are not wanted."""
Object = dict[str, Any]

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


class Answer(ABC):
    """One answer in one dialect: at once (``whole``), or as a stream of ``piece`` and ``last``, each framed."""

    media_type: ClassVar[str] = NDJSON
    terminator: ClassVar[str] = ""
    """What ends a stream, already framed."""

    @abstractmethod
    def whole(self, rows: Sequence[Finished], cost: Cost) -> Object:
        """All completions at once."""

    def piece(self, index: int, piece: str | Finished) -> Object | None:
        """A piece of a completion's text, or its end; None where the dialect says nothing at this point, or never."""
        return None

    def last(self, rows: Sequence[Finished], cost: Cost) -> Object | None:
        """What follows when all completions have ended; None where the dialect says nothing then."""
        return None

    def error(self, refused: Refused) -> Object:
        """An error in the dialect's form."""
        return error_object(refused)

    def frame(self, data: Object) -> str:
        """An object of a stream as it is sent."""
        text = json.dumps(data, ensure_ascii=False)
        return f"data: {text}\n\n" if self.media_type == EVENTS else text + "\n"


def error_object(refused: Refused) -> Object:
    """An error outside OpenAI's paths; ``error_type`` is text-generation-inference's."""
    kinds = {400: "validation", 422: "validation", 503: "overloaded"}
    return {"error": refused.message, "error_type": kinds.get(refused.status, "generation")}


def token_counts(rows: Sequence[Finished], cost: Cost) -> Object:
    """``usage``: token counts, a prompt counting once however many completions it got, and the cost where wanted."""
    prompts = {row.prompt_index: row.completion.prompt_tokens for row in rows}
    prompt_tokens = sum(prompts.values())
    completion_tokens = sum(row.completion.completion_tokens for row in rows)
    counts: Object = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if thoughts := [thought for row in rows if (thought := row.completion.reasoning)]:
        counts["completion_tokens_details"] = {"reasoning_tokens": sum(thought.tokens or 0 for thought in thoughts)}
    return {**counts, **(cost or {})}
