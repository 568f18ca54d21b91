"""What a judge stands on, replaced one attribute at a time: no wrong program gains a trusted pass by it.

Each replacement is tried twice: on a test that can run in a process of its own, and on the same test made to need the
program in its own process. Every member of every module that a unittest test runs on, and every member of the classes
in these, is replaced by an object that answers everything: it can be called, entered, left with any exception
swallowed, compared and iterated.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator

import pytest

from passkwh.benchmarks.bigcodebench import tasks
from passkwh.benchmarks.sandbox import Job, evaluate, suspicion

TASKS = [json.loads(line) for line in tasks.SAMPLE.read_text("utf-8").splitlines()]

MODULES = (
    "unittest", "unittest.case", "unittest.loader", "unittest.result", "unittest.suite", "unittest.util", "contextlib",
    "traceback", "functools", "warnings", "operator", "re", "collections", "types", "signal", "os", "posixpath", "io",
    "tempfile", "random", "secrets", "threading", "weakref", "inspect", "linecache", "builtins", "sys", "time", "math",
    "fractions", "numbers", "difflib", "pprint", "json", "subprocess", "abc", "_weakrefset", "logging", "string",
)  # fmt: skip

DEEP = ("unittest", "contextlib", "traceback", "warnings", "tempfile", "fractions", "signal")
"""Of these the members of classes as well."""

ANYTHING = """
import importlib
class Anything:
    def __call__(self, *args, **named): return self
    def __enter__(self): return self
    def __exit__(self, *error): return True
    def __get__(self, *owner): return self
    def __getattr__(self, name): return self
    def __iter__(self): return iter(())
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 1
    def __bool__(self): return True
anything = Anything()
def task_func(*args, **named): return anything
target = importlib.import_module({module!r})
for name in {path!r}:
    target = getattr(target, name)
setattr(target, {attribute!r}, anything)
"""


def members() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Module, path to the class inside it, and attribute."""
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute, value in sorted(vars(module).items()):
            yield name, (), attribute
            if isinstance(value, type) and value.__module__ == name and name.startswith(DEEP):
                for member in sorted(vars(value)):
                    yield name, (attribute,), member


IN_PLACE = "\nfrom unittest import mock\n"
"""What makes a test one that needs the program in its own process."""
LOOKS = pytest.mark.parametrize("more", ["", IN_PLACE], ids=["apart", "in place"])


def outcomes_of(every: int, more: str) -> tuple[int, int, dict[str, str]]:
    """How many were tried, how many passed officially, and those that were trusted, with the detail."""
    jobs = []
    for index, (module, path, attribute) in enumerate(list(members())[::every]):
        task = TASKS[index % len(TASKS)]
        code = ANYTHING.format(module=module, path=path, attribute=attribute)
        key = f"{module}.{'.'.join((*path, attribute))} in {task['task_id']}"
        jobs.append(Job(key, code, task["test"] + more, "unittest", 1.5))
    outcomes = list(evaluate(jobs, workers=2))
    assert len(outcomes) == len(jobs)
    passes = [outcome for outcome in outcomes if outcome.status == "pass"]
    return len(jobs), len(passes), {o.key: o.detail for o in passes if not o.suspect}


def test_every_embedded_test_can_run_without_the_program_in_its_process():
    assert len(TASKS) == 36
    assert all(suspicion.separable(task["test"]) for task in TASKS)
    assert not any(suspicion.separable(task["test"] + IN_PLACE) for task in TASKS)


@LOOKS
def test_replacing_what_the_judge_stands_on_gains_no_trust(more):
    tried, _, trusted = outcomes_of(61, more)
    assert tried > 40
    assert trusted == {}


@pytest.mark.slow
@pytest.mark.skipif("PASSKWH_FOUNDATIONS" not in os.environ, reason="minutes: set PASSKWH_FOUNDATIONS=1")
@LOOKS
def test_replacing_any_member_of_what_the_judge_stands_on_gains_no_trust(more):
    tried, passes, trusted = outcomes_of(1, more)
    assert tried > 1500
    assert passes > 100, "the official rule believes many of them"
    assert trusted == {}


SWALLOWS = """
import contextlib
kind = contextlib._GeneratorContextManager
leave = kind.__exit__
kind.__exit__ = lambda self, kind, error, trace: leave(self, None, None, None) or True
def task_func(*args, **named): return None
"""


@LOOKS
def test_a_swallowing_context_manager_gains_no_trust_on_any_task(more):
    jobs = [Job(task["task_id"], SWALLOWS, task["test"] + more, "unittest", 5.0) for task in TASKS]
    outcomes = list(evaluate(jobs, workers=2))
    assert {outcome.status for outcome in outcomes} == {"pass"}, "the official rule believes it"
    assert [outcome.key for outcome in outcomes if outcome.status == "pass" and not outcome.suspect] == []


@LOOKS
def test_the_reference_solutions_are_trusted(more):
    jobs = [
        Job(
            task["task_id"], task["complete_prompt"] + task["canonical_solution"], task["test"] + more, "unittest", 10.0
        )
        for task in TASKS
    ]
    outcomes = list(evaluate(jobs, workers=2))
    assert {(outcome.status, outcome.suspect) for outcome in outcomes} == {("pass", ())}


def test_the_reference_solutions_pass_with_their_test_in_a_process_of_its_own():
    honest = "\nclass Unused:\n    pass\n"  # asks for a second look
    jobs = [
        Job(
            task["task_id"],
            task["complete_prompt"] + task["canonical_solution"] + honest,
            task["test"],
            "unittest",
            10.0,
        )
        for task in TASKS
    ]
    outcomes = list(evaluate(jobs, workers=2))
    assert {(outcome.status, outcome.suspect) for outcome in outcomes} == {("pass", ())}
    assert all(suspicion.unusual(job.code) for job in jobs)
