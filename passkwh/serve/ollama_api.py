"""Ollama's interface: ``/api/generate`` with a ``prompt``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field

from passkwh.adapters.engines.base import Decoding
from passkwh.serve.engine import Finished
from passkwh.serve.limits import Limits
from passkwh.serve.request import Ask, Body, Drawn, Prompt, check_model, new_tokens, parse, stops

DEFAULT_TEMPERATURE = 0.8
DEFAULT_TOP_P = 0.9

SAMPLING: dict[str, tuple[Any, ...]] = {
    "top_k": (0,), "min_p": (0,), "typical_p": (1,), "tfs_z": (1,), "repeat_penalty": (1,), "presence_penalty": (0,),
    "frequency_penalty": (0,), "mirostat": (0,),
}  # fmt: skip
"""Ollama's ways of sampling that the adapters do not have, and the values at which they change nothing."""


class Options(Drawn):
    """``options``."""

    IGNORED = frozenset({
        "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "numa", "low_vram", "use_mmap",
        "use_mlock", "vocab_only", "f16_kv", "repeat_last_n", "mirostat_eta", "mirostat_tau", "penalize_newline",
    })  # fmt: skip
    NEUTRAL: ClassVar = SAMPLING

    num_predict: Annotated[int, Field(ge=-2)] | None = None


class GenerateBody(Body):
    """``POST /api/generate``."""

    IGNORED = frozenset({"keep_alive"})
    NEUTRAL: ClassVar = {
        "suffix": ("",), "system": ("",), "template": ("",), "format": ("",), "images": ([],), "context": ([],),
        "think": (False,), "logprobs": (False,), "top_logprobs": (0,),
    }  # fmt: skip

    model: str
    prompt: Prompt
    stream: bool | None = None
    raw: bool | None = None
    options: dict[str, Any] | None = None
    usage: bool | None = None


def generate(data: dict[str, Any], names: tuple[str, ...], limits: Limits) -> Ask:
    """What a request asks; an instruct model gets the prompt as a user's turn unless it is ``raw``, as with Ollama."""
    body = parse(GenerateBody, data)
    check_model(body.model, names)
    options = parse(Options, body.options or {}, "options.")
    asked = options.num_predict
    if asked is not None and asked <= 0:
        asked = None if asked < 0 else 1
    return Ask(
        prompts=(body.prompt,),
        decoding=Decoding(
            max_new_tokens=new_tokens(asked, limits.new_tokens, limits, "options.num_predict"),
            temperature=DEFAULT_TEMPERATURE if options.temperature is None else options.temperature,
            top_p=DEFAULT_TOP_P if options.top_p is None else options.top_p,
            stop=stops(options.stop),
        ),
        seed=options.seed,
        exit=options.exit,
        threshold=options.RL_agent_thresh,
        stream=body.stream is not False,
        usage=bool(body.usage),
        template=not body.raw,
    )


def part(model: str, text: str) -> dict[str, Any]:
    """A line of a stream."""
    return {"model": model, "created_at": datetime.now(UTC).isoformat(), "response": text, "done": False}


def last(
    model: str, text: str, finished: Sequence[Finished], total_ns: int, extension: dict[str, Any] | None
) -> dict[str, Any]:
    """The end of a stream, or the whole answer at once; durations in nanoseconds."""
    (row,) = finished
    found = {
        **part(model, text),
        "done": True,
        "done_reason": row.finish_reason,
        "total_duration": total_ns,
        "load_duration": 0,
        "prompt_eval_count": row.completion.prompt_tokens,
        "eval_count": row.completion.completion_tokens,
    }
    first_ns = row.completion.first_token_ns
    if first_ns is not None:
        found["prompt_eval_duration"] = first_ns - row.start_ns
        found["eval_duration"] = row.end_ns - first_ns
    return {**found, **({"usage": extension} if extension is not None else {})}
