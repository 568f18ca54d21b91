"""Which of BigCodeBench's seven domains a task touches, by the libraries it uses (table 5.1 of the thesis)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Literal

import pandas as pd

from passkwh.analysis.data_files import data_file

REGRESSION_DOMAINS = ("Computation", "Cryptography", "Network", "System", "Time", "Visualization")
"""The dummies of the thesis's regressions, in its order; it leaves General out."""


DomainMap = Literal["libraries", "text"]
"""By the libraries that BigCodeBench lists for a task; or by names of libraries anywhere in its prompt and solution,
parts of other words too (``re`` in ``return``), which gives table 5.1's shares: 100 % of tasks General, 93 % System."""


@cache
def _members(by: DomainMap) -> dict[str, frozenset[str]]:
    if by == "libraries":
        numbers = data_file("bigcodebench_domains.json")["tasks"]
    else:
        bits = {domain: int(own, 16) for domain, own in data_file("bigcodebench_text_domains.json")["tasks"].items()}
        numbers = {domain: [n for n in range(own.bit_length()) if own >> n & 1] for domain, own in bits.items()}
    return {domain: frozenset(f"BigCodeBench/{number}" for number in own) for domain, own in numbers.items()}


def task_domains(task_ids: Iterable[str], by: DomainMap = "libraries") -> pd.DataFrame:
    """A 0/1 column for each of the seven domains, indexed by task; no columns when no task is BigCodeBench's.

    A task may touch several domains.
    """
    index = pd.Index(list(dict.fromkeys(task_ids)), name="task_id")
    members = _members(by)
    if not any(task in tasks for task in index for tasks in members.values()):
        return pd.DataFrame(index=index)
    return pd.DataFrame({d: [int(task in tasks) for task in index] for d, tasks in members.items()}, index=index)
