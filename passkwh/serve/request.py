"""What a request comes to, whichever interface it came by; and how a body is read without trusting it.

A field that would change the completion and cannot be honoured is refused by name; one that would not change it is
accepted and does nothing (``foreign_fields.toml``). Unknown fields are refused, because a misspelt one would otherwise
be ignored in silence.
"""

from __future__ import annotations

import difflib
import functools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from passkwh import strict_json
from passkwh.adapters.engines.base import Decoding
from passkwh.prompts import Prompt
from passkwh.serve.limits import Refused, invalid

MAX_STOPS = 16
MAX_CHOICES = 16

StopText = Annotated[str, Field(min_length=1, max_length=200)]
Stops = Annotated[list[StopText], Field(max_length=MAX_STOPS)]
Stop = StopText | Stops | None
"""One text or a list of them."""
PromptText = Annotated[str, Field(min_length=1)]
Tokens = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class GenerationRequest:
    """What the model is to generate: ``n`` completions of every prompt."""

    prompts: tuple[Prompt, ...]
    """A chat prompt goes through the template of a chat model; a base model continues its user's text."""
    decoding: Decoding
    n: int = 1
    seed: int | None = None
    exit: str | None = None
    """Early-exit rule with its argument; the server's own when None."""
    threshold: float | None = None
    """Threshold for the server's own early-exit rule, from 0 to 1."""
    stream: bool = False
    usage: bool = False
    """The answer is to carry energy, time and exit layers."""
    token_counts: bool = False
    """The stream is to end with the token counts."""
    echo: bool = False
    """The answer is to begin with the prompt."""


class Body(BaseModel):
    """A request's body, or an object within it; ``foreign`` are its tables in ``foreign_fields.toml``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    foreign: ClassVar[tuple[str, ...]] = ()


class Sampling(Body):
    """How tokens are drawn and where they leave: what every interface says in the same words."""

    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop = None
    exit: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    RL_agent_thresh: Annotated[float, Field(ge=0, le=1)] | None = None

    def request(
        self, prompts: tuple[Prompt, ...], max_new_tokens: int, temperature: float, top_p: float = 1.0, **more: Any
    ) -> GenerationRequest:
        """The request for these prompts; ``temperature`` and ``top_p`` are the interface's defaults."""
        decoding = Decoding(
            max_new_tokens=max_new_tokens,
            temperature=temperature if self.temperature is None else self.temperature,
            top_p=top_p if self.top_p is None else self.top_p,
            stop=stop_texts(self.stop),
        )
        return GenerationRequest(
            prompts, decoding, seed=self.seed, exit=self.exit, threshold=self.RL_agent_thresh, **more
        )


AnyBody = TypeVar("AnyBody", bound=Body)


def parse(kind: type[AnyBody], data: Mapping[str, Any], within: str = "") -> AnyBody:
    """``data`` as a body; Refused (400), naming the field, where it is not one."""
    try:
        body = kind.model_validate(dict(data))
    except ValidationError as error:
        raise _first_problem(error, data, within) from None
    ignored, neutral = foreign_fields(kind.foreign)
    for name, value in (body.model_extra or {}).items():
        if name in ignored:
            continue
        if name not in neutral:
            raise invalid(_unknown(name, [*kind.model_fields, *neutral], kind, within), within + name)
        if value is not None and not any(_same(value, harmless) for harmless in neutral[name]):
            raise invalid(
                f"{within}{name}: {json.dumps(value)[:80]} would change the completion and is not supported here: "
                "leave it out",
                within + name,
            )
    return body


@functools.cache
def foreign_fields(tables: tuple[str, ...]) -> tuple[frozenset[str], dict[str, list[Any]]]:
    """Fields that are ignored, and those that are accepted at some values."""
    known = tomllib.loads(files(__package__).joinpath("foreign_fields.toml").read_text("utf-8"))
    ignored = frozenset(name for table in tables for name in known[table].get("ignored", ()))
    return ignored, {name: values for table in tables for name, values in known[table].get("neutral", {}).items()}


def _same(value: Any, other: Any) -> bool:
    """Equality that tells True from 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _first_problem(error: ValidationError, data: Mapping[str, Any], within: str) -> Refused:
    """The first thing that is wrong, in a line."""
    problems = error.errors(include_url=False, include_context=False)
    name = str(problems[0]["loc"][0])
    mine = [problem for problem in problems if str(problem["loc"][0]) == name]
    # Where a text or a list is allowed, both are tried: the problem of the form that was given counts.
    problem = mine[-1] if isinstance(data.get(name), list) else mine[0]
    place = next((f"[{part}]" for part in problem["loc"][1:] if isinstance(part, int)), "")
    return invalid(f"{within}{name}{place}: {problem['msg']}", within + name)


def _unknown(name: str, known: list[str], kind: type[Body], within: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {within}{close[0]}?" if close else f"known are {', '.join(kind.model_fields)}"
    return f"unknown field {within}{name[:80]}: {hint}"


def read_json(raw: bytes) -> dict[str, Any]:
    """A body's JSON object; Refused (400) where it is none."""
    try:
        data = strict_json.loads(raw)
    except ValueError as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise invalid(f"the body is not a JSON object but {type(data).__name__}")
    return data


def stop_texts(*stops: Stop) -> tuple[str, ...]:
    """Stop strings as a decoding takes them."""
    return tuple(text for stop in stops for text in ([stop] if isinstance(stop, str) else stop or ()))
