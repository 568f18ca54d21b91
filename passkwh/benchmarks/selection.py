"""Which tasks of a benchmark are meant: those named by ``--task-ids``, of these the first so many (``--limit``)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from passkwh.errors import UsageError

T = TypeVar("T")

_NAMED = 3
"""Of unknown ids: a message names so many, with the known ones that come nearest."""


def parse(text: str) -> tuple[str, ...]:
    """The ids in ``A,B,...``, or in the file of ``@FILE``, one a line; an id with a comma in it needs a file.

    Raises:
        UsageError: no id in it, or a file that cannot be read.

    Example:
        >>> parse("HumanEval/0, HumanEval/7")
        ('HumanEval/0', 'HumanEval/7')
    """
    if text.startswith("@"):
        try:
            parts = Path(text[1:]).expanduser().read_text("utf-8-sig").split("\n")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"task ids {text}: the file cannot be read ({why}): give one with an id a line") from None
    else:
        parts = text.split(",")
    ids = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not ids:
        raise UsageError(f"task ids {text!r} name no task: write A,B,... or @FILE with an id a line")
    return ids


def chosen(benchmark: str, tasks: Iterable[tuple[str, T]], task_ids: Sequence[str], limit: int | None) -> dict[str, T]:
    """Of ``tasks`` (id, task), in their order: those in ``task_ids`` (all where it is empty), of them the first
    ``limit``.

    Raises:
        UsageError: an id that none of the tasks has, with those that come nearest.
    """
    if not task_ids:
        return dict(islice(tasks, limit))
    every = dict(tasks)
    if unknown := [task_id for task_id in task_ids if task_id not in every]:
        raise UsageError(_unknown(benchmark, unknown, list(every)))
    wanted = frozenset(task_ids)
    return dict(islice(((task_id, task) for task_id, task in every.items() if task_id in wanted), limit))


def _unknown(benchmark: str, unknown: Sequence[str], known: Sequence[str]) -> str:
    named = [f"{task_id!r}{_nearest(task_id, known)}" for task_id in unknown[:_NAMED]]
    more = f" and {len(unknown) - _NAMED} others" if len(unknown) > _NAMED else ""
    return f"{benchmark} has no task {', '.join(named)}{more}; its {len(known)} tasks are {known[0]} to {known[-1]}"


def _nearest(task_id: str, known: Sequence[str]) -> str:
    """Ids that are meant, perhaps: equal but for case or what stands before the number, or alike."""
    last = task_id.rpartition("/")[2].casefold()
    close = [one for one in known if one.rpartition("/")[2].casefold() == last]
    close = (close or difflib.get_close_matches(task_id, known, n=3, cutoff=0.4))[:3]
    return f" (did you mean {' or '.join(close)}?)" if close else ""
