"""Servers that a run starts, waits for, talks to and ends: what engines of that kind have in common.

The server is a descendant of the run (``keeper.py`` stands in between), so that a meter of the run's own processes sees
it; it listens on loopback, on a free port, and wants a key that only the run knows. It gets token ids, made from the
model's own chat template and tokenizer, so that every engine reads the same prompt. What an engine adds is a
:class:`Server` (what to start) and a function from prompts to tokens.
"""

from __future__ import annotations

import difflib
import os
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.answers import completion
from passkwh.adapters.engines.base import Completion, Decoding, LoadOptions, over_context
from passkwh.adapters.engines.endpoint_client import Client, OverContext
from passkwh.adapters.thinking import TAGS, Markers
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt, Prompt, TextPrompt
from passkwh.records import ModelInfo, Option

KEEPER = Path(__file__).with_name("keeper.py")
START_S = 1800.0
"""A server may take so long until it is healthy: some compile kernels first (``--engine-option start_s=N``)."""
POLL_S = 0.1
STOP_S = 30.0
BROKEN_S = 2.0
"""A connection breaks a little before the process at its other end is gone."""
TAIL_LINES = 3
"""Lines of its log that an error shows."""


@dataclass(frozen=True)
class Server:
    """A server to be started."""

    engine: str
    """Name in the registry of engines."""
    version: str
    command: tuple[str, ...]
    """The command line; ``{port}`` and ``{key}`` in it stand for the port and the key that clients must send."""
    key_variable: str
    """Environment variable in which it takes that key."""
    model: str
    """The model's name in requests."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """What the user has set (``--engine-option``)."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables besides the run's own."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """Fields of every request, for what OpenAI's form has no field for."""
    markers: Markers = TAGS
    """Of the model's thinking phase, where it has one."""
    thinks: bool = False
    """Chats may begin with a thinking phase: stop strings, which would end that, too, are not sent."""

    def about(self) -> dict[str, Option]:
        """For the manifest: version, command line with its port left out, and what was set in the environment."""
        set_ = "".join(f"{name}={shlex.quote(value)} " for name, value in self.environment.items())
        return {"version": self.version, "command": set_ + shlex.join(self.command), **self.options}


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as a model reads it."""

    text: str
    tokens: tuple[int, ...]


Encode = Callable[[Prompt], EncodedPrompt]


class ServerProcess:
    """A server that this process has started. It ends with it, however that ends."""

    def __init__(self, server: Server, log: Path) -> None:
        self.log = log
        """Where what it prints goes."""
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.key = secrets.token_urlsafe(16)
        self._server = server
        port = self.url.rpartition(":")[2]
        command = [word.replace("{port}", port).replace("{key}", self.key) for word in server.command]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            file.write(f"{shlex.join(server.command)}\n".encode())
            file.flush()
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**_environment(server.command[0]), **server.environment, server.key_variable: self.key},
                start_new_session=True,  # Ctrl-C is for the run, which then ends the server
            )

    def wait_until_healthy(self, start_s: float, report: Callable[[str], None]) -> None:
        """Return when it answers ``/health``. UsageError where it ends before that or is not in time."""
        import httpx

        started_s = time.monotonic()
        with httpx.Client(trust_env=False, timeout=5.0, headers={"Authorization": f"Bearer {self.key}"}) as client:
            while True:
                if (ended := self.ended()) is not None:
                    raise UsageError(f"{ended} before it could answer")
                with suppress(httpx.HTTPError):
                    if client.get(f"{self.url}/health").status_code == 200:
                        return
                waited_s = time.monotonic() - started_s
                if waited_s > start_s:
                    raise UsageError(
                        f"{self._server.engine} is not healthy after {start_s:g} s ({self._last_words()}): see "
                        f"{self.log}, or give it longer with --engine-option start_s={2 * start_s:g}"
                    )
                report(f"starting {self._server.engine} {self._server.version}, for {waited_s // 5 * 5:.0f} s")
                time.sleep(POLL_S)

    def ended(self, wait_s: float = 0.0) -> str | None:
        """How it ended, and where to look; None where it still runs after ``wait_s``."""
        try:
            code = self._keeper.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None
        how = f"was killed by signal {abs(code) % 128}" if code < 0 or code > 128 else f"ended with exit code {code}"
        return f"{self._server.engine} {how} ({self._last_words()}; its log is {self.log})"

    def move_log(self, path: Path) -> None:
        """Go on logging into another file of the same disk."""
        self.log.replace(path)
        self.log = path

    def close(self) -> None:
        """End it and wait for that."""
        assert self._keeper.stdin is not None
        with suppress(BrokenPipeError):
            self._keeper.stdin.close()
        try:
            self._keeper.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()  # the server dies with it
            self._keeper.wait()

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return "; ".join(line[:200] for line in lines[-TAIL_LINES:]) or "it has logged nothing"


class ServedModel:
    """The model of a server that this run has started (``passkwh.adapters.engines.base.Model``).

    Prompts go to ``/v1/completions`` as token ids. Closing it ends the server.
    """

    def __init__(self, process: ServerProcess, server: Server, client: Client, info: ModelInfo, encode: Encode) -> None:
        self._process = process
        self._server = server
        self._client = client
        self._encode = encode
        self._encoded: dict[Prompt, EncodedPrompt] = {}
        self._info = info
        self._complete(TextPrompt("x = 1"), Decoding(1), 0, alone=False)  # shows that it streams and counts tokens

    @property
    def info(self) -> ModelInfo:
        """The checkpoint, and the server with its command line."""
        return self._info

    def render(self, prompt: Prompt) -> str:
        """A text as it is; a chat in the model's own template, up to where the answer goes on."""
        return self._encoding(prompt).text

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        """Complete prompts by that many requests at once; returns when all are answered.

        The first token's time is known where the batch is a single prompt. UsageError says how the server ended where
        it has.
        """
        alone = len(prompts) == 1
        pool = ThreadPoolExecutor(max_workers=len(prompts))
        try:
            return list(pool.map(lambda one, seed: self._answered(one, decoding, seed, alone), prompts, seeds))
        except UsageError:
            raise
        except BaseException:
            self._process.close()  # or the requests that are on their way would be waited for
            raise
        finally:
            pool.shutdown()

    def complete(self, prompt: Prompt, decoding: Decoding, seed: int) -> Completion:
        """Complete one prompt while others are being completed (``TakesRequests``)."""
        return self._answered(prompt, decoding, seed, alone=True)

    def _answered(self, prompt: Prompt, decoding: Decoding, seed: int, alone: bool) -> Completion:
        """UsageError says how the server ended where it has."""
        try:
            return self._complete(prompt, decoding, seed, alone)
        except UsageError as error:
            if (ended := self._process.ended(BROKEN_S)) is not None:
                raise UsageError(f"{ended}: go on with --resume") from error
            raise

    def move_log(self, path: Path) -> None:
        """Go on logging into another file of the same disk (``KeepsLog``)."""
        self._process.move_log(path)

    def close(self) -> None:
        """Close the connections and end the server."""
        self._client.close()
        self._process.close()

    def request(self, prompt: Prompt, decoding: Decoding, seed: int) -> dict[str, Any]:
        """The body of the request for one completion, as ``/v1/completions`` takes it."""
        body: dict[str, Any] = {
            "model": self._server.model,
            "prompt": self._encoding(prompt).tokens,
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
            **self._server.request,
        }
        if decoding.temperature > 0:
            body |= {"top_p": decoding.top_p, "seed": seed}
        if decoding.stop and not (isinstance(prompt, ChatPrompt) and self._server.thinks):
            body["stop"] = list(decoding.stop)
        return body

    def _complete(self, prompt: Prompt, decoding: Decoding, seed: int, alone: bool) -> Completion:
        """One completion; ``alone`` in its window, so that its first token is the window's."""
        try:
            answer = self._client.complete("/v1/completions", self.request(prompt, decoding, seed))
        except OverContext as error:
            return over_context(str(error))
        markers = self._server.markers if isinstance(prompt, ChatPrompt) else None
        is_open = self._encoding(prompt).text.rstrip().endswith(self._server.markers.start)
        return completion(answer, decoding, alone=alone, markers=markers, may_be_open=is_open)

    def _encoding(self, prompt: Prompt) -> EncodedPrompt:
        if prompt not in self._encoded:
            self._encoded[prompt] = self._encode(prompt)
        return self._encoded[prompt]


