"""From what a server answered to a completion: thought and answer apart, the answer cut at stop strings."""

from __future__ import annotations

from typing import get_args

from passkwh.adapters.engines.base import Completion, Decoding
from passkwh.adapters.engines.endpoint_client import Answer
from passkwh.adapters.thinking import TAGS, Markers, split
from passkwh.records import FinishReason, Reasoning


def completion(
    answer: Answer, decoding: Decoding, *, alone: bool, markers: Markers | None, may_be_open: bool = True
) -> Completion:
    """The completion of a request.

    Args:
        answer: as the server gave it.
        decoding: whose stop strings end the answer, where the server was not sent them or leaves them in.
        alone: in its window, so that its first token is the window's.
        markers: of thinking that the server leaves in the text; None where nothing of it is thinking (no chat).
        may_be_open: the prompt may have opened a thinking phase.
    """
    text, reasoning = answer.text, None
    if markers is not None:
        reasoning = reasoning_in(answer, markers, may_be_open)
        parts = split(text, markers, may_be_open=may_be_open)
        if parts is not None or reasoning is not None:
            text = (parts.answer if parts else text).lstrip("\n")
    if cuts := [at for at in map(text.find, decoding.stop) if at >= 0]:
        text = text[: min(cuts)]
    known: dict[str | None, FinishReason] = {reason: reason for reason in get_args(FinishReason)}
    return Completion(
        text=text,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        finish_reason=known.get(answer.finish_reason, "stop"),
        first_token_ns=answer.first_token_ns if alone else None,
        arrivals_ns=tuple(piece.ns for piece in answer.pieces if piece.ns is not None),
        cached_tokens=answer.cached_tokens,
        retries=answer.retries,
        reasoning=reasoning,
    )


def reasoning_in(answer: Answer, markers: Markers = TAGS, may_be_open: bool = True) -> Reasoning | None:
    """The thinking that a server's parser took apart, or that stands in the text between markers."""
    parts = split(answer.text, markers, may_be_open=may_be_open)
    end_ns = None
    if answer.reasoning:
        thought, ended = answer.reasoning, bool(answer.text)
        end_ns = next((piece.ns for piece in answer.pieces if piece.content), None)
    elif parts is not None and parts.thought is not None:
        thought, ended = parts.thought, parts.is_closed
        end_ns = _came_ns(answer, len(answer.text) - len(parts.answer))
    elif answer.reasoning_tokens:  # it keeps the text to itself
        thought, ended = "", bool(answer.text)
    else:
        return None
    return Reasoning(
        text=thought,
        tokens=answer.reasoning_tokens,
        end_ns=end_ns if ended else None,
        ended_by="model" if ended else None,
    )


def _came_ns(answer: Answer, characters: int) -> int | None:
    """When so much of the text had come."""
    for piece in answer.pieces:
        characters -= len(piece.content)
        if characters <= 0:
            return piece.ns
    return None
