"""From what a job's process left behind to an outcome, by the rule of its kind."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from passkwh.benchmarks.sandbox import suspicion
from passkwh.benchmarks.sandbox.imports import parse
from passkwh.benchmarks.sandbox.jobs import Comparison, Job, Outcome, Status
from passkwh.benchmarks.sandbox.worker.kinds.commands_job import NOT_FOUND, NOT_MADE

_ALARM = "TimeoutException"
"""What a test sees when its time is up."""
_STRICT_TAKES = 3.0
"""How much longer a program may take that is watched."""
_STARVED = 0.1
"""Share of its time that a program may have waited for a processor and still be late by itself."""
_LINE_CHARS = 100
"""Of a line of output that is shown."""


def outcome(job: Job, done: dict[str, Any]) -> Outcome:
    """The outcome of ``job``, or of its current case, from a zygote's ``done`` message."""
    return RULES[job.kind](job, done)


def next_run(job: Job, so_far: Outcome, latest: Outcome) -> Job | None:
    """What is to be run before ``so_far`` is the outcome: another case, or another look at a pass.

    A pass of an unusual program, or one under suspicion, is looked at with its test in a process of its own; where the
    two cannot be separated, the same process is looked at closely. ``latest`` is the outcome of the last run alone.
    """
    if so_far.status != "pass":
        return None
    if job.kind in ("stdio", "calls", "commands"):
        return replace(job, case=job.case + 1) if job.case + 1 < len(job.cases) else None
    if job.look == "official" and (so_far.suspect or suspicion.unusual(job.code)) and suspicion.separable(job.test):
        return replace(job, look="apart")
    inseparable = job.look == "official" or (job.look == "apart" and latest.status not in ("pass", "fail"))
    unknown = not so_far.suspect and suspicion.unusual(job.code)
    slower = _STRICT_TAKES * job.timeout_s
    return replace(job, look="strict", timeout_s=slower) if inseparable and unknown else None


def starved(job: Job, outcome: Outcome, done: dict[str, Any]) -> bool:
    """Whether the job ran out of time while it was kept from the processors by what ran beside it."""
    late = outcome.status == "timeout" and done["killed"] == "time"
    late |= outcome.status == "fail" and _ALARM in outcome.detail
    return late and done["waited_s"] > _STARVED * job.timeout_s


def together(job: Job, earlier: Outcome, latest: Outcome) -> Outcome:
    """The outcome of what was run in several goes, of which ``latest`` is the last; the CPU time of all counts."""
    cpu_s = earlier.cpu_s + latest.cpu_s
    if job.kind == "stdio":
        peak = max(earlier.peak_memory_bytes or 0, latest.peak_memory_bytes or 0) or None
        return replace(latest, start_ns=earlier.start_ns, cpu_s=cpu_s, peak_memory_bytes=peak)
    if job.look == "apart" and latest.status not in ("pass", "fail"):
        return replace(earlier, cpu_s=cpu_s)
    # What was noticed in the program's process says nothing where the test passes in another.
    suspect = latest.suspect if latest.status == "pass" else (*earlier.suspect, *latest.suspect)
    if latest.status != "pass":
        where = "with its test in a process of its own" if job.look == "apart" else "when its tests are protected"
        suspect += (f"does not pass {where}: {latest.detail}"[:300],)
    return replace(earlier, suspect=suspect, cpu_s=cpu_s)


def _reported(job: Job, done: dict[str, Any]) -> Outcome:
    """The official rule: a status counts as reported by the program's own process.

    A process that ended without one, whatever the cause, is a timeout: the official evaluator waits for such a process
    until its time is up.
    """
    reported = dict(done["report"])
    suspect = tuple(dict.fromkeys(text for kind, text in done["report"] if kind == "suspect"))
    status: Status
    if "error" in reported:
        status, detail = "error", reported["error"]
    elif "apart" in reported:
        status, detail = "not_evaluated", reported["apart"]
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
        expected = job.expected_tests if job.expected_tests is not None else _defined_tests(job.test)
        if job.kind == "unittest" and tests_run != expected:
            suspect += (f"{tests_run} tests ran, not {expected}",)
        if skipped:
            suspect += (f"{skipped} tests skipped or expected to fail",)
        if job.look != "apart":
            suspect += suspicion.reasons(job.code)
        suspect = tuple(reason for reason in dict.fromkeys(suspect) if reason not in job.usual)
    return _outcome(job, done, status, detail, tests_run=tests_run, tests_skipped=skipped, suspect=suspect)


