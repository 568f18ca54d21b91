"""Hugging Face's interface, as llm-vscode (through llm-ls) and ``InferenceClient.text_generation`` speak it.

The prompt is ``inputs``; how to continue it stands in ``parameters`` (text-generation-inference) or, in the custom
template that GREEN-CODE describes, in ``options``. Where a request has no ``parameters``, llm-ls adds one level too
many (``{"parameters": {"parameters": {"return_full_text": false}}}``): that is understood, too.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from passkwh.adapters.engines.base import Decoding
from passkwh.serve.limits import Limits, invalid
from passkwh.serve.ollama_api import SAMPLING
from passkwh.serve.request import Ask, Body, Drawn, Prompt, Stop, check_model, new_tokens, parse, stops

DEFAULT_TOKENS = 100


class Settings(Drawn):
    """``parameters`` and ``options`` together."""

    IGNORED = frozenset({"wait_for_model", "use_cache", "use_gpu"})
    NEUTRAL: ClassVar = {
        **SAMPLING, "repetition_penalty": (1,), "best_of": (1,), "details": (False,), "decoder_input_details": (False,),
        "watermark": (False,), "top_n_tokens": (0,), "truncate": (), "grammar": (), "adapter_id": (),
        "num_return_sequences": (1,), "num_beams": (1,),
    }  # fmt: skip

    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    num_predict: Annotated[int, Field(ge=1)] | None = None
    do_sample: bool | None = None
    stop_sequences: Stop = None
    return_full_text: bool | None = None


class InputsBody(Body):
    """``POST`` with ``inputs``."""

    inputs: Prompt
    model: str | None = None
    parameters: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    stream: bool | None = None
    usage: bool | None = None


def generate(
    data: dict[str, Any], names: tuple[str, ...], limits: Limits, model: str | None = None
) -> tuple[Ask, bool]:
    """What a request asks, and whether its answer begins with the prompt. ``model`` is the one named in the path.

    Without a temperature and without ``do_sample``, decoding is greedy.
    """
    body = parse(InputsBody, data)
    check_model(model or body.model, names)
    if body.stream:
        raise invalid("stream: not supported here, use /v1/completions or Ollama's form of /api/generate", "stream")
    asked = _settings(body)
    temperature = asked.temperature
    if temperature is None:
        temperature = 1.0 if asked.do_sample else 0.0
    elif asked.do_sample is False:
        temperature = 0.0
    tokens = asked.num_predict if asked.max_new_tokens is None else asked.max_new_tokens
    ask = Ask(
        prompts=(body.inputs,),
        decoding=Decoding(
            max_new_tokens=new_tokens(tokens, DEFAULT_TOKENS, limits, "max_new_tokens"),
            temperature=temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            stop=stops(asked.stop) + stops(asked.stop_sequences),
        ),
        seed=asked.seed,
        exit=asked.exit,
        threshold=asked.RL_agent_thresh,
        usage=bool(body.usage),
    )
    return ask, bool(asked.return_full_text)


def _settings(body: InputsBody) -> Settings:
    parameters = dict(body.parameters or {})
    nested = parameters.pop("parameters", None)
    if isinstance(nested, dict):
        parameters = {**nested, **parameters}
    elif nested is not None:
        raise invalid("parameters.parameters: give an object", "parameters.parameters")
    options = body.options or {}
    if twice := sorted(parameters.keys() & options.keys()):
        raise invalid(f"{twice[0]}: stands in parameters and in options, give it once", twice[0])
    # Parsed apart, so that a message names the place; then together.
    parse(Settings, parameters, "parameters.")
    parse(Settings, options, "options.")
    return parse(Settings, {**parameters, **options})
