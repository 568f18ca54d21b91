"""A model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, ``transformers serve``, ``bench serve``.

``openai:http://HOST:PORT/v1#MODEL`` continues prompts through ``/completions``: what a base model does, and what every
benchmark that gives raw text wants. ``openai-chat:...`` asks through ``/chat/completions``: the server applies the
model's own chat template to one turn of the user (raw text still goes to ``/completions``). ``#MODEL`` may be left out
where the server has only one. The key, if one is wanted, is taken from OPENAI_API_KEY and written nowhere.

A batch is that many requests at once; how they share the model is the server's affair.
"""

from __future__ import annotations

import difflib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.answers import completion, reasoning_in
from passkwh.adapters.engines.base import Completion, Decoding, LoadOptions, over_context
from passkwh.adapters.engines.endpoint_client import Answer, Client, OverContext, ServerRefusal
from passkwh.adapters.thinking import AUTO, EFFORTS, TAGS, budget
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt, Prompt, TextPrompt
from passkwh.records import ModelInfo, Option

NAME = "endpoint"
"""In the registry of engines."""
COMPLETIONS, CHAT = "openai", "openai-chat"
"""The two adapters, and the beginnings of their models' names."""
KEY = "OPENAI_API_KEY"
SET_BY_THE_RUN = frozenset(
    {
        "model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop",
        "n", "stream", "stream_options",
    }
)  # fmt: skip
"""Fields of requests that are no ``--engine-option``."""
TRIED_TOKENS = 4
"""So short an answer shows at its beginning whether a model thinks first."""
TRIED_STOPS = tuple(f"\n{name}:" for name in ("one", "two", "three", "four", "five", "six", "seven"))
"""As many as BigCodeBench has for chats."""
FEW_STOPS = 4
"""What OpenAI's own servers take, and vLLM unless it is told otherwise."""

_CUT_AFTERWARDS = "answers are cut afterwards, and what was written after that is paid for"


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as it is named: ``openai:URL#MODEL``."""

    adapter: str
    """``openai`` or ``openai-chat``."""
    url: str
    model: str
    """Empty where the name does not say."""

    @property
    def host(self) -> str:
        """HOST or HOST:PORT."""
        return urlsplit(self.url).netloc


def is_endpoint(name: str) -> bool:
    """The name is one of an endpoint, well formed or not."""
    return name.split(":", 1)[0] in (COMPLETIONS, CHAT) and ":" in name


def parse(name: str) -> Endpoint:
    """Read a name; UsageError says what is wrong with it."""
    adapter, _, rest = name.partition(":")
    url, _, model = rest.partition("#")
    wanted = f"write {adapter}:http://HOST:PORT/v1#MODEL"
    try:
        parts = urlsplit(url)
        port_known = parts.port is None or parts.port > 0
    except ValueError as error:
        raise UsageError(f"{name}: {error}: {wanted}") from None
    if parts.username is not None or parts.password is not None:  # never repeat it: it would end up in a log
        raise UsageError(f"{adapter}: the URL holds a user or password, and names are recorded: put the key into {KEY}")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_known or parts.query:
        raise UsageError(f"{name}: no URL of a server: {wanted}")
    return Endpoint(adapter, url.rstrip("/"), model)


class EndpointEngine:
    """Models that another program serves."""

    summary = "a model behind an OpenAI-compatible server, named openai:URL#MODEL or openai-chat:URL#MODEL"
    format = None
    takes_requests = True

    def resolve(self, name: str, quant: str) -> Checkpoint | None:
        """Ask the server which models it has, and settle on one; None for a name that is no endpoint's.

        UsageError where nobody answers, the key is wrong, the model is not there or a quantization is asked for.
        """
        return _resolve(name, quant) if is_endpoint(name) else None

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """It runs nothing but what it resolved: a server has its weights already."""
        if checkpoint.engine == NAME:
            return None
        return "it runs only what a server has loaded: name the model openai:URL#MODEL"

    def check_thinking(self, checkpoint: Checkpoint, thinking: str) -> None:
        """UsageError for a number of tokens, which no field of the interface can ask for."""
        if budget(thinking) is not None:
            raise UsageError(
                f"--thinking {thinking}: a server ends the thinking by its own rules: write on, off, low, medium or "
                "high, or run the weights with transformers"
            )

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> EndpointModel:
        """A connection to the server."""
        return EndpointModel(checkpoint, options.options, options.thinking)

    def check_options(self, options: Mapping[str, Option]) -> None:
        """UsageError for a field of requests that the run sets itself, or a text that begins as JSON and is not."""
        for name in options:
            if name in SET_BY_THE_RUN:
                raise UsageError(f"--engine-option {name}: the run sets that field of requests itself: leave it out")
        _extra_body(options)