def _outcome(job: Job, done: dict[str, Any], status: Status, detail: str, **tests: Any) -> Outcome:
    return Outcome(
        key=job.key,
        status=status,
        detail=detail,
        start_ns=done["start_ns"],
        end_ns=done["end_ns"],
        cpu_s=done["cpu_s"],
        peak_memory_bytes=done["peak_bytes"] or None,
        **tests,
    )


@lru_cache(maxsize=2048)
def _defined_tests(test: str) -> int | None:
    """Number of test methods that the test's source defines in ``class TestCases``."""
    for node in getattr(parse(test), "body", []):
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


# ---------------------------------------------------------------- stdio: compared here, outside the sandbox


def _compared(job: Job, done: dict[str, Any]) -> Outcome:
    """A case passes when its process ended with exit code 0 and wrote what was expected (``Case``'s rule).

    Nothing that the process says about itself counts: it has no report, so all that a forged one can be is output.
    """
    case, code = job.cases[job.case], done["exit"]
    status: Status = "fail"
    if (ended := _ended(job, done)) is not None:
        status, detail = ended
    elif code != 0:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        last_words = done["output"]["stderr"].strip().rpartition("\n")[2]
        detail = f"ended with {how}: {_short(last_words)}" if last_words else f"ended with {how}"
    else:
        detail = DIFFERENCES[job.comparison](case.expected, done["output"]["stdout"])
        status = "fail" if detail else "pass"
    where = f"case {job.case + 1} of {len(job.cases)}: {detail}" if detail else ""
    return _outcome(job, done, status, where, tests_run=job.case + 1)


def _ended(job: Job, done: dict[str, Any]) -> tuple[Status, str] | None:
    """Status and why of a process that did not come to an end of its own: what could not run it, or what killed it."""
    reported, killed = dict(done["report"]), done["killed"]
    if "error" in reported:
        return "error", reported["error"]
    if not killed:
        return None
    timeout = killed == "time" or killed.endswith("CPU time")
    return "timeout" if timeout else "fail", _why_no_status(job, done)


def difference(expected: str, output: str) -> str:
    """Where an output first differs from the right one, in words; empty where they are equal by ``Case``'s rule."""
    right, written = _lines(expected), _lines(output)
    for number, (wanted, line) in enumerate(zip(right, written, strict=False), start=1):
        if wanted != line:
            return f"line {number} is {_short(line)!r}, not {_short(wanted)!r}"
    if len(written) < len(right):
        return f"ends after {len(written)} of {len(right)} lines, before {_short(right[len(written)])!r}"
    return f"goes on after {len(right)} lines with {_short(written[len(right)])!r}" if len(written) > len(right) else ""


def difference_in_decimals(expected: str, output: str) -> str:
    """The same by LiveCodeBench's rule: lines without white space around them, numbers by value if a line differs."""
    right, written = ([line.strip() for line in text.strip().split("\n")] for text in (expected, output))
    for number, (wanted, line) in enumerate(zip(right, written, strict=False), start=1):
        if wanted != line and ((numbers := _decimals(line)) is None or numbers != _decimals(wanted)):
            return f"line {number} is {_short(line)!r}, not {_short(wanted)!r}"
    return f"it has {len(written)} lines, not {len(right)}" if len(written) != len(right) else ""


def _decimals(line: str) -> list[Decimal] | None:
    """The numbers of a line; None where there is anything else in it."""
    try:
        return [Decimal(word) for word in line.split()]
    except InvalidOperation:
        return None


DIFFERENCES: dict[Comparison, Callable[[str, str], str]] = {"lines": difference, "decimals": difference_in_decimals}


