"""Which of BigCodeBench's seven domains a task touches, by the libraries it uses (table 5.1 of the thesis)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib import resources

import pandas as pd

REGRESSION_DOMAINS = ("Computation", "Cryptography", "Network", "System", "Time", "Visualization")
"""The dummies of the thesis's regressions, in its order; it leaves General out."""


@cache
def _map() -> dict[str, dict[str, list[str]]]:
    text = resources.files("passkwh.analysis").joinpath("data/bigcodebench_domains.json").read_text("utf-8")
    data = json.loads(text)
    tasks = {domain: [f"BigCodeBench/{number}" for number in numbers] for domain, numbers in data["tasks"].items()}
    return {"libraries": data["libraries"], "tasks": tasks}


def task_domains(task_ids: Iterable[str]) -> pd.DataFrame:
    """A 0/1 column for each of the seven domains, indexed by task; no columns when no task is BigCodeBench's.

    A task may touch several domains.
    """
    index = pd.Index(list(dict.fromkeys(task_ids)), name="task_id")
    members = {domain: set(tasks) for domain, tasks in _map()["tasks"].items()}
    if not any(task in tasks for task in index for tasks in members.values()):
        return pd.DataFrame(index=index)
    return pd.DataFrame({d: [int(task in tasks) for task in index] for d, tasks in members.items()}, index=index)


def domain_libraries() -> dict[str, list[str]]:
    """The libraries that put a task into each domain."""
    return dict(_map()["libraries"])
