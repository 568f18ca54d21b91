"""A study file (TOML) -> the configurations to be run.

Every key is checked; a mistake is named with file, table and key before anything starts. The tables are described in
docs/sweep.md.
"""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from passkwh.benchmarks import selection
from passkwh.errors import UsageError
from passkwh.harness.sweep import overrides
from passkwh.records import Record, Spec, content_hash

STUDIES = Path(__file__).with_name("studies")
"""Ready-made study files, named like the study they hold."""

KEYS = tuple(name for name in Spec.model_fields if name not in ("schema_version", "repeat"))
"""What a configuration can set. ``repeat`` comes from ``repeats``."""
BENCHMARK_KEYS = {"name": "benchmark", "options": "benchmark_options"} | {
    name: name for name in ("limit", "task_ids", "samples", "max_new_tokens", "batch_size", "concurrency")
}
"""What a benchmark's own table can set, and the field of the spec that it becomes."""


class Resources(Record):
    """What a run needs of a node of a cluster; on one machine nothing is chosen."""

    gpus: Annotated[int | None, Field(ge=0, description="1 where the cluster has any, when None")] = None
    accelerator: Annotated[str | None, Field(description="Ray's accelerator_type, for example L40S")] = None
    memory_gib: Annotated[float | None, Field(gt=0, description="main memory; the planned need when None")] = None


class StudySettings(Record):
    """How a study is carried out."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="also the name of its folder")]
    description: str = ""
    convention: Annotated[
        Literal["passkwh", "thesis", "green-code"],
        Field(description="which energy leads in analyses and reports of the study, unless --convention says another"),
    ] = "passkwh"
    repeats: Annotated[int, Field(ge=1)] = 1
    order: Annotated[
        Literal["random", "latin"],
        Field(description="random: all runs shuffled; latin: each repeat is a row of a balanced latin square"),
    ] = "random"
    seed: Annotated[int, Field(ge=0, lt=2**32, description="of the order")] = 0
    cool_down_s: Annotated[float, Field(ge=0, description="rest between two runs on one machine")] = 10.0
    hang_s: Annotated[float, Field(gt=0, description="a run without any progress for so long has hung")] = 3600.0
    retries: Annotated[int, Field(ge=0, description="how often a run that failed is tried again")] = 1
    stop_after: Annotated[int, Field(ge=1, description="so many failures alike in a row stop the study")] = 3
    resources: Resources = Resources()


@dataclass(frozen=True)
class StudyConfiguration:
    """One combination of a study, and the table of the file that asks for it."""

    origin: str
    spec: Spec


@dataclass(frozen=True)
class Study:
    """A checked study file."""

    file: str
    """As the user named it."""
    text: str
    settings: StudySettings
    configurations: tuple[StudyConfiguration, ...]

    def wrong(self, origin: str, key: str, problem: str) -> UsageError:
        """The error for a value that turned out wrong later, in the form of all others."""
        return _Reader(self.file).wrong(origin, key, problem)


def read(name: str, assignments: Sequence[str] = ()) -> Study:
    """The study of a file, or a ready-made one by name, with ``KEY=VALUE`` texts of ``--set`` put in.

    Raises:
        UsageError: no such file, not TOML, or a mistake in it, named with file and key.
    """
    path = Path(name)
    if not path.is_file():
        ready = STUDIES / f"{name}.toml"
        if not ready.is_file():
            known = names()
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(f"no study file {name}: {hint}give a TOML file or one of {', '.join(known)}")
        path = ready
    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: cannot be read as TOML: {error}") from error
    if assignments:
        content = overrides.apply(
            content, assignments, settings=tuple(StudySettings.model_fields), resources=tuple(Resources.model_fields),
            run_keys=KEYS, benchmark_keys=tuple(BENCHMARK_KEYS),
        )  # fmt: skip
        text = "".join(f"# --set {' '.join(assignment.split())}\n" for assignment in assignments) + text
    return parse(content, text, name)


def names() -> list[str]:
    """Names of the ready-made studies, sorted."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def parse(content: Mapping[str, Any], text: str, file: str) -> Study:
    """The study that the parsed TOML ``content`` describes. Raises UsageError naming ``file`` and key."""
    reader = _Reader(file)
    settings = reader.settings(content)
    defaults = reader.table(content, "defaults")
    for key, value in defaults.items():
        if isinstance(value, list):
            raise reader.wrong("[defaults]", key, "a default is one value; a list belongs into [matrix]")
    kept = reader.filter(content, reader.cells(reader.table(content, "matrix"), "[matrix]"))
    for number, table in enumerate(reader.tables(content, "runs"), start=1):
        kept += reader.cells(table, f"[[runs]] {number}")
    if not kept:
        raise UsageError(f"{file}: there is nothing to run: give [matrix] or [[runs]] with at least a model")
    configurations: dict[str, StudyConfiguration] = {}
    for origin, cell in kept:
        spec = reader.spec(origin, {**defaults, **cell})
        same = configurations.setdefault(content_hash(spec.model_dump()), StudyConfiguration(origin, spec))
        if same.spec is not spec:
            raise UsageError(f"{file}: {origin} asks for {_shown(cell)} again, which {same.origin} has: remove one")
    return Study(file, text, settings, tuple(configurations.values()))


