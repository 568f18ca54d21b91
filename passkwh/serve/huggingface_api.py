"""Hugging Face's interface, as llm-vscode (through llm-ls) and ``InferenceClient.text_generation`` speak it.

The prompt is ``inputs``; how to continue it stands in ``parameters`` (text-generation-inference) or, in the custom
template that GREEN-CODE describes, in ``options``. Where a request has no ``parameters``, llm-ls adds one level too
many (``{"parameters": {"parameters": {"return_full_text": false}}}``): that is understood, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from passkwh.prompts import TextPrompt
from passkwh.serve.answer import Answer, Cost, Object, token_counts
from passkwh.serve.batcher import Finished
from passkwh.serve.limits import Served, invalid
from passkwh.serve.request import Body, GenerationRequest, PromptText, Sampling, Stop, Tokens, parse, stop_texts

DEFAULT_TOKENS = 100


class Parameters(Sampling):
    """``parameters`` and ``options`` together."""

    foreign = ("sampling", "huggingface")
    max_new_tokens: Tokens | None = None
    num_predict: Tokens | None = None
    do_sample: bool | None = None
    stop_sequences: Stop = None
    return_full_text: bool | None = None


class InputsBody(Body):
    """``POST`` with ``inputs``."""

    inputs: PromptText
    model: str | None = None
    parameters: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    stream: bool | None = None
    usage: bool | None = None


def generate(data: dict[str, Any], served: Served, model: str | None = None) -> GenerationRequest:
    """A request: ``inputs`` is continued as it is. ``model`` is the one named in the path.

    Without a temperature and without ``do_sample``, decoding is greedy.
    """
    body = parse(InputsBody, data)
    served.check_name(model or body.model)
    if body.stream:
        raise invalid("stream: not supported here, use /v1/completions or Ollama's form of /api/generate", "stream")
    given = _parameters(body)
    tokens = given.num_predict if given.max_new_tokens is None else given.max_new_tokens
    changes: dict[str, Any] = {"stop": list(stop_texts(given.stop, given.stop_sequences))}
    if given.do_sample is False:
        changes["temperature"] = 0.0
    return given.model_copy(update=changes).request(
        (TextPrompt(body.inputs),),
        served.new_tokens(tokens, DEFAULT_TOKENS, "max_new_tokens"),
        temperature=1.0 if given.do_sample else 0.0,
        usage=bool(body.usage),
        echo=bool(given.return_full_text),
    )


def _parameters(body: InputsBody) -> Parameters:
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
    parse(Parameters, parameters, "parameters.")
    parse(Parameters, options, "options.")
    return parse(Parameters, {**parameters, **options})


class HuggingFaceAnswer(Answer):
    """One object; it is never streamed."""

    def __init__(self, request: GenerationRequest) -> None:
        (prompt,) = request.prompts
        self._before = prompt.text if request.echo and isinstance(prompt, TextPrompt) else ""

    def whole(self, rows: Sequence[Finished], cost: Cost) -> Object:
        text = {"generated_text": self._before + rows[0].text}
        return text if cost is None else {**text, "usage": token_counts(rows, cost)}