def model_info(
    server: Server,
    checkpoint: Checkpoint,
    *,
    dtype: str,
    device: str,
    quantization: Mapping[str, Option],
    prompting: Mapping[str, Option] = MappingProxyType({}),
) -> ModelInfo:
    """The record of a checkpoint that a server of this run's runs."""
    return ModelInfo(
        name=checkpoint.name,
        adapter=checkpoint.adapter,
        engine=server.engine,
        chat=checkpoint.chat,
        checkpoint=checkpoint.location,
        revision=str(checkpoint.revision),
        quant=checkpoint.quant,
        quantization=dict(quantization),
        dtype=dtype,
        device=device,
        parameters=checkpoint.parameters,
        prompting=dict(prompting),
        engine_info=server.about(),
        **checkpoint.about(),
    )


def start(
    server: Server,
    options: LoadOptions,
    info: Callable[[str], ModelInfo],
    encode: Callable[[Client], Encode],
) -> ServedModel:
    """Start a server, wait until it is healthy, and return its model.

    Args:
        server: what to start.
        options: as the engine's ``load`` got them.
        info: from what the server has logged until it was healthy, the model's record.
        encode: from a connection to the server, how prompts become tokens.

    Raises:
        UsageError: it ends before it is healthy, with the end of its log, or is not in time.
    """
    process = ServerProcess(server, options.log or Path(tempfile.mkdtemp(prefix="passkwh-")) / f"{server.engine}.log")
    try:
        process.wait_until_healthy(float(options.options.get("start_s", START_S)), options.report)
        client = Client(process.url, process.key, direct=True)
        logged = process.log.read_text("utf-8", "replace")
        return ServedModel(process, server, client, info(logged), encode(client))
    except BaseException:
        process.close()
        raise


def check_names(engine: str, options: Mapping[str, Option], known: Iterable[str], reserved: Iterable[str] = ()) -> None:
    """UsageError for an option that an engine does not have, or that the run sets itself."""
    names = [*known, "start_s"]
    for name in options:
        if name in reserved:
            raise UsageError(f"--engine-option {name}: the run sets that itself for engine {engine}: leave it out")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(names)[:40])}"
            raise UsageError(f"--engine-option {name}: engine {engine} has no such option: {hint}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(program: str) -> dict[str, str]:
    """The run's environment; for another interpreter without what leads it to this one's packages."""
    ours = program == sys.executable
    return {name: value for name, value in os.environ.items() if ours or name not in ("PYTHONHOME", "PYTHONPATH")}
