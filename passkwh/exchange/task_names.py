"""Names of other tools for benchmarks and tasks, as ours."""

from __future__ import annotations

import re
from collections.abc import Iterable

from passkwh.registry import BENCHMARKS

_PATTERNS = (
    (re.compile(r"bigcodebench"), "bigcodebench"),
    (re.compile(r"human_?eval[-_]?infill"), "humaneval-infilling"),
    (re.compile(r"human_?eval[-_]?(pack|fix|synthesize)"), "humanevalpack"),
    (re.compile(r"live_?code_?bench"), "livecodebench"),
    (re.compile(r"human_?eval(?!.*(infill|pack|x\b|multiple))"), "humaneval"),
    (re.compile(r"mbpp"), "mbpp"),
)
"""In the last part of a name, in lower case: ``inspect_evals/humaneval``, ``humaneval_instruct``, ``mbpp_plus``."""


def benchmark_named(name: str) -> str | None:
    """Our name of a benchmark that another tool names; None where it is none of ours.

    >>> [benchmark_named(name) for name in ("inspect_evals/humaneval", "mbpp_plus", "humanevalfix-java", "gsm8k")]
    ['humaneval', 'mbpp', 'humanevalpack', None]
    """
    last = name.rsplit("/", 1)[-1].lower()
    if last in BENCHMARKS:
        return last
    for pattern, benchmark in _PATTERNS:
        if pattern.search(last):
            return benchmark
    return None


def task_names(task_ids: Iterable[str]) -> dict[str, str]:
    """Ids of tasks by the forms in which other harnesses write them: in other case, or the number alone."""
    names: dict[str, str] = {}
    for task_id in task_ids:
        names[task_id.casefold()] = task_id
        names.setdefault(task_id.rpartition("/")[2].casefold(), task_id)
    return names
