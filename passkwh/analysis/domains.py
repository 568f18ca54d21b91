"""Which of BigCodeBench's seven domains a task touches, by the libraries it uses (table 5.1 of the thesis)."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from passkwh.analysis.data_files import data_file

REGRESSION_DOMAINS = ("Computation", "Cryptography", "Network", "System", "Time", "Visualization")
"""The dummies of the thesis's regressions, in its order; it leaves General out."""


def task_domains(task_ids: Iterable[str]) -> pd.DataFrame:
    """A 0/1 column for each of the seven domains, indexed by task; no columns when no task is BigCodeBench's.

    A task may touch several domains.
    """
    index = pd.Index(list(dict.fromkeys(task_ids)), name="task_id")
    numbers = data_file("bigcodebench_domains.json")["tasks"]
    members = {domain: {f"BigCodeBench/{number}" for number in own} for domain, own in numbers.items()}
    if not any(task in tasks for task in index for tasks in members.values()):
        return pd.DataFrame(index=index)
    return pd.DataFrame({d: [int(task in tasks) for task in index] for d, tasks in members.items()}, index=index)
