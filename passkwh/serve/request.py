"""What a request comes to, whichever interface it came by; and how a body is read without trusting it.

A field that would change the completion and cannot be honoured is refused by name; one that would not change it is
accepted and does nothing. Unknown fields are refused, because a misspelt one would otherwise be ignored in silence.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from passkwh.adapters.engines.base import Decoding
from passkwh.serve.limits import Limits, Refused, invalid

MAX_STOPS = 16
MAX_CHOICES = 16

StopText = Annotated[str, Field(min_length=1, max_length=200)]
Stops = Annotated[list[StopText], Field(max_length=MAX_STOPS)]
Stop = StopText | Stops | None
"""One text or a list of them."""
Prompt = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Ask:
    """What the model is asked: every prompt gets ``n`` completions."""

    prompts: tuple[str, ...]
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
    template: bool = False
    """An instruct model gets the prompt as a user's turn in its chat template."""


class Body(BaseModel):
    """A request's body, or an object within it. Subclasses say which foreign fields they know and do nothing with."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    IGNORED: ClassVar[frozenset[str]] = frozenset()
    """Fields of the interface that do not change a completion."""
    NEUTRAL: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Fields that are not supported, with the values at which they change nothing."""


class Drawn(Body):
    """How tokens are drawn and where they leave: what every interface says in the same words."""

    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop = None
    exit: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    RL_agent_thresh: Annotated[float, Field(ge=0, le=1)] | None = None


AnyBody = TypeVar("AnyBody", bound=Body)


def parse(kind: type[AnyBody], data: Mapping[str, Any], within: str = "") -> AnyBody:
    """``data`` as a body; Refused (400), naming the field, where it is not one."""
    try:
        body = kind.model_validate(dict(data))
    except ValidationError as error:
        raise _wrong(error, data, within) from None
    for name, value in (body.model_extra or {}).items():
        if name in kind.IGNORED:
            continue
        if name not in kind.NEUTRAL:
            raise invalid(_unknown(kind, name, within), within + name)
        if value is not None and not any(_same(value, neutral) for neutral in kind.NEUTRAL[name]):
            raise invalid(
                f"{within}{name}: {json.dumps(value)[:80]} would change the completion and is not supported here: "
                "leave it out",
                within + name,
            )
    return body


def _same(value: Any, other: Any) -> bool:
    """Equality that tells True from 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _wrong(error: ValidationError, data: Mapping[str, Any], within: str) -> Refused:
    """The first thing that is wrong, in a line."""
    problems = error.errors(include_url=False, include_context=False)
    name = str(problems[0]["loc"][0])
    mine = [problem for problem in problems if str(problem["loc"][0]) == name]
    # Where a text or a list is allowed, both are tried: what is said of the one that was given counts.
    problem = mine[-1] if isinstance(data.get(name), list) else mine[0]
    place = next((f"[{part}]" for part in problem["loc"][1:] if isinstance(part, int)), "")
    return invalid(f"{within}{name}{place}: {problem['msg']}", within + name)


def _unknown(kind: type[Body], name: str, within: str) -> str:
    known = [*kind.model_fields, *kind.NEUTRAL]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {within}{close[0]}?" if close else f"known are {', '.join(kind.model_fields)}"
    return f"unknown field {within}{name[:80]}: {hint}"


def read_json(raw: bytes) -> dict[str, Any]:
    """A body's JSON object; Refused (400) where it is none."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise invalid(f"the body is not JSON: {why}") from None
    if not isinstance(data, dict):
        raise invalid(f"the body is not a JSON object but {type(data).__name__}")
    return data


def stops(stop: Stop) -> tuple[str, ...]:
    """Stop strings as a decoding takes them."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def new_tokens(asked: int | None, default: int, limits: Limits, field: str) -> int:
    """How many tokens a completion may have; Refused (400) above the server's limit."""
    if asked is None:
        return min(default, limits.new_tokens)
    if asked > limits.new_tokens:
        raise invalid(f"{field}: {asked} is more than this server's limit of {limits.new_tokens} new tokens", field)
    return asked


def check_model(asked: str | None, names: tuple[str, ...], field: str = "model") -> None:
    """Refused (404) when a request names another model than the one that is served."""
    if asked and asked.removesuffix(":latest") not in names:
        raise Refused(404, f"no model {asked[:200]!r} here, this server has {names[0]!r}", "unknown_model", field=field)
