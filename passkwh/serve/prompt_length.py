"""How many tokens a prompt has, counted for long ones in a process with limits.

A tokenizer splits a text by regular expressions that its model's maker wrote, so how long that takes depends on the
text. Short prompts are counted where they are generated. A long one is read by a process of its own first: where that
takes too much CPU time or memory, the process ends and the prompt is refused, and the thread that owns the model never
reads it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from passkwh.adapters.engines.base import Model, SupportsTokenizerFile, SupportsTokenOffsets
from passkwh.benchmarks.limited_worker import Failed, LimitedWorker, serve
from passkwh.serve.limits import Refused

SHORT_CHARS = 4096
"""Up to here counting takes milliseconds, whatever the text."""
CPU_S = 5.0
"""Of one prompt. The longest that is let through, 131,072 characters, takes up to 0.4 s."""


class PromptLength:
    """Counts the tokens of prompts of one model; for one thread at a time."""

    def __init__(self, model: Model, cpu_s: float = CPU_S) -> None:
        self._model = model
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._worker: LimitedWorker | None = None
        content = model.tokenizer_file() if isinstance(model, SupportsTokenizerFile) else None
        if content is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="passkwh-")
            file = Path(self._folder.name) / "tokenizer.json"
            file.write_text(content, "utf-8")
            self._worker = LimitedWorker(__name__, str(file), str(cpu_s))

    def tokens(self, text: str) -> int | None:
        """How many tokens the text has, special ones included; None where the model cannot say.

        Raises:
            Refused: 400, counting them took more than its limits.
        """
        if not isinstance(self._model, SupportsTokenOffsets):
            return None
        if len(text) <= SHORT_CHARS or self._worker is None:
            return len(self._model.token_ends(text))
        (answer,) = self._worker.ask([{"text": text}])
        if isinstance(answer, Failed):
            raise Refused(400, f"the prompt's tokens cannot be counted: {answer}", "too_long")
        return int(answer["tokens"])

    def close(self) -> None:
        """End the process and remove its file."""
        if self._worker is not None:
            self._worker.close()
        if self._folder is not None:
            self._folder.cleanup()


def main(file: str, cpu_s: str) -> None:
    """Count tokens with the tokenizer of ``file`` until there is no more to count."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(file)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"tokens": len(tokenizer.encode(request["text"]).ids)}

    serve(answer, float(cpu_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
