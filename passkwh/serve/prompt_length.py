"""How many tokens a prompt has, counted for long ones in a process with limits.

A tokenizer splits a text by regular expressions that its model's maker wrote, so how long that takes depends on the
text. Short prompts are counted where they are generated. A long one is read by a process of its own, before it is
queued: where that takes too much CPU time or memory, the process ends and the prompt is refused; the thread that owns
the model neither reads it nor waits for it.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from passkwh.adapters.engines.base import Model, SupportsTokenizerFile, SupportsTokenOffsets
from passkwh.benchmarks.limited_worker import Failed, LimitedWorker, serve
from passkwh.prompts import Prompt, TextPrompt
from passkwh.serve.limits import Refused, stopping

SHORT_CHARS = 4096
"""Up to here, without the model's template, counting takes milliseconds, whatever the text."""
CPU_S = 5.0
"""Of one prompt. The longest that is let through, 131,072 characters, takes up to 0.4 s."""


class PromptLength:
    """Counts the tokens of prompts of one model."""

    def __init__(self, model: Model, cpu_s: float = CPU_S) -> None:
        self._model = model
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._worker: LimitedWorker | None = None
        self._closing = False
        self._ahead = ThreadPoolExecutor(1, "passkwh-prompt-length")
        content = model.tokenizer_file() if isinstance(model, SupportsTokenizerFile) else None
        if content is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="passkwh-")
            file = Path(self._folder.name) / "tokenizer.json"
            file.write_text(content, "utf-8")
            self._worker = LimitedWorker(__name__, str(file), str(cpu_s))

    def ahead(self, prompt: Prompt) -> Future[int] | None:
        """The count of a prompt that takes time, begun on a thread of its own; None for any other.

        The future raises Refused: 400, counting took more than its limits; 503, the server ends meanwhile.
        """
        if characters(prompt) <= SHORT_CHARS or self._worker is None or self._closing:
            return None
        try:
            return self._ahead.submit(self._read, self._worker, prompt)
        except RuntimeError:  # closed in between: the batcher refuses what comes now
            return None

    def tokens(self, prompt: Prompt) -> int | None:
        """How many tokens the prompt has, special ones and a template's included; None where the model cannot say.

        On the thread that owns the model. Raises Refused as the future of ``ahead``.
        """
        counting = self.ahead(prompt)
        if counting is not None:
            return counting.result()
        if not isinstance(self._model, SupportsTokenOffsets):
            return None
        return len(self._model.token_ends(self._model.render(prompt)))

    def close(self) -> None:
        """End the process and remove its file; prompts that wait to be read are refused."""
        self._closing = True
        self._ahead.shutdown()
        if self._worker is not None:
            self._worker.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _read(self, worker: LimitedWorker, prompt: Prompt) -> int:
        if self._closing:
            raise stopping()
        (answer,) = worker.ask([{"text": self._model.render(prompt)}])
        if isinstance(answer, Failed):
            raise Refused(400, f"the prompt's tokens cannot be counted: {answer}", "too_long")
        return int(answer["tokens"])


def characters(prompt: Prompt) -> int:
    """Of what its author wrote, without a template."""
    return len(prompt.text) if isinstance(prompt, TextPrompt) else len(prompt.user) + len(prompt.system or "")


def main(file: str, cpu_s: str) -> None:
    """Count tokens with the tokenizer of ``file`` until there is no more to count."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(file)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"tokens": len(tokenizer.encode(request["text"]).ids)}

    serve(answer, float(cpu_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