def _lines(text: str) -> list[str]:
    """Lines without the white space at their ends, and without the empty ones at the end of the text."""
    return [line.rstrip() for line in text.rstrip().split("\n")] if text.strip() else []


def _short(line: str) -> str:
    return line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]}..."


# ---------------------------------------------------------------- calls: handed out to be compared


def _returned(job: Job, done: dict[str, Any]) -> Outcome:
    """Passes when every call came to an end, with what was raised first as its detail; whether the values are right is
    for who knows the right ones to say."""
    calls = len(json.loads(job.cases[0].input)["calls"])
    values, error = _answers(done["output"]["stdout"], calls)
    status: Status = "fail"
    if (ended := _ended(job, done)) is not None:
        status, detail = ended
    elif len(values) < calls:
        code = done["exit"]
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        detail = error or f"ended after {len(values)} of {calls} calls ({how})"
    else:
        status, detail = "pass", error
    outcome = _outcome(job, done, status, detail, tests_run=len(values))
    return replace(outcome, returned=values)


def _answers(text: str, calls: int) -> tuple[tuple[str, ...], str]:
    """What each call returned, as far as it is known, and what was raised first; what has not this form ends them."""
    values: list[str] = []
    first_error = ""
    for line in text.split("\n")[:-1][:calls]:
        try:
            answer = json.loads(line)
            value, error, unloaded = (answer.get(name, "") for name in ("value", "error", "unloaded"))
        except (ValueError, AttributeError, RecursionError):
            break
        if not all(isinstance(text, str) for text in (value, error, unloaded)):
            break
        if unloaded:
            return (), f"ALL: {unloaded}"
        values.append(value)
        if error and not first_error:
            first_error = f"call {len(values)} of {calls}: {error}"
    return tuple(values), first_error


# ---------------------------------------------------------------- commands: a secret at the end


def _secret_told(job: Job, done: dict[str, Any]) -> Outcome:
    """Passes when the last command ended with exit code 0 and its output with the secret: its tests came to their end.

    The program shares its process with the judge that has the secret, so a pass is suspect where its text has anything
    with which it could reach that.
    """
    code, output = done["exit"], done["output"]
    written, told = output["stdout"].rstrip("\n").removesuffix(done["secret"]), done["secret"] in output["stdout"]
    words = _error_line(output["stderr"]) or _last_line(written)
    suspect: tuple[str, ...] = ()
    status: Status = "fail"
    if (ended := _ended(job, done)) is not None:
        status, detail = ended
    elif code == NOT_MADE:
        detail = f"{job.commands[0][0]} fails: {_first_line(output['stderr'])}"
    elif code == NOT_FOUND and not written:
        status, detail = "error", f"{job.commands[-1][0]} could not be run: {words}"
    elif code != 0:
        detail = f"ended with {f'exit code {code}' if code > 0 else f'signal {-code}'}: {words}"
    elif not told or not output["stdout"].rstrip("\n").endswith(done["secret"]):
        detail, suspect = "the process ended by itself before its tests did", ("early exit",)
    elif job.silent and (written.strip() or output["stderr"].strip()):
        detail = f"it prints {words!r}"
    else:
        status, detail = "pass", ""
        watched = (match[0] for pattern in job.watched if (match := re.search(pattern, job.code)))
        suspect = tuple(f"the program uses {_short(text)}" for text in watched)
    return replace(_outcome(job, done, status, detail), suspect=suspect)


def _first_line(text: str) -> str:
    return _short(text.strip().partition("\n")[0])


def _last_line(text: str) -> str:
    return _short(text.strip().rpartition("\n")[2])


def _error_line(text: str) -> str:
    """The first line that begins with an error's name; the last one where none does."""
    named = (line for line in text.splitlines() if re.match(r"Exception in thread|[\w.$]*(?:Error|Exception)\b", line))
    return _short(next(named, "")) or _last_line(text)


RULES: dict[str, Callable[[Job, dict[str, Any]], Outcome]] = {
    "unittest": _reported,
    "script": _reported,
    "stdio": _compared,
    "calls": _returned,
    "commands": _secret_told,
}
"""How the outcome of each kind of job is found."""
