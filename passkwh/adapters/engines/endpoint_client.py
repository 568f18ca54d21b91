"""The HTTP side of an OpenAI-compatible server: patient when it is busy, and one line when it cannot be helped."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from passkwh.errors import UsageError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
READ_S = 600.0
"""Between two pieces of an answer; without streaming, for the whole of it."""
RETRIES = 6
"""A server that is busy (429, 503), not reached by a gateway (502, 504) or that broke off its answer is asked again
so often, ..."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
"""... after as long as it says (Retry-After) or 0.5, 1, 2, ... s, and never longer than this."""
BUSY = (429, 503)
MOST_TOKENS = 2**31
"""No server has read or written more for one request."""
GATEWAY = (502, 504)
OPTIONAL = ("temperature", "top_p", "seed", "stream_options")
"""Fields of a request that are left out for a server that does not take them."""


class ServerRefusal(UsageError):
    """The server is there and takes the key, and will not do what it was asked, as for a model that it has not."""


class Interrupted(UsageError):
    """The connection ended in the middle of an answer."""


class OverContext(ServerRefusal):
    """The prompt does not fit the served model's context."""


@dataclass(frozen=True)
class Piece:
    """A piece of an answer as it came."""

    ns: int | None
    """Monotonic time at which it had arrived; None without streaming."""
    content: str
    reasoning: str = ""
    """What the server's own parser took for thinking."""


@dataclass(frozen=True)
class Answer:
    """A completion as the server gave it."""

    pieces: tuple[Piece, ...]
    """Those with any text, in order."""
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None
    """Of ``completion_tokens``; None where the server does not count them."""
    finish_reason: str | None
    cached_tokens: int | None = None
    """Prompt tokens that the server had from an earlier request; None where it does not say."""
    retries: int = 0
    """How often it was asked again before this answer."""

    @property
    def text(self) -> str:
        """All of its content."""
        return "".join(piece.content for piece in self.pieces)

    @property
    def reasoning(self) -> str:
        """All that the server took for thinking."""
        return "".join(piece.reasoning for piece in self.pieces)

    @property
    def first_token_ns(self) -> int | None:
        """When the first piece of any kind had arrived; None without streaming."""
        return self.pieces[0].ns if self.pieces else None


