"""Extraction under a limit: programs out of answers, in a process of its own.

Started by ``LimitedWorker`` as ``python -m passkwh.benchmarks.extraction``.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from passkwh.benchmarks import extract
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.limited_worker import Failed, LimitedWorker, serve
from passkwh.benchmarks.reasoning import without_reasoning

Way = Literal["official", "fenced", "whole"]
_lock = Lock()


def program(
    way: Way, text: str, entry_point: str = "", *, stops: Sequence[str] = (), continued: str | None = None
) -> Program:
    """The program in a text, by one of the ways of ``extract``.

    Args:
        stops: the text is cut before the first of them, as the official tool does (bigcodebench).
        continued: the prompt that the text continues; None for an answer, which may hold reasoning.

    Raises:
        Failed: it takes too long, too much memory, or fails otherwise; the message says what.
    """
    request = {"way": way, "text": text, "entry_point": entry_point, "stops": list(stops), "continued": continued}
    with _lock:
        (answer,) = _worker(os.getpid()).ask([request])
    if isinstance(answer, Failed):
        raise Failed(f"no program could be extracted: {answer}")
    return Program(**answer)


@lru_cache(maxsize=1)
def _worker(process: int) -> LimitedWorker:
    """One for each process, which ends with it (and not with a fork of it)."""
    worker = LimitedWorker("passkwh.benchmarks.extraction")
    atexit.register(lambda: worker.close() if os.getpid() == process else None)
    return worker


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    text, entry_point, continued = request["text"], request["entry_point"], request["continued"]
    if continued is None:
        text = without_reasoning(text)
    if request["stops"]:
        text = extract.official_cut(text, request["stops"])
    text = (continued or "") + text
    if request["way"] == "official":
        code = extract.official(text, entry_point)
        return {"code": code, "remark": extract.official_remark(text, code, entry_point)}
    if request["way"] == "whole":
        return {"code": extract.whole(text)}
    code = extract.fenced(text, entry_point)
    return {"code": code, "remark": extract.undefined_remark(code, entry_point)}


if __name__ == "__main__":
    serve(_answer)
