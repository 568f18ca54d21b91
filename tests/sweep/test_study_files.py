"""Study files: what they expand to, and that every mistake in one is named with file and key before anything starts."""

from __future__ import annotations

import itertools
import json
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.analysis.estimate.study import EarlierRun, forecast
from passkwh.cli import main as program
from passkwh.cli.sweep_dry_run import dry_run
from passkwh.errors import UsageError
from passkwh.harness.sweep.ledger import record, refuse_problems
from passkwh.harness.sweep.order import arrange, balanced_square, ordered
from passkwh.harness.sweep.preflight import inspect
from passkwh.harness.sweep.study import Study, StudySettings, names, parse, read
from passkwh.reports.leaderboard.published import published_rows
from tests.sweep.conftest import StudyFile

BASE = 'name = "s"\n'


def study(text: str) -> Study:
    return parse(tomllib.loads(BASE + text), text, "s.toml")


def message(text: str) -> str:
    with pytest.raises(UsageError) as error:
        study(text)
    shown = str(error.value)
    assert shown.startswith("s.toml")
    assert "\n" not in shown
    return shown


def test_a_matrix_is_every_combination_over_the_defaults() -> None:
    found = study(
        "[defaults]\nlimit = 3\n[matrix]\nmodel = ['a', 'b']\nquant = ['none', 'awq']\nbatch_size = [1, 4, 8]\nseed = 5"
    )
    specs = [configuration.spec for configuration in found.configurations]
    assert {(s.model, s.quant, s.batch_size) for s in specs} == {
        (m, q, b) for m in "ab" for q in ("none", "awq") for b in (1, 4, 8)
    }
    assert {(s.limit, s.seed) for s in specs} == {(3, 5)}


def test_include_keeps_exclude_drops_and_runs_add() -> None:
    found = study(
        "[matrix]\nmodel = ['a', 'b', 'c']\nquant = ['none', 'awq']\n"
        "benchmark = [{ name = 'py150', limit = 3 }, 'mbpp']\n"
        "[[include]]\nmodel = ['a', 'b']\n"
        "[[exclude]]\nmodel = 'b'\nquant = 'awq'\n[[exclude]]\nbenchmark = 'py150'\nquant = 'awq'\n"
        "[[runs]]\nmodel = 'd'\nbatch_size = [1, 2]\nbenchmark = 'mbpp'"
    )
    assert [(c.spec.model, c.spec.quant, c.spec.benchmark, c.spec.batch_size) for c in found.configurations] == [
        ("a", "none", "py150", 1), ("a", "none", "mbpp", 1), ("a", "awq", "mbpp", 1),
        ("b", "none", "py150", 1), ("b", "none", "mbpp", 1), ("d", "none", "mbpp", 1), ("d", "none", "mbpp", 2),
    ]  # fmt: skip
    assert [c.spec.limit for c in found.configurations][:2] == [3, None]
    assert found.configurations[-1].origin == "[[runs]] 1"


def test_exit_rules_are_a_list_like_any_other() -> None:
    found = study("[matrix]\nmodel = 'a'\nexit = ['none', 'fixed:12', 'agent:0.9']")
    assert [c.spec.exit for c in found.configurations] == [None, "fixed:12", "agent:0.9"]


