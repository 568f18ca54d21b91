"""``bench sweep run --set KEY=VALUE``: a study file with some of its values replaced, before it is checked.

=======================  ================================================================================
``repeats``, ``name``…   a setting of the study; ``resources.gpus`` is one of its table
``limit``, ``meter``…    an option of a run: every run gets it, whatever the file says
``benchmark.OPTION``     an option of every benchmark (``benchmark.data=FILE``)
``benchmark.NAME.OPTION``  the same, of one benchmark
``defaults.KEY``         one value of the file, as it stands there; so are ``matrix.KEY`` and ``runs.N.KEY``
=======================  ================================================================================

A value is read as TOML (``5``, ``true``, ``["a", "b"]``), and as text where it is none.
"""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from passkwh.errors import UsageError

Table = dict[str, Any]
ANYWHERE = ("hub", "embedded")
"""Values of ``data`` that are right for any benchmark that takes them."""


def apply(
    content: Mapping[str, Any],
    assignments: Sequence[str],
    *,
    settings: Sequence[str],
    resources: Sequence[str],
    run_keys: Sequence[str],
    benchmark_keys: Sequence[str],
) -> Table:
    """The parsed study file with the assignments made, in their order.

    Args:
        settings, resources, run_keys: the keys there are of the study, of its resources, and of a run.
        benchmark_keys: run keys that a benchmark's own table may set.

    Raises:
        UsageError: in one line, for a text without ``=``, or a key that there is not, with those that there are.
    """
    study = copy.deepcopy(dict(content))
    known = [key for key in settings if key != "resources"]
    for text in assignments:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text}: write KEY=VALUE, for example --set benchmark.data=FILE")
        value, (head, *rest) = _value(raw), key.split(".")

        def unknown(what: str, keys: Sequence[str], text: str = text) -> UsageError:
            close = difflib.get_close_matches(what, keys, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            return UsageError(f"--set {text}: there is no key {what}: {hint}keys are {', '.join(keys)}")

        if head == "resources" and len(rest) == 1:
            if rest[0] not in resources:
                raise unknown(key, [f"resources.{name}" for name in resources])
            _own(study, "resources")[rest[0]] = value
        elif head == "benchmark" and rest:
            _set_option(study, rest, value, text)
        elif head in ("defaults", "matrix", "runs") and rest:
            table, (*_, name) = _table(study, head, rest, text), rest
            if name not in run_keys:
                raise unknown(key, [".".join([head, *rest[:-1], name]) for name in run_keys])
            table[name] = value
        elif not rest and head in known:
            study[head] = value
        elif not rest and head in run_keys:
            _set_everywhere(study, head, value, head in benchmark_keys)
        else:
            raise unknown(
                key,
                [*known, *(f"resources.{name}" for name in resources),
                 *(name for name in run_keys if name not in known),
                 "benchmark.OPTION", "benchmark.NAME.OPTION", "defaults.KEY", "matrix.KEY", "runs.N.KEY"],
            )  # fmt: skip
    return study


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _own(study: Table, name: str) -> Table:
    """A table of the file by its name, made where it is missing."""
    table = study.setdefault(name, {})
    return table if isinstance(table, dict) else {}


def _cells(study: Table) -> list[Table]:
    """The tables that make runs."""
    return [table for table in (study.get("matrix"), *_runs(study)) if isinstance(table, dict)]


def _runs(study: Table) -> list[Any]:
    runs = study.get("runs")
    return runs if isinstance(runs, list) else []


def _table(study: Table, head: str, rest: Sequence[str], text: str) -> Table:
    if head != "runs":
        if len(rest) != 1:
            raise UsageError(f"--set {text}: write {head}.KEY")
        return _own(study, head)
    runs = _runs(study)
    if len(rest) != 2 or not rest[0].isdecimal() or not 1 <= int(rest[0]) <= len(runs):
        raise UsageError(f"--set {text}: write runs.N.KEY, with N from 1 to {len(runs)}, the [[runs]] of the file")
    chosen: Table = runs[int(rest[0]) - 1]
    return chosen


def _set_everywhere(study: Table, key: str, value: Any, in_benchmarks: bool) -> None:
    """An option of every run: in place of what any table says of it."""
    cells = _cells(study)
    for cell in cells:
        if key in cell or isinstance(value, list):  # a default cannot be a list
            cell[key] = value
    if not isinstance(value, list):
        _own(study, "defaults")[key] = value
    if in_benchmarks:
        _each_benchmark(study, lambda entry: {name: own for name, own in entry.items() if name != key})


def _set_option(study: Table, rest: Sequence[str], value: Any, text: str) -> None:
    """An option of every benchmark of the study, or of the one that is named."""
    names: list[str] = []

    def seen(entry: Table) -> Table:
        names.append(entry["name"])
        return entry

    _each_benchmark(study, seen)
    names = list(dict.fromkeys(names))
    wanted, option = (rest[0], rest[1]) if len(rest) == 2 else (None, rest[0])
    if len(rest) > 2 or option in names or (wanted is not None and wanted not in names):
        named = " or ".join(f"benchmark.{name}.OPTION" for name in names) or "the study names none"
        raise UsageError(f"--set {text}: write benchmark.OPTION for every benchmark, or {named}")
    if wanted is None and option == "data" and len(names) > 1 and value not in ANYWHERE:
        each = " ".join(f"--set benchmark.{name}.data=FILE" for name in names)
        raise UsageError(f"--set {text}: {' and '.join(names)} have data of their own: write {each}")
    shared = [table.pop("benchmark_options", {}) for table in (_own(study, "defaults"), *_cells(study))]

    def changed(entry: Table) -> Table:
        options = {name: own for table in shared for name, own in table.items()} | entry.get("options", {})
        if wanted in (None, entry["name"]):
            options[option] = value
        return {**entry, "options": options} if options else entry

    _each_benchmark(study, changed)
    if not names:
        _own(study, "defaults")["benchmark_options"] = {option: value}


def _each_benchmark(study: Table, change: Callable[[Table], Table]) -> None:
    """Replace every benchmark of the study, as a table with its name, by what ``change`` makes of it."""

    def made(entry: Any) -> Any:
        own = {"name": entry} if isinstance(entry, str) else entry
        whole = isinstance(own, dict) and isinstance(own.get("name"), str) and isinstance(own.get("options", {}), dict)
        return change(own) if whole else entry  # what is no benchmark is refused when the study is checked

    for table in (_own(study, "defaults"), *_cells(study)):
        if "benchmark" in table:
            named = table["benchmark"]
            table["benchmark"] = [made(entry) for entry in named] if isinstance(named, list) else made(named)
