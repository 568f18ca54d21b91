"""What goes into the evaluator and what comes out of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["unittest", "script", "stdio", "calls", "commands"]
"""How a program is run and judged; each kind is a file in ``worker/kinds``.

unittest: the test defines ``class TestCases``, judged by the official BigCodeBench rule. script: code and test run as
one module and pass unless they raise. stdio: the program reads stdin and writes stdout, which is compared outside.
calls: a function of the program is called with values, and what it returns is handed out to be compared. commands:
a program of another language, compiled and run, which has to print a secret when its tests have passed.
"""

Look = Literal["official", "apart", "strict"]
"""How program and test are run. official: as the official evaluator does. apart: in two processes, between which only
plain values pass. strict: in one process, which is watched closely."""

Status = Literal["pass", "fail", "timeout", "error", "not_evaluated"]


Comparison = Literal["lines", "decimals"]
"""When a stdio program's output is right. lines: by ``Case``'s rule. decimals: LiveCodeBench's, which passes over white
space at both ends of a line and compares a line of numbers that differs as decimals (1.50 is 1.5)."""


@dataclass(frozen=True)
class Case:
    """One input of a stdio program, and the output that is right; or all calls of a calls job (:func:`calls`).

    Output is right when it equals ``expected`` line by line, where white space at the end of a line and empty lines at
    the end do not count. Everything else does: case, leading white space, the form of numbers.
    """

    input: str
    expected: str
    """Never leaves this process: the program's own process and all of its parents get the input alone."""


def calls(function: str, inputs: Sequence[str], expected: str = "") -> Case:
    """What a calls job does: call a function (``name``, or ``Class.method`` of one object) with each of the inputs.

    Args:
        inputs: arguments of a call, as text (``worker.values.dump`` of their list).
        expected: what the caller will compare with; it tells equal jobs apart and never leaves this process.
    """
    return Case(json.dumps({"function": function, "calls": list(inputs)}), expected)


@dataclass(frozen=True)
class Job:
    """One program to be judged, by one test or by cases of input and output."""

    key: str
    """Names the job in its outcome; unique among the jobs of one call."""
    code: str
    test: str
    """Executed after ``code``, in the same module; empty for a job of another kind than unittest and script."""
    kind: Kind
    timeout_s: float
    """Wall-clock limit, for each case of a stdio job; the process is then killed from outside (of unittest and script
    jobs one second later)."""
    expected_s: float = 0.0
    """How long it is known to take; the longest start first."""
    sleeps: bool = False
    """Known to spend most of its time asleep: it does not occupy a worker."""
    expected_tests: int | None = None
    """How many tests the reference solution runs, where known; another number is suspicious."""
    usual: frozenset[str] = frozenset()
    """Suspicions that the reference solution raises as well: they say nothing here."""
    network: bool = False
    """Let it reach the network; otherwise it has a loopback device of its own and nothing else."""
    look: Look = "official"
    """How it is run; the evaluator looks again at passes."""
    cases: tuple[Case, ...] = ()
    """Of a stdio job: run one after the other, each in a fresh process, until one fails. Of a calls job: one."""
    case: int = 0
    """Which of the cases is run; counted by the evaluator."""
    comparison: Comparison = "lines"
    """When the output of a stdio job is right."""
    files: tuple[tuple[str, str], ...] = ()
    """Of a commands job: name and text of each file in its working folder; ``code`` stands in one of them."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Of a commands job: run one after the other until one fails. The last gets the secret on its standard input."""
    silent: bool = False
    """Of a commands job: whatever it prints besides the secret is a failure."""
    watched: tuple[str, ...] = ()
    """Of a commands job: patterns of what a program could reach its judge with; in ``code``, a pass is suspect."""

    def __post_init__(self) -> None:
        if (self.kind in ("stdio", "calls")) != bool(self.cases) or (self.cases and self.test):
            raise ValueError(f"job {self.key}: calls and stdio jobs have cases and no test, other jobs have no cases")
        if (self.kind == "commands") != bool(self.commands) or (self.commands and self.test):
            raise ValueError(f"job {self.key}: commands jobs have commands and no test, other jobs have no commands")


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    key: str
    status: Status
    detail: str
    start_ns: int
    """Monotonic time at which its process was forked."""
    end_ns: int
    """Monotonic time at which its process and all its descendants were gone."""
    cpu_s: float
    """CPU time of the whole process tree."""
    tests_run: int | None = None
    """Tests that ran, by unittest's count, or cases; None where none were counted."""
    tests_skipped: int = 0
    peak_memory_bytes: int | None = None
    suspect: tuple[str, ...] = ()
    """Reasons to distrust a pass; empty when nothing was noticed."""
    returned: tuple[str, ...] = ()
    """Of a calls job, whose pass says only that every call came to an end: what each call returned, as text
    (``worker.values.load``), or empty for one that raised; a stranger's words. Fewer than calls where it ended."""


@dataclass(frozen=True)
class Limits:
    """What one job may use. Wall-clock time is the job's own ``timeout_s``."""

    memory_bytes: int
    """Resident memory of the process tree; and address space on top of what the preloaded libraries map."""
    tmp_bytes: int = 1 << 30
    """Size of the private /tmp."""
    processes: int = 64
    """Processes and threads at a time."""
    open_files: int = 1024
    file_bytes: int = 1 << 30
    """Size of one file."""
    cpu_factor: float = 4.0
    """CPU seconds of one process, as a multiple of ``timeout_s``."""
    output_bytes: int = 8 << 20
    """What a stdio program may write to stdout, and to stderr; one that writes more is ended."""


@dataclass(frozen=True)
class PreloadGroup:
    """Libraries that are imported once and shared by all the jobs that need no others."""

    name: str
    libraries: frozenset[str]
    """Top-level names of the libraries that come on top of the groups before."""
    preload: tuple[str, ...] = ()
    """Modules imported ahead; those that are not installed are passed over."""
    warm: bool = False
    """Touch the lazily loaded parts of matplotlib, pandas and seaborn as well."""


STANDARD_LIBRARY = PreloadGroup("standard library", frozenset())
