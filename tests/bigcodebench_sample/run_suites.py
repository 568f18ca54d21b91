"""Run many unittest suites quickly: read jobs (JSON lines) on stdin, write one outcome (JSON line) for each on stdout.

Each job runs in a fork of this small process, so that a solution can neither see nor break another one, and no
interpreter has to start for it. A job has ``code`` and ``test`` (the suite, a class ``TestCases``) or ``test`` null:
then the examples in the docstring of ``task_func`` are run. An outcome has ``ran`` and ``failed`` (names of tests),
or ``broken``: why no test ran.
"""

from __future__ import annotations

import doctest
import io
import json
import os
import signal
import sys
import tempfile
import unittest
from typing import Any

LIMIT_S = 30
"""A suite that takes longer is killed and reported as broken; the slowest one takes a few milliseconds."""


def run_suite(code: str, test: str | None) -> dict[str, Any]:
    """Execute one solution and its tests in this process."""
    space: dict[str, Any] = {"__name__": "solution"}
    exec(compile(code, "solution", "exec"), space)
    if test is None:
        runner = doctest.DocTestRunner(verbose=False)
        for example in doctest.DocTestFinder().find(space["task_func"], "task_func", module=False, globs=space):
            runner.run(example, out=lambda text: None)
        return {"ran": runner.tries, "failed": ["docstring"] * runner.failures}
    exec(compile(test, "test", "exec"), space)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(space["TestCases"])
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    return {"ran": result.testsRun, "failed": sorted({case.id() for case, _ in result.failures + result.errors})}


def run_forked(job: dict[str, Any]) -> dict[str, Any]:
    """Execute one job in a child process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        try:
            outcome = run_suite(job["code"], job["test"])
        except BaseException as error:  # whatever a wrong solution does is its outcome
            outcome = {"ran": 0, "failed": [], "broken": repr(error)}
        os.write(writer, json.dumps(outcome)[:60_000].encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else {"ran": 0, "failed": [], "broken": f"died with status {status}"}


def main() -> None:
    """Answer every job in order."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for line in sys.stdin:
            print(json.dumps(run_forked(json.loads(line))))
        os.chdir("/")


if __name__ == "__main__":
    main()