class Client:
    """Connections to one server, for any number of threads. ``direct`` keeps off the proxies of the environment."""

    def __init__(self, url: str, key: str | None, *, direct: bool) -> None:
        import httpx

        self._url = url
        self._streams: bool | None = None  # not known before the first answer
        self._left_out: dict[str, str] = {}  # field -> what the server said of it
        self._length_field = "max_tokens"
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None),
            trust_env=not direct,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[str]:
        """Names of the server's models; empty where it keeps no list. UsageError where nobody answers."""
        with self._reaching():
            answer = self._http.get(f"{self._url}/models", timeout=CONNECT_S * 2)
        if answer.status_code in (404, 405) or (answer.status_code >= 500 and answer.status_code not in BUSY):
            return []
        self._check(answer)
        try:
            return [str(entry["id"]) for entry in answer.json()["data"]]
        except (ValueError, LookupError, TypeError):
            raise UsageError(
                f"{self._url}/models does not answer as an OpenAI-compatible server: give its base URL, as a rule "
                "http://HOST:PORT/v1"
            ) from None

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer to a request that is no completion. UsageError, in a line, where there is none."""
        with self._reaching():
            answer = self._http.post(self._url + path, json=body)
        self._check(answer)
        try:
            return answer.json()
        except ValueError:
            raise self._strange(answer.text) from None

    def adaptations(self) -> dict[str, Any]:
        """What requests had to leave out or name otherwise for this server, for the run's record."""
        about: dict[str, Any] = {name: f"left out: {said}" for name, said in self._left_out.items()}
        if self._length_field != "max_tokens":
            about["max_tokens"] = f"sent as {self._length_field}"
        return about

    def complete(self, path: str, body: dict[str, Any]) -> Answer:
        """Ask for one completion. UsageError, in a line, for anything but an answer with token counts.

        A server that breaks off is asked again, with a limit; a field that it does not take is left out from then on.
        """
        tries = Tries()
        for wait_s in _waits():
            try:
                while True:
                    try:
                        return replace(self._once(path, self._adapted(body), tries), retries=tries.again)
                    except ServerRefusal as error:
                        if isinstance(error, OverContext) or not self._learn(str(error), body):
                            raise
            except Interrupted as error:
                if wait_s is None:
                    raise UsageError(f"{error}, {tries.again + 1} times: see to the server, then --resume") from error
                tries.again += 1
                time.sleep(wait_s)
        raise AssertionError("the last of the waits is None")

    def _adapted(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as this server takes it."""
        kept = {name: value for name, value in body.items() if name not in self._left_out}
        if self._length_field != "max_tokens" and "max_tokens" in kept:
            kept[self._length_field] = kept.pop("max_tokens")
        return kept

    def _learn(self, refusal: str, body: dict[str, Any]) -> bool:
        """Whether a refusal names a field that can be left out or named otherwise: then it is, from now on."""
        if not re.search(r"support|unrecognized|unexpected|unknown|not allowed|not permitted|extra", refusal, re.I):
            return False
        if "max_completion_tokens" in refusal and self._length_field == "max_tokens":
            self._length_field = "max_completion_tokens"
        else:
            named = [name for name in OPTIONAL if re.search(rf"\b{name}\b", refusal) and name in self._adapted(body)]
            if not named:
                return False
            self._left_out[named[0]] = refusal.partition(": ")[2].partition("): ")[0][:120]
        if self._streams is False:
            self._streams = None  # it may have been this, and not the streaming, that was refused
        return True

    def _once(self, path: str, body: dict[str, Any], tries: Tries) -> Answer:
        if self._streams is not False:
            answer = self._streamed(path, {**body, "stream": True, "stream_options": {"include_usage": True}}, tries)
            if answer is not None:
                self._streams = True
                return answer
            self._streams = False  # it cannot stream, or not count tokens when it does
        return self._whole(path, body, tries)

    def _whole(self, path: str, body: dict[str, Any], tries: Tries) -> Answer:
        for wait_s in _waits():
            with self._reaching():
                answer = self._http.post(self._url + path, json=body)
            if not self._busy(answer, wait_s, tries):
                break
        self._check(answer)
        try:
            content = answer.json()
            choice = self._choices(content)[0]
        except (ValueError, LookupError, RecursionError):
            raise self._strange(answer.text) from None
        pieces = [piece] if (piece := _piece(choice, None)) else []
        return self._answer(pieces, choice.get("finish_reason"), content.get("usage"))

    def _streamed(self, path: str, body: dict[str, Any], tries: Tries) -> Answer | None:
        """As ``_whole``, piece by piece; None where it turns out, at the first request, that this server cannot."""
        for wait_s in _waits():
            with self._reaching(), self._http.stream("POST", self._url + path, json=body) as answer:
                if answer.status_code < 300 and _is_stream(answer):
                    return self._read(answer)
                answer.read()
            if self._streams is None and (answer.status_code in (400, 422) or answer.status_code < 300):
                return None  # whether it is the streaming that is not wanted shows when asked without
            if not self._busy(answer, wait_s, tries):
                break
        self._check(answer)
        raise self._strange(answer.text)

    def _read(self, answer: httpx.Response) -> Answer | None:
        pieces: list[Piece] = []
        reason: str | None = None
        usage: dict[str, Any] | None = None
        for event in self._events(answer):
            usage = event.get("usage") or usage
            for choice in self._choices(event):
                if piece := _piece(choice, time.monotonic_ns()):
                    pieces.append(piece)
                reason = choice.get("finish_reason") or reason
        if usage is None and self._streams is None:
            return None
        return self._answer(pieces, reason, usage)

    def _events(self, answer: httpx.Response) -> Iterator[dict[str, Any]]:
        ended = False
        for line in _lines(answer):
            if not line.startswith("data:"):
                continue
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                return
            try:
                piece = json.loads(data)
            except (ValueError, RecursionError):
                raise self._strange(data) from None
            if not isinstance(piece, dict) or piece.get("error"):
                raise UsageError(f"{self._url} broke off its answer: {_message(data)}")
            ended = ended or any(choice.get("finish_reason") for choice in self._choices(piece))
            yield piece
        if not ended:
            raise Interrupted(f"{self._url} ended the connection in the middle of an answer")

    def _choices(self, content: Any) -> list[dict[str, Any]]:
        choices = (content.get("choices") or []) if isinstance(content, dict) else None
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise self._strange(json.dumps(content))
        return choices

    # ------------------------------------------------------------ what can go wrong

    def _reaching(self) -> _Reachable:
        return _Reachable(self._url)

    def _busy(self, answer: httpx.Response, wait_s: float | None, tries: Tries) -> bool:
        """The server is busy or not reached and may be asked again, after a while that is waited here."""
        if answer.status_code not in (*BUSY, *GATEWAY) or wait_s is None:
            return False
        tries.again += 1
        after = answer.headers.get("retry-after", "")
        time.sleep(min(float(after) if after.isdigit() else wait_s, LONGEST_WAIT_S))
        return True

    def _check(self, answer: httpx.Response) -> None:
        code = answer.status_code
        if code < 300:
            return
        message = _message(answer.text)
        if code in (401, 403):
            raise UsageError(f"{self._url} wants another key ({code}: {message}): put it into OPENAI_API_KEY")
        if code in BUSY:
            raise UsageError(
                f"{self._url} is busy and stays so ({code}: {message}): lower --batch-size or give it more room"
            )
        if code in GATEWAY:
            raise UsageError(
                f"the gateway at {self._url} does not reach its server and stays so ({code}: {message}): see to the "
                "server, then --resume"
            )
        if code in (400, 413, 422) and _is_over_context(answer.text):
            raise OverContext(f"the prompt does not fit the served model's context ({code}: {message})")
        if code == 404:
            raise ServerRefusal(
                f"{answer.url} is not there ({message}): give the base URL, as a rule http://HOST:PORT/v1"
            )
        raise ServerRefusal(
            f"{self._url} refused a request ({code}: {message}): start it so that it takes this, or ask less"
        )

    def _answer(self, pieces: Sequence[Piece], reason: str | None, usage: Any) -> Answer:
        try:
            prompt_tokens, completion_tokens = _count(usage["prompt_tokens"]), _count(usage["completion_tokens"])
        except (LookupError, TypeError, ValueError):
            raise UsageError(
                f"{self._url} does not count tokens ('usage' is {json.dumps(usage)[:80]}), so nothing could be said "
                "per token: use a server that does"
            ) from None
        details = usage.get("completion_tokens_details")
        counted = details.get("reasoning_tokens") if isinstance(details, dict) else None
        thought = min(counted, completion_tokens) if type(counted) is int and counted >= 0 else None
        return Answer(tuple(pieces), prompt_tokens, completion_tokens, thought, reason, _cached_tokens(usage))

    def _strange(self, message: str) -> UsageError:
        return UsageError(
            f"{self._url} does not answer as an OpenAI-compatible server ({_message(message)}): give its base URL, as "
            "a rule http://HOST:PORT/v1"
        )


class _Reachable:
    """Within it, failures of the connection become one line that names the server and what to do."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        import httpx

        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise UsageError(f"no server answers at {self._url} ({error}): start it, or correct the URL") from None
        if isinstance(error, httpx.TimeoutException):
            raise UsageError(
                f"{self._url} is silent for {READ_S:g} s: see what it does, then go on with --resume"
            ) from None
        if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
            raise Interrupted(f"{self._url} ended the connection in the middle of an answer ({error})") from None
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            why = f"{type(error).__name__}: {error}"
            raise UsageError(f"the connection to {self._url} broke ({why}): see to the server, then --resume") from None


def _waits() -> Iterator[float | None]:
    """How long to wait before each time a busy server is asked again; None when it is not asked again."""
    yield from (FIRST_WAIT_S * 2**turn for turn in range(RETRIES))
    yield None


@dataclass
class Tries:
    """How often one completion was asked for."""

    again: int = 0


def _lines(answer: httpx.Response) -> Iterator[str]:
    """Lines of a stream of events, which end at CR, LF or both alone: other ends of line are part of a text."""
    rest = b""
    for piece in answer.iter_bytes():
        *lines, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
    if rest:
        yield rest.decode("utf-8", "replace")


def _count(stated: Any) -> int:
    """A number of tokens as a server states it. Raises ValueError for what is none."""
    if type(stated) not in (int, float) or not (0 <= stated <= MOST_TOKENS and stated == int(stated)):
        raise ValueError
    return int(stated)


def _cached_tokens(usage: dict[str, Any]) -> int | None:
    details = usage.get("prompt_tokens_details")
    counted = details.get("cached_tokens") if isinstance(details, dict) else None
    return counted if type(counted) is int and counted >= 0 else None


def _is_stream(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-type", "")).startswith("text/event-stream")


def _piece(choice: dict[str, Any], ns: int | None) -> Piece | None:
    """What a choice brings, of any of the forms; None where it brings no text."""
    content = reasoning = ""
    for part in (choice.get("delta"), choice.get("message"), choice):
        if isinstance(part, dict):
            content = content or str(part.get("content") or part.get("text") or "")
            reasoning = reasoning or str(part.get("reasoning_content") or part.get("reasoning") or "")
    return Piece(ns, content, reasoning) if content or reasoning else None


_OVER_CONTEXT = re.compile(
    r"context_length_exceeded|exceed_context_size|(?:maximum|available|model'?s) context (?:length|size|window)"
    r"|context (?:length|window|size) (?:is |was )?exceeded|prompt is too long|input is too long"
    r"|[\"']code[\"']: ?[\"']too_long",
    re.IGNORECASE,
)
"""How servers say that a prompt is too long: OpenAI and vLLM, llama.cpp, SGLang, TGI, `bench serve`."""


def _is_over_context(text: str) -> bool:
    return bool(_OVER_CONTEXT.search(text))


def _message(text: str) -> str:
    """The server's message in one short line."""
    try:
        content = json.loads(text)
        error = content.get("error", content.get("detail", content))
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass  # not JSON: as it is
    return " ".join(text.split())[:200]