ENGINE = EndpointEngine()


def _resolve(name: str, quant: str) -> Checkpoint:
    endpoint = parse(name)
    if quant != "none":
        raise UsageError(f"--quant {quant} cannot be applied to {name}: start the server with a quantized model")
    with _client(endpoint) as client:
        served = client.models()
    model = endpoint.model
    if not model:
        if len(served) != 1:
            have = ", ".join(served[:10]) or "no models"
            raise UsageError(f"{endpoint.url} lists {have}: say which, {endpoint.adapter}:{endpoint.url}#MODEL")
        model = served[0]
    checkpoint = Checkpoint(
        name=f"{endpoint.adapter}:{endpoint.url}#{model}",
        source="engine",
        location=f"{endpoint.url}#{model}",
        path=None,
        revision="unknown",
        chat=endpoint.adapter == CHAT,
        engine=NAME,
    )
    if served and model not in served:  # some servers load what they are asked for, listed or not
        try:
            EndpointModel(checkpoint).close()
        except ServerRefusal as error:
            close = difflib.get_close_matches(model, served, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(
                f"{endpoint.url} has no model {model!r}: {hint}it lists {', '.join(served[:10])}"
            ) from error
    return checkpoint


def place(url: str) -> Literal["machine", "elsewhere"]:
    """Whether a server is on this machine, by the addresses of its host; a tunnel's far end cannot be seen."""
    import psutil

    own = {address.address.split("%")[0] for nic in psutil.net_if_addrs().values() for address in nic}
    try:
        resolved = socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return "elsewhere"
    addresses = {str(entry[4][0]).split("%")[0] for entry in resolved}
    local = all(address in own or address.startswith("127.") or address == "::1" for address in addresses)
    return "machine" if local else "elsewhere"


def _messages(prompt: ChatPrompt) -> list[dict[str, str]]:
    """The turns of a chat; the beginning of the answer cannot be sent: the model begins its turn itself."""
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    return [*system, {"role": "user", "content": prompt.user}]


def _client(endpoint: Endpoint) -> Client:
    return Client(endpoint.url, os.environ.get(KEY), direct=place(endpoint.url) == "machine")


def _extra_body(options: Mapping[str, Option]) -> dict[str, Any]:
    """``--engine-option KEY=VALUE`` as fields of every request; a value that begins as JSON does is read as that."""
    body: dict[str, Any] = dict(options)
    for name, value in body.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            try:
                body[name] = json.loads(value)
            except ValueError as error:
                raise UsageError(f"--engine-option {name}={value}: not JSON ({error})") from None
    return body


class EndpointModel:
    """A served model (``passkwh.adapters.engines.base.Model``).

    Construction asks for a few tokens, which shows whether the server streams, counts tokens and takes stop strings,
    and whether the model thinks first; UsageError where it does not count tokens. Token counts are the server's.
    """

    def __init__(
        self, checkpoint: Checkpoint, options: Mapping[str, Option] | None = None, thinking: str = AUTO
    ) -> None:
        endpoint = parse(checkpoint.name)
        self._model = checkpoint.location.partition("#")[2]
        self._is_chat = checkpoint.chat
        self._thinking = thinking
        self._client = _client(endpoint)
        self._extra = _extra_body(options or {})
        self._most_stops: int | None = None
        try:
            prompting = self._try_out()
        except BaseException:
            self._client.close()
            raise
        self._info = ModelInfo(
            name=checkpoint.name,
            adapter=endpoint.adapter,
            engine=NAME,
            chat=checkpoint.chat,
            checkpoint=checkpoint.location,
            revision=str(checkpoint.revision),
            dtype="unknown",
            device=f"server:{endpoint.host}",
            prompting=prompting,
            parameters=None,
            place=place(endpoint.url),
        )

    def _try_out(self) -> dict[str, Option]:
        """Ask for something short; what the manifest says of prompts."""
        tried: Prompt = ChatPrompt("Say x.") if self._is_chat else TextPrompt("x = 1")
        answer = self._request(tried, Decoding(TRIED_TOKENS if self._is_chat else 1), 0)
        asked = self._thinking not in (AUTO, "off")
        if self._is_chat and (asked or reasoning_in(answer) is not None):
            # They would end the thinking, which drafts programs too.
            self._most_stops = 0
            stops = f"not sent, as the model thinks first: {_CUT_AFTERWARDS}"
        else:
            stops = self._try_stops(tried)
        if not self._is_chat:
            return {"stops": stops}
        given = json.dumps(_thinking_fields(self._thinking)) if self._thinking != AUTO else "left to the server"
        return {"answer_beginning": "left out: the server begins the answer", "stops": stops, "thinking": given}

    def _try_stops(self, prompt: Prompt) -> str:
        """Find how many stop strings the server takes; in words, for the manifest."""
        for count in (len(TRIED_STOPS), FEW_STOPS):
            try:
                self._request(prompt, Decoding(1, stop=TRIED_STOPS[:count]), 0)
            except (ServerRefusal, OverContext):  # a few words fit any context: what is too long is the list
                continue
            if count == len(TRIED_STOPS):
                return "sent"
            self._most_stops = count
            return f"the first {count} sent, as the server takes no more: {_CUT_AFTERWARDS}"
        self._most_stops = 0
        return f"not sent, as the server takes none: {_CUT_AFTERWARDS}"

    @property
    def info(self) -> ModelInfo:
        """The endpoint and its model; what only the server knows is unknown."""
        return self._info.model_copy(update={"engine_info": self._client.adaptations()})

    def render(self, prompt: Prompt) -> str:
        """The text to continue or, for a chat, its messages as they are sent, in JSON: the server has the template."""
        return json.dumps(_messages(prompt), ensure_ascii=False) if isinstance(prompt, ChatPrompt) else prompt.text

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        """Complete prompts by that many requests at once; returns when all are answered.

        The first token's time is known where the server streams and the batch is a single prompt: of several, each has
        a first token of its own. UsageError, in a line, for whatever goes wrong with the server.
        """
        alone = len(prompts) == 1
        with ThreadPoolExecutor(max_workers=len(prompts)) as pool:
            return list(pool.map(lambda prompt, seed: self._complete(prompt, decoding, seed, alone), prompts, seeds))

    def complete(self, prompt: Prompt, decoding: Decoding, seed: int) -> Completion:
        """Complete one prompt while others are being completed (``TakesRequests``)."""
        return self._complete(prompt, decoding, seed, alone=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(self, prompt: Prompt, decoding: Decoding, seed: int) -> Answer:
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
            **self._extra,
        }
        if decoding.temperature > 0:
            body |= {"top_p": decoding.top_p, "seed": seed}
        if stops := decoding.stop[: self._most_stops]:
            body["stop"] = list(stops)
        if isinstance(prompt, ChatPrompt):
            body |= _thinking_fields(self._thinking)
            return self._client.complete("/chat/completions", {**body, "messages": _messages(prompt)})
        return self._client.complete("/completions", {**body, "prompt": prompt.text})

    def _complete(self, prompt: Prompt, decoding: Decoding, seed: int, alone: bool) -> Completion:
        """One completion; ``alone`` in its window, so that its first token is the window's."""
        try:
            answer = self._request(prompt, decoding, seed)
        except OverContext as error:
            return over_context(str(error))
        if answer.completion_tokens > decoding.max_new_tokens:
            raise UsageError(
                f"{self._info.name} counts {answer.completion_tokens} generated tokens where at most "
                f"{decoding.max_new_tokens} were asked for: make the server heed the limit, or count what it generates"
            )
        markers = TAGS if isinstance(prompt, ChatPrompt) else None
        return completion(answer, decoding, alone=alone, markers=markers, may_be_open=self._thinking != "off")


def _thinking_fields(thinking: str) -> dict[str, Any]:
    """What a request says of thinking: OpenAI's field for an effort, the variables of chat templates for on and off."""
    if thinking == AUTO:
        return {}
    if thinking in EFFORTS:
        return {"reasoning_effort": thinking}
    return {"chat_template_kwargs": dict.fromkeys(("enable_thinking", "thinking"), thinking == "on")}
