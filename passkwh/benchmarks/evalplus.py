"""EvalPlus's forms of HumanEval and MBPP: the same tasks with many more tests, never to be taken for the originals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from passkwh.errors import UsageError

_INPUTS = ("base_input", "plus_input")
_TEST = re.compile(r"^\s*(?:def assertion\(|inputs\s*=\s*\[)", re.MULTILINE)


def is_test(test: str) -> bool:
    """Whether a test is of the form that EvalPlus's data sets on the hub have: lists of inputs and results."""
    return bool(_TEST.search(test))


def refuse_inputs(where: str, row: Mapping[str, Any]) -> None:
    """UsageError for a row of EvalPlus's releases, whose own tests are data for its evaluator and no code."""
    if present := [name for name in _INPUTS if name in row]:
        raise UsageError(
            f"{where}: the form of EvalPlus's releases, whose tests are inputs ({', '.join(present)}) and no code: "
            "run it as --benchmark humanevalplus or mbppplus"
        )


def name(base: str, is_plus: Mapping[str, bool]) -> str:
    """What a benchmark of these tasks is called; UsageError where only some are EvalPlus's."""
    if not any(is_plus.values()):
        return base
    if not all(is_plus.values()):
        plus = next(task_id for task_id, plus in is_plus.items() if plus)
        plain = next(task_id for task_id, plus in is_plus.items() if not plus)
        raise UsageError(f"the data mix {base}+ ({plus}) and {base} ({plain}): give a file of one of them")
    return f"{base}+"