Cell = dict[str, Any]


class _Reader:
    """Checks tables of one file, so that every message can name it."""

    def __init__(self, file: str) -> None:
        self._file = file

    def wrong(self, table: str, key: str, problem: str) -> UsageError:
        return UsageError(f"{self._file}: {' '.join(filter(None, (table, key)))}: {problem}")

    def settings(self, content: Mapping[str, Any]) -> StudySettings:
        tables = ("defaults", "matrix", "include", "exclude", "runs")
        self._known("", content, (*tables, *StudySettings.model_fields))
        resources = content.get("resources", {})
        if not isinstance(resources, dict):
            raise self.wrong("[resources]", "", "must be a table")
        self._known("[resources]", resources, tuple(Resources.model_fields))
        try:
            return StudySettings.model_validate({k: v for k, v in content.items() if k not in tables}, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            raise self.wrong("", ".".join(map(str, problem["loc"])), problem["msg"]) from error

    def table(self, content: Mapping[str, Any], name: str) -> Cell:
        table = content.get(name, {})
        if not isinstance(table, dict):
            raise self.wrong(f"[{name}]", "", "must be a table")
        self._known(f"[{name}]", table, KEYS)
        return table

    def tables(self, content: Mapping[str, Any], name: str) -> list[Cell]:
        entries = content.get(name, [])
        if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
            raise self.wrong(f"[[{name}]]", "", "must be a list of tables")
        for number, entry in enumerate(entries, start=1):
            self._known(f"[[{name}]] {number}", entry, KEYS)
            if not entry:
                raise self.wrong(f"[[{name}]] {number}", "", "is empty")
        return entries

    def _known(self, table: str, keys: Iterable[str], known: Sequence[str]) -> None:
        for key in keys:
            if key not in known:
                close = difflib.get_close_matches(key, known if table else (*known, *KEYS), n=1, cutoff=0.5)
                hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
                if close and close[0] not in known:
                    hint = f"{close[0]} belongs into [defaults], [matrix] or [[runs]]"
                raise self.wrong(table, key, f"unknown key; {hint}")

    def cells(self, axes: Cell, origin: str) -> list[tuple[str, Cell]]:
        """Every combination of the lists in ``axes``; a value that is no list is a list of one."""
        lists: list[list[Any]] = []
        for key, value in axes.items():
            values = value if isinstance(value, list) else [value]
            if not values:
                raise self.wrong(origin, key, "the list is empty, so there is no combination")
            for index, entry in enumerate(values):
                if entry in values[:index]:
                    raise self.wrong(origin, key, f"{_value(entry)} stands twice in the list")
            lists.append(values)
        return [
            (origin, dict(zip(axes, combination, strict=True))) for combination in itertools.product(*lists) if axes
        ]

    def filter(self, content: Mapping[str, Any], cells: list[tuple[str, Cell]]) -> list[tuple[str, Cell]]:
        """Of the matrix, what some ``[[include]]`` matches (all, where there is none) and no ``[[exclude]]`` does."""
        included, excluded = self.tables(content, "include"), self.tables(content, "exclude")
        for name, entries in (("include", included), ("exclude", excluded)):
            for number, entry in enumerate(entries, start=1):
                if not any(_matches(entry, cell) for _, cell in cells):
                    raise self.wrong(
                        f"[[{name}]] {number}", "", f"{_shown(entry)} matches no combination of [matrix]: remove it"
                    )
        kept = [cell for cell in cells if not included or any(_matches(entry, cell[1]) for entry in included)]
        for number, entry in enumerate(excluded, start=1):
            left = [cell for cell in kept if not _matches(entry, cell[1])]
            if len(left) == len(kept):
                raise self.wrong(
                    f"[[exclude]] {number}", "", f"{_shown(entry)} is left out already by what stands before: remove it"
                )
            kept = left
        if cells and not kept:
            among = "that [[include]] keeps" if included else "of [matrix]"
            raise UsageError(f"{self._file}: [[exclude]]: every combination {among} is excluded: keep at least one")
        return kept

    def spec(self, origin: str, cell: Cell) -> Spec:
        values = dict(cell)
        benchmark = values.get("benchmark")
        if isinstance(benchmark, dict):
            self._known(f"{origin} benchmark", benchmark, tuple(BENCHMARK_KEYS))
            if "name" not in benchmark:
                raise self.wrong(origin, "benchmark", "the table needs a name")
            own = {BENCHMARK_KEYS[key]: value for key, value in benchmark.items()}
            for key in own.keys() & cell.keys() - {"benchmark"}:
                raise self.wrong(origin, key, f"is set here and by benchmark {benchmark['name']}: set it once")
            values |= own
        if values.get("model") is None:
            raise self.wrong(origin, "model", "is missing: every configuration needs one")
        for key in ("exit", "limit", "max_new_tokens"):
            if values.get(key) == "none":  # TOML has no null, and a list of rules wants one that is none
                values[key] = None
        if "task_ids" in values:
            values["task_ids"] = self._task_ids(origin, values["task_ids"])
        if type(values.get("thinking")) is int:  # a number of tokens
            values["thinking"] = str(values["thinking"])
        try:
            return Spec.model_validate(values, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            raise self.wrong(origin, ".".join(map(str, problem["loc"])), problem["msg"]) from error

    def _task_ids(self, origin: str, value: Any) -> tuple[str, ...]:
        """Ids as a list (in a benchmark's table, where it is no axis) or as ``--task-ids`` takes them."""
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return tuple(value)
        if not isinstance(value, str):
            raise self.wrong(origin, "task_ids", 'write "A,B,..." or "@FILE" with an id a line')
        try:
            return () if value == "none" else selection.parse(value)
        except UsageError as error:
            raise self.wrong(origin, "task_ids", str(error)) from None


def _matches(entry: Cell, cell: Cell) -> bool:
    """Every key of ``entry`` (a value, or a list of which one suffices) is what the cell has."""
    return all(_one_of(value, cell.get(key)) for key, value in entry.items())


def _one_of(wanted: Any, value: Any) -> bool:
    values = wanted if isinstance(wanted, list) else [wanted]
    name = value.get("name") if isinstance(value, dict) else value
    return value in values or name in values


def _shown(cell: Cell) -> str:
    return ", ".join(f"{key} = {_value(value)}" for key, value in cell.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name", value))
    return f'"{value}"' if isinstance(value, str) else str(value)
