"""From what a sample's process left behind to an outcome, by the official rule."""

from __future__ import annotations

from typing import Any

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
        if job.expected_tests is not None and tests_run != job.expected_tests:
            suspect += (f"{tests_run} tests ran, {job.expected_tests} with the reference solution",)
        if skipped:
            suspect += (f"{skipped} tests skipped or expected to fail",)
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


def _why_no_status(job: Job, done: dict[str, Any]) -> str:
    if done["killed"] == "time":
        return f"no verdict within {job.timeout_s:g} s"
    if done["killed"]:
        return f"ended by the evaluator: {done['killed']}"
    code = done["exit"]
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    return f"the process ended by itself ({how}) before its tests did; the official evaluator waits for it in vain"