MISTAKES = {
    "unknown key": ("[matrix]\nmodel = 'a'\nquants = ['none']", ["[matrix] quants", "did you mean quant?"]),
    "unknown top-level key": ("repeat = 3\n[matrix]\nmodel = 'a'", ["repeat:", "did you mean repeats?"]),
    "unknown table": ("[matriks]\nmodel = 'a'", ["matriks", "did you mean matrix?"]),
    "a run's key at the top": ("model = 'a'", ["model: unknown key", "[defaults], [matrix] or [[runs]]"]),
    "a misspelt run's key at the top": ("modle = 'a'", ["modle: unknown key", "model belongs into [defaults]"]),
    "resources that are no table": ("resources = 3\n[matrix]\nmodel = 'a'", ["[resources]: must be a table"]),
    "unknown resource": ("[matrix]\nmodel = 'a'\n[resources]\ngpu = 1", ["[resources] gpu", "did you mean gpus?"]),
    "unknown key of a benchmark": (
        "[matrix]\nmodel = 'a'\nbenchmark = { name = 'mbpp', limits = 2 }", ["benchmark limits", "did you mean limit?"]
    ),
    "benchmark without a name": ("[matrix]\nmodel = 'a'\nbenchmark = { limit = 2 }", ["[matrix] benchmark", "name"]),
    "set twice": ("[matrix]\nmodel = 'a'\nlimit = 3\nbenchmark = { name = 'mbpp', limit = 2 }", ["limit", "once"]),
    "no matrix": ("", ["nothing to run", "[matrix]"]),
    "empty matrix": ("[matrix]", ["nothing to run"]),
    "empty list": ("[matrix]\nmodel = []", ["[matrix] model", "empty"]),
    "the same twice": ("[matrix]\nmodel = ['a', 'a']", ["[matrix] model", '"a" stands twice']),
    "no model": ("[matrix]\nquant = ['none']", ["[matrix] model", "missing"]),
    "a list as a default": ("[defaults]\nmodel = ['a']", ["[defaults] model", "[matrix]"]),
    "excludes everything": ("[matrix]\nmodel = 'a'\n[[exclude]]\nmodel = 'a'", ["[[exclude]]", "every combination"]),
    "excludes what is included": (
        "[matrix]\nmodel = ['a', 'b']\n[[include]]\nmodel = 'a'\n[[exclude]]\nmodel = 'a'",
        ["[[exclude]]", "every combination that [[include]] keeps"],
    ),
    "excludes nothing": ("[matrix]\nmodel = 'a'\n[[exclude]]\nmodel = 'b'", ["[[exclude]] 1: model = \"b\""]),
    "includes nothing": ("[matrix]\nmodel = 'a'\n[[include]]\nquant = 'awq'", ["[[include]] 1", "no combination"]),
    "excludes twice": (
        "[matrix]\nmodel = ['a', 'b']\n[[exclude]]\nmodel = 'a'\n[[exclude]]\nmodel = 'a'", ["[[exclude]] 2", "already"]
    ),
    "excludes what is not included": (
        "[matrix]\nmodel = ['a', 'b']\n[[include]]\nmodel = 'a'\n[[exclude]]\nmodel = 'b'", ["[[exclude]] 1", "already"]
    ),
    "an empty exclude": ("[matrix]\nmodel = 'a'\n[[exclude]]", ["[[exclude]] 1", "empty"]),
    "run twice": ("[matrix]\nmodel = 'a'\n[[runs]]\nmodel = 'a'", ["[[runs]] 1", "[matrix] has"]),
    "wrong type": ("[matrix]\nmodel = 'a'\nbatch_size = ['4']", ["[matrix] batch_size", "integer"]),
    "out of range": ("[matrix]\nmodel = 'a'\nbatch_size = [0]", ["[matrix] batch_size", "greater than"]),
    "unknown order": ("order = 'sorted'\n[matrix]\nmodel = 'a'", ["order", "'random' or 'latin'"]),
    "repeats 0": ("repeats = 0\n[matrix]\nmodel = 'a'", ["repeats", "greater than"]),
    "negative rest": ("cool_down_s = -1\n[matrix]\nmodel = 'a'", ["cool_down_s", "greater than"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str) -> None:
    text, expected = MISTAKES[name]
    shown = message(text)
    for words in expected:
        assert words in shown, shown


def test_a_name_that_is_a_path_is_refused() -> None:
    with pytest.raises(UsageError, match="name"):
        parse({"name": "../evil", "matrix": {"model": "a"}}, "", "s.toml")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean smollm2"):
        read("smollm")
    broken = tmp_path / "broken.toml"
    broken.write_text("[matrix\n")
    with pytest.raises(UsageError, match=r"broken\.toml: cannot be read as TOML.*line 1"):
        read(str(broken))


def test_ready_made_studies_are_the_published_ones() -> None:
    found = {name: read(name) for name in names()}
    sizes = {name: len(study.configurations) for name, study in found.items()}
    assert sizes == {
        "concurrency-ladder": 10, "early-exit": 22, "engines": 6, "green-code": 78, "green-code-grid": 32,
        "smollm2": 4, "thesis-awq": 10, "thesis-batch-size": 9,
        "thesis-fine-tuning": 10, "thesis-gptq": 25, "thesis-model-size": 5,
    }  # fmt: skip
    assert all(study.settings.name == name for name, study in found.items())
    gptq = [c.spec for c in found["thesis-gptq"].configurations]
    assert all(spec.quant == "none" or spec.model.endswith("-instruct") for spec in gptq)
    inside = {(spec.model, spec.quant) for spec in gptq}
    for name in ("thesis-model-size", "thesis-fine-tuning", "thesis-awq"):
        assert {(c.spec.model, c.spec.quant) for c in found[name].configurations} <= inside


AUTHORS_EXITS = {
    "llama-3.2-3b": (4, 6, 8, 10, 12, 14, 18, 22, 26, 28),
    "opt-2.7b": (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}
"""Exits of GREEN-CODE's released code, counted from 1, and the last layer."""


@pytest.mark.parametrize(("model", "printed"), [("llama-3.2-3b", "Llama-3.2-3B"), ("opt-2.7b", "OPT-2.7B")])
@pytest.mark.parametrize(("benchmark", "language"), [("javacorpus", "java"), ("py150", "python")])
def test_the_green_code_studies_hold_the_published_grid_and_all_that_its_figures_need(
    model: str, printed: str, benchmark: str, language: str
) -> None:
    def exits(name: str) -> list[str]:
        specs = (c.spec for c in read(name).configurations)
        return [spec.exit or "none" for spec in specs if (spec.model, spec.benchmark) == (model, benchmark)]

    def rules(name: str) -> list[str]:
        return [exit.partition(",")[0] for exit in exits(name)]

    rows = [r for r in published_rows() if (r.tasks_key, r.model) == (f"green-code-{language}", printed)]
    depth = AUTHORS_EXITS[model][-1]
    published = [row.exit or ("none" if row.tuning == "base" else f"fixed:{depth}") for row in rows]
    assert sorted(rules("green-code-grid")) == sorted(published)
    fixed = {f"fixed:{layer}" for layer in AUTHORS_EXITS[model]}
    assert sorted(rules("green-code")) == sorted({*published, *fixed, "oracle", "agent:1"})
    assert {exit.partition(",bundle=")[2] for exit in exits("green-code")} == {"", f"bundles/{model}-{language}"}
    assert set(exits("green-code-grid")) < set(exits("green-code"))


@pytest.mark.parametrize(
    ("assignment", "read_as"),
    [
        ("limit=7", {"limit": {7}}),
        ("batch_size=2", {"batch_size": {2}}),
        ("model=z", {"model": {"z"}}),
        ("quant=['none','awq','gptq']", {"quant": {"none", "awq", "gptq"}}),
        ("max_new_tokens=none", {"max_new_tokens": {None}}),
        ("defaults.temperature=0.5", {"temperature": {0.5}}),
        ("matrix.quant=none", {"quant": {"none"}}),
        ("runs.1.samples=4", {"samples": {1, 4}}),
        ("benchmark.mbpp.data=x y.jsonl", {"benchmark_options": {"data=x y.jsonl", "task=line"}}),
        ("benchmark.data=embedded", {"benchmark_options": {"data=embedded", "data=embedded,task=line"}}),
    ],
)
def test_values_of_a_study_file_are_set_on_the_command_line(
    tmp_path: Path, assignment: str, read_as: dict[str, set[Any]]
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        BASE + "[defaults]\nmax_new_tokens = 9\n[matrix]\nmodel = 'a'\nquant = ['none', 'awq']\n"
        "benchmark = [{ name = 'py150', limit = 3, options = { task = 'line' } }, 'mbpp']\n"
        "[[runs]]\nmodel = 'b'\nbenchmark = 'mbpp'\nbatch_size = 4\nsamples = 1"
    )
    found = read(str(file), [assignment])
    assert found.text.startswith(f"# --set {assignment}\n")
    for key, values in read_as.items():
        shown = {_value_of(getattr(c.spec, key)) for c in found.configurations}
        assert shown == values


def _value_of(value: Any) -> Any:
    return ",".join(f"{k}={v}" for k, v in sorted(value.items())) if isinstance(value, dict) else value


def test_settings_are_set_too_and_the_order_counts() -> None:
    found = read("smollm2", ["repeats=5", "resources.gpus=0", "name=mine", "repeats=3"])
    assert (found.settings.repeats, found.settings.resources.gpus, found.settings.name) == (3, 0, "mine")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("limit", "write KEY=VALUE"),
        ("repeat=3", "there is no key repeat: did you mean repeats? keys are name, description, convention, repeats"),
        ("resources.gpu=1", "did you mean resources.gpus?"),
        ("matrix.modell=x", "did you mean matrix.model? keys are matrix.model, matrix.quant"),
        ("matrix=x", "keys are name, description"),
        ("runs.9.model=x", "write runs.N.KEY, with N from 1 to"),
        ("benchmark.py150=x", "write benchmark.OPTION for every benchmark, or benchmark.javacorpus.OPTION"),
        ("benchmark.mbpp.data=x", "or benchmark.javacorpus.OPTION or benchmark.py150.OPTION"),
        ("benchmark.data=x.txt", "have data of their own: write --set benchmark.javacorpus.data=FILE"),
        ("limit='a'", "limit: Input should be a valid integer"),
        ("repeats=0", "repeats: Input should be greater than or equal to 1"),
        ("model=x", "asks for"),
    ],
)
def test_what_cannot_be_set_is_one_line_that_names_what_can(assignment: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read("green-code", [assignment])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@given(st.integers(1, 12))
def test_the_square_is_latin_and_balanced(n: int) -> None:
    square = balanced_square(n)
    assert all(sorted(row) == list(range(n)) for row in square)
    for place in range(n):
        assert set(Counter(row[place] for row in square).values()) == {len(square) // n}
    follows = Counter((a, b) for row in square for a, b in itertools.pairwise(row))
    assert len(follows) == n * (n - 1)
    assert len(set(follows.values())) <= 1


@given(st.integers(1, 7), st.integers(1, 5), st.sampled_from(["random", "latin"]), st.integers(0, 2**32 - 1))
def test_every_order_has_every_run_once_and_is_the_same_again(n: int, repeats: int, order: str, seed: int) -> None:
    settings = StudySettings.model_validate({"name": "s", "repeats": repeats, "order": order, "seed": seed})
    pairs = arrange(range(n), settings)
    assert Counter(pairs) == Counter((r, i) for r in range(repeats) for i in range(n))
    assert pairs == arrange(range(n), settings)
    if order == "latin":
        assert [r for r, _ in pairs] == sorted(r for r, _ in pairs)


def test_another_seed_is_another_order() -> None:
    def order(seed: int) -> list[tuple[int, int]]:
        return arrange(range(8), StudySettings(name="s", repeats=2, seed=seed))

    assert order(0) != order(1)


def test_repeats_are_runs_of_the_same_configuration() -> None:
    specs = ordered(study("repeats = 3\n[matrix]\nmodel = ['a', 'b']"))
    assert Counter((s.model, s.repeat) for s in specs) == Counter((m, r) for m in "ab" for r in range(3))


def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and stderr of the program, called in this process to save the imports."""
    monkeypatch.setattr(sys, "argv", ["bench", "sweep", "run", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        program.main()
    return int(stop.value.code or 0), capsys.readouterr().err


HERE = {
    "a model that no host can hold": ("[matrix]\nbatch_size = [1, 100_000_000]", ["[matrix] model", "all there is"]),
    "an unknown model": ("[[runs]]\nmodel = 'smollm2-135m-instrct'", ["[[runs]] 1 model", "smollm2-135m-instruct"]),
    "an unknown quant": ("[matrix]\nquant = ['none', 'gptq-int5']", ["[matrix] quant", "gptq-int4"]),
    "an unknown benchmark": ("[matrix]\nbenchmark = 'bigcodebanch'\n", ["[matrix] benchmark", "mean bigcodebench"]),
    "an unknown exit rule": ("[matrix]\nexit = ['none', 'fxed:2']", ["[matrix] exit", "did you mean fixed"]),
    "an unknown meter": ("[matrix]\nmeter = ['simulatd']", ["[matrix] meter", "did you mean simulated"]),
}  # fmt: skip


@pytest.mark.parametrize("name", HERE)
def test_what_this_host_cannot_run_is_named(name: str, study_file: StudyFile) -> None:
    tables, expected = HERE[name]
    path = study_file(tables)
    asked = read(str(path))
    found = inspect([configuration.spec for configuration in asked.configurations])
    with pytest.raises(UsageError) as error:
        refuse_problems(asked, [found])
    for words in [str(path), *expected]:
        assert words in str(error.value)


def test_a_study_that_cannot_run_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, study_file: StudyFile
) -> None:
    path = study_file("[matrix]\nbatch_size = [1, 100_000_000]")
    code, error = bench(monkeypatch, capsys, path, "--out", tmp_path / "runs")
    assert code == 2
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "[matrix] model" in line
    assert not (tmp_path / "runs").exists()


def test_a_study_without_a_command_is_told_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "sweep", "smollm2", "--dry-run"])
    with pytest.raises(SystemExit) as stop:
        program.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert "bench sweep run smollm2 --dry-run" in line
    assert "bench sweep status" in line


def test_engines_are_a_list_like_any_other() -> None:
    found = study("[matrix]\nmodel = 'a'\nengine = ['auto', 'transformers']")
    assert [c.spec.engine for c in found.configurations] == ["auto", "transformers"]


def test_a_dry_run_says_what_it_takes_and_what_lacks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, study_file: StudyFile
) -> None:
    asked = read(str(study_file("[matrix]\nbatch_size = [1, 2]", "repeats = 2")))
    found = inspect([configuration.spec for configuration in asked.configurations])

    def shown(gpu: str | None) -> dict[str, Any]:
        dry_run(asked, found, tmp_path / "runs", gpu, as_json=True)
        result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return result

    here = shown(None)
    assert [run["run"] for run in here["runs"]] == [planned.run_id for planned in record(asked, found.plans).runs]
    assert {run["samples"] for run in here["runs"]} == {2}
    if not found.host.gpus:  # what is not known is not guessed
        assert (here["time_s"], here["energy_j"]) == (None, None)
        assert all("no rates are known of a CPU" in run["basis"] for run in here["runs"])
    there = shown("L40S")
    assert there["time_s"] == pytest.approx(sum(run["time_s"] for run in there["runs"]))
    assert there["energy_j"] == pytest.approx(sum(run["energy_j"] for run in there["runs"]))
    assert all(run["energy_j"] > 0 and "estimated for" in run["basis"] for run in there["runs"])
    assert here["disk_bytes"] > 0
    assert all(0 < run["memory_needed_bytes"] < here["memory_total_bytes"] for run in here["runs"])

    lacking = read(str(study_file("[matrix]\nmodel = 'Qwen/Qwen2.5-0.5B'")))
    dry_run(lacking, inspect([lacking.configurations[0].spec]), tmp_path / "runs", None, as_json=False)
    assert "cannot run here: model: Qwen/Qwen2.5-0.5B is not in the hub's cache" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_a_like_run_that_was_made_before_is_the_best_estimate(study_file: StudyFile, tmp_path: Path) -> None:
    asked = read(str(study_file("[matrix]\nbatch_size = [1, 2]")))
    found = inspect([configuration.spec for configuration in asked.configurations])
    plan = found.plans[0]
    spec = plan.spec.model_copy(update={"limit": 40, "repeat": 3})
    like = EarlierRun(path="runs/x", spec=spec, host=found.host, seconds_per_sample=1.5, joules_per_sample=20.0)
    told = forecast(plan, found.host, None, [like])
    assert (told.time_s, told.energy_j, told.basis) == (2 * 1.5 + 2 * 0.2, 40.0, "as runs/x")
    elsewhere = like.model_copy(update={"host": found.host.model_copy(update={"cpu": "another"})})
    assert forecast(plan, found.host, None, [elsewhere]).time_s is None or found.host.gpus
    assert forecast(found.plans[1], found.host, None, [like]).basis != "as runs/x"  # another batch size
