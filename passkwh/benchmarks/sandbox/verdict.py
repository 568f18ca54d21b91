"""From what a sample's process left behind to an outcome, by the official rule."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from passkwh.benchmarks.sandbox import suspicion
from passkwh.benchmarks.sandbox.imports import parse
from passkwh.benchmarks.sandbox.jobs import Job, Outcome, Status


def outcome(job: Job, done: dict[str, Any]) -> Outcome:
    """The outcome of ``job`` from a zygote's ``done`` message.

    A status counts as reported. A process that ended without one, whatever the cause, is a timeout: the official
    evaluator waits for such a process until its time is up.
    """
    reported = dict(done["report"])
    suspect = tuple(dict.fromkeys(text for kind, text in done["report"] if kind == "suspect"))
    status: Status
    if "error" in reported:
        status, detail = "error", reported["error"]
    elif reported.get("status") in ("pass", "fail"):
        status = "pass" if reported["status"] == "pass" else "fail"
        detail = reported.get("detail", "")
    else:
        status, detail = "timeout", _why_no_status(job, done)
        if not done["killed"]:
            suspect += ("early exit",)
    tests_run = int(reported["tests"]) if "tests" in reported else None
    skipped = int(reported.get("skipped", "0"))
    if not done["whole"]:
        suspect += ("report channel written to",)
    if status == "pass":
        expected = job.expected_tests if job.expected_tests is not None else _defined_tests(job)
        if job.kind == "unittest" and tests_run != expected:
            suspect += (f"{tests_run} tests ran, not {expected}",)
        if skipped:
            suspect += (f"{skipped} tests skipped or expected to fail",)
        suspect += suspicion.reasons(job.code)
        suspect = tuple(reason for reason in dict.fromkeys(suspect) if reason not in job.usual)
    return Outcome(
        key=job.key,
        status=status,
        detail=detail,
        start_ns=done["start_ns"],
        end_ns=done["end_ns"],
        cpu_s=done["cpu_s"],
        tests_run=tests_run,
        tests_skipped=skipped,
        peak_memory_bytes=done["peak_bytes"] or None,
        suspect=suspect,
    )


def after_second_look(first: Outcome, second: Outcome) -> Outcome:
    """A pass and what running it again with protected tests has shown; the CPU time of both counts."""
    suspect = second.suspect
    if second.status != "pass":
        suspect += (f"does not pass when its tests are protected: {second.detail}"[:300],)
    return replace(first, suspect=suspect, cpu_s=first.cpu_s + second.cpu_s)


def _defined_tests(job: Job) -> int | None:
    """Number of test methods that the test's source defines in ``class TestCases``."""
    for node in getattr(parse(job.test), "body", []):
        if isinstance(node, ast.ClassDef) and node.name == "TestCases":
            names = {
                item.name
                for item in node.body
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test")
            }
            return len(names)
    return None


def _why_no_status(job: Job, done: dict[str, Any]) -> str:
    if done["killed"] == "time":
        return f"no verdict within {job.timeout_s:g} s"
    if done["killed"]:
        return f"ended by the evaluator: {done['killed']}"
    code = done["exit"]
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    return f"the process ended by itself ({how}) before its tests did; the official evaluator waits for it in vain"
