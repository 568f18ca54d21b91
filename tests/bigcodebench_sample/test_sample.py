"""The embedded sample: it looks like BigCodeBench, its answers are right, and its tests notice wrong ones."""

from __future__ import annotations

import ast
import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[1] / "passkwh" / "benchmarks" / "bigcodebench" / "sample.jsonl"
GRADES = ("trivial", "easy", "medium", "hard")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


TASKS = {task["task_id"]: task for task in read_lines(SAMPLE)}
WRONG = read_lines(HERE / "wrong_solutions.jsonl")

each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
each_mistake = pytest.mark.parametrize("wrong", WRONG, ids=[f"{w['task_id']}: {w['mistake']}" for w in WRONG])


def grade(task: dict[str, Any]) -> str:
    """How hard a task is meant to be; the schema has no field for it, so it stands in the notes."""
    (note,) = json.loads(task["doc_struct"])["notes"]
    return str(note).removeprefix("Grade: ")


def solution(task: dict[str, Any]) -> str:
    """The task's own solution as one program, put together as BigCodeBench does."""
    return str(task["complete_prompt"]) + str(task["canonical_solution"])


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What became of each suite: by task id, 'task id, examples' and 'task id, mistake'."""
    jobs = {task_id: (solution(task), task["test"]) for task_id, task in TASKS.items()}
    jobs |= {f"{task_id}, examples": (solution(task), None) for task_id, task in TASKS.items()}
    jobs |= {f"{w['task_id']}, {w['mistake']}": (w["code"], TASKS[w["task_id"]]["test"]) for w in WRONG}
    lines = "".join(json.dumps({"code": code, "test": test}) + "\n" for code, test in jobs.values())
    done = subprocess.run(
        [sys.executable, str(HERE / "run_suites.py")],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return dict(zip(jobs, (json.loads(line) for line in done.stdout.splitlines()), strict=True))


@each_task
def test_own_solution_passes(task: dict[str, Any], outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[task["task_id"]]
    assert 4 <= outcome["ran"] <= 8, outcome
    assert outcome["failed"] == []


@each_mistake
def test_wrong_solution_is_rejected(wrong: dict[str, str], outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[f"{wrong['task_id']}, {wrong['mistake']}"]
    assert outcome["ran"] >= 4, "a wrong solution must be rejected by tests, not because it is no program"
    assert outcome["failed"]


@each_task
def test_examples_in_the_prompt_are_true(task: dict[str, Any], outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[f"{task['task_id']}, examples"]
    assert outcome["ran"] >= 1, outcome
    assert outcome["failed"] == []


def test_every_task_has_two_wrong_solutions() -> None:
    programs = {task_id: {w["code"] for w in WRONG if w["task_id"] == task_id} for task_id in TASKS}
    assert {task_id: len(codes) for task_id, codes in programs.items() if len(codes) < 2} == {}
    assert {w["task_id"] for w in WRONG} == set(TASKS)


def test_ids_count_up() -> None:
    assert [task["task_id"] for task in read_lines(SAMPLE)] == [f"Sample/{n}" for n in range(36)]


def test_grades_are_mixed() -> None:
    grades = [grade(task) for task in TASKS.values()]
    counts = Counter(grades)
    assert set(counts) == set(GRADES)
    assert (counts["trivial"] + counts["easy"], counts["medium"], counts["hard"]) == (14, 12, 10)
    assert set(grades[:8]) == set(GRADES)


def test_schema_is_that_of_the_real_benchmark(shared_data: Path) -> None:
    with gzip.open(shared_data / "bigcodebench-v0.1.0.jsonl.gz", "rt", encoding="utf-8") as file:
        real = json.loads(next(file))
    for task in TASKS.values():
        assert list(task) == list(real)
        assert {key: type(value) for key, value in task.items()} == {key: type(value) for key, value in real.items()}
        assert list(json.loads(task["doc_struct"])) == list(json.loads(real["doc_struct"]))


@each_task
def test_prompts_fit_the_solution(task: dict[str, Any]) -> None:
    structure = json.loads(task["doc_struct"])
    assert task["entry_point"] == "task_func"
    (function,) = [
        node
        for node in ast.parse(task["code_prompt"] + task["canonical_solution"]).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert function.name == "task_func"
    (prompted,) = [node for node in ast.parse(task["complete_prompt"]).body if isinstance(node, ast.FunctionDef)]
    assert ast.dump(prompted.args) == ast.dump(function.args)
    documentation = ast.get_docstring(prompted) or ""
    assert "\nExample:\n>>> task_func(" in documentation or "\nExample:\n>>> print(task_func(" in documentation
    for part in ("description", "params", "returns", "raises"):
        for line in structure[part]:
            assert line in documentation
    assert "Grade" not in task["complete_prompt"] + task["instruct_prompt"]


@each_task
def test_instruction_ends_with_the_code_to_start_from(task: dict[str, Any]) -> None:
    ending = "\nYou should write self-contained code starting with:\n```\n" + task["code_prompt"] + "```"
    assert task["instruct_prompt"].endswith(ending)
    assert "\nThe function should output with:\n    " in task["instruct_prompt"]


@each_task
def test_only_the_standard_library_is_imported(task: dict[str, Any]) -> None:
    for program in (task["code_prompt"] + task["canonical_solution"], task["test"]):
        for node in ast.walk(ast.parse(program)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names
    named = {line.split(".")[0] for line in json.loads(task["doc_struct"])["reqs"]}
    assert set(ast.literal_eval(task["libs"])) == named
