"""Programs judged by what they print: right ones pass, spies find no expected output, forgers and floods fail."""

from __future__ import annotations

import uuid

import pytest

from passkwh.benchmarks.sandbox import Case, Job, Limits, evaluate
from passkwh.benchmarks.sandbox.verdict import difference
from tests.sandbox.identity import evaluate_as, identities

CASES = (Case("2 3\n", "5\n"), Case("10 -4\n", "6"), Case("0 0", "0\n"))
TOKEN = uuid.uuid4().hex
"""Part of what the spies look for; it stands in no program."""

SPY = """
import gc, os, re, sys

asked = sys.stdin.read()
found = set()

def look(data):  # bytes, without a copy of them as text
    found.update(word.decode() for word in re.findall(b'(expected|input)-[0-9a-f]{32}', data))

class Seen:  # searched at once: what is kept would be found again in this program's own memory, many times over
    def append(self, text):
        found.update(re.findall('(expected|input)-[0-9a-f]{32}', text))

    def __iadd__(self, texts):
        for text in texts:
            self.append(text)
        return self

seen = Seen()
frame = sys._getframe()
while frame is not None:
    seen += [repr(frame.f_locals), repr(frame.f_code.co_consts)]
    frame = frame.f_back
seen += (repr(item) for item in gc.get_objects() if isinstance(item, (dict, list, tuple, str, bytes)))
seen += [repr(dict(os.environ)), repr(sys.argv), repr(sys.modules.keys())]
for pid in {*(name for name in os.listdir('/proc') if name.isdigit()), str(os.getpid()), str(os.getppid())}:
    for name in ('environ', 'cmdline', 'status'):
        try:
            seen.append(open(f'/proc/{pid}/{name}', 'rb').read().decode('latin-1'))
        except OSError:
            pass
    try:
        maps, memory = open(f'/proc/{pid}/maps').read().splitlines(), open(f'/proc/{pid}/mem', 'rb')
    except OSError:
        continue
    for line in maps:
        start, end = (int(part, 16) for part in line.split()[0].split('-'))
        if 'r' in line.split()[1] and end - start < 1 << 26:
            try:
                memory.seek(start)
                look(memory.read(end - start))
            except (OSError, OverflowError, ValueError):
                pass
descriptors = []
for descriptor in range(3, 200):
    try:
        os.fstat(descriptor)
    except OSError:
        continue
    descriptors.append(os.readlink(f'/proc/self/fd/{descriptor}'))
    try:
        seen.append(os.pread(descriptor, 1 << 20, 0).decode('latin-1'))
    except OSError:
        pass
for folder, _, names in os.walk('/tmp'):
    for name in names:
        seen.append(open(os.path.join(folder, name), 'rb').read().decode('latin-1'))
print('sees', sorted(found), 'of', len(descriptors), 'descriptors', sorted(set(descriptors)))
"""

FORGERS = {
    "protocol lines on stdout": """
import json
for status in ('pass', 'done'):
    print(json.dumps({"event": "done", "key": "x", "report": [["status", "pass"]], "whole": True, "exit": 0}))
""",
    "report lines on every descriptor": """
import os
for descriptor in range(1, 64):
    for line in (b'0 "status" "pass"', b'["status", "pass"]', b'status pass'):
        try:
            os.write(descriptor, line + b'\\n')
        except OSError:
            pass
""",
    "leaves early with success": "import os\nos._exit(0)",
    "exits with success": "raise SystemExit(0)",
    "prints half, then leaves": "import os\nprint(5, flush=True)\nos._exit(0)",
    "right, then a failure": "print(sum(map(int, input().split())))\nraise ValueError('after the answer')",
    "right, then more": "print(sum(map(int, input().split())))\nprint('and more')",
    "always the first answer": "print(5)",
    "nothing": "",
    "no program": "def f(:",
}


def outcome_of(code: str, cases: tuple[Case, ...] = CASES, timeout_s: float = 10.0, limits: Limits | None = None):
    return next(iter(evaluate([Job("x", code, "", "stdio", timeout_s, cases=cases)], limits=limits)))


@pytest.mark.parametrize(
    "code",
    [
        "print(sum(map(int, input().split())))",
        "import sys\nsys.stdout.buffer.write(b'%d  \\n\\n' % sum(map(int, sys.stdin.buffer.read().split())))",
        "def main():\n    print(sum(map(int, open(0).read().split())))\n\nif __name__ == '__main__':\n    main()",
        "import subprocess\na, b = input().split()\nsubprocess.run(['expr', a, '+', b])\n",
    ],
)
def test_a_right_program_passes_every_case(code):
    outcome = outcome_of(code)
    assert (outcome.status, outcome.detail, outcome.suspect, outcome.tests_run) == ("pass", "", (), 3)
    assert outcome.end_ns > outcome.start_ns
    assert outcome.cpu_s > 0


@pytest.mark.parametrize("identity", ["root", "user"])
def test_a_spy_finds_its_input_and_no_expected_output(identity, tmp_path):
    if identity not in identities():
        pytest.skip(f"cannot try this as {identity}")
    case = Case(f"input-{TOKEN}", f"expected-{TOKEN}")
    jobs = [Job(f"spy {n}", SPY, "", "stdio", 120.0, cases=(case,)) for n in range(2)]
    right = f"print('expected-' + '{TOKEN[:16]}' + '{TOKEN[16:]}')"  # its output passes through the same zygote
    jobs += [Job(f"right {n}", right, "", "stdio", 20.0, cases=(case,)) for n in range(4)]
    outcomes = evaluate_as(identity, jobs, 2, Limits(memory_bytes=4 << 30), tmp_path)
    assert {outcomes[f"right {n}"].status for n in range(4)} == {"pass"}
    for n in range(2):
        assert outcomes[f"spy {n}"].status == "fail"
        assert "sees ['input'] of" in outcomes[f"spy {n}"].detail


@pytest.mark.parametrize("name", FORGERS)
def test_what_a_program_says_of_itself_counts_for_nothing(name):
    assert outcome_of(FORGERS[name]).status == "fail"


def test_the_first_case_that_fails_is_named_with_what_differs():
    assert outcome_of("print(5)").detail == "case 2 of 3: line 1 is '5', not '6'"
    assert outcome_of("1 / 0").detail == "case 1 of 3: ended with exit code 1: ZeroDivisionError: division by zero"
    assert "SyntaxError" in outcome_of("def f(:").detail


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_that_prints_forever_is_ended_and_costs_no_memory(stream):
    limits = Limits(memory_bytes=1 << 30, output_bytes=1 << 20)
    code = f"import sys\nwhile True: print('x' * 1000, file=sys.{stream})"
    outcome = outcome_of(code, timeout_s=30.0, limits=limits)
    assert outcome.status == "fail"
    assert f"more than 1 MiB to its {stream}" in outcome.detail
    assert len(outcome.detail) < 500
    assert outcome.end_ns - outcome.start_ns < 25e9


@pytest.mark.parametrize("code", ["while True: pass", "import time\ntime.sleep(60)", "input(); input(); input()"])
def test_a_program_without_end_or_input_is_ended(code):
    outcome = outcome_of(code, timeout_s=1.0)
    assert outcome.status == ("fail" if "input" in code else "timeout")
    assert "EOFError" in outcome.detail or "no verdict within 1 s" in outcome.detail


def test_each_case_has_a_process_and_a_folder_of_its_own():
    code = "import os\nassert os.listdir() == []\nopen('kept', 'w').write('x')\nprint(sum(map(int, input().split())))"
    assert outcome_of(code).status == "pass"


def test_long_inputs_and_outputs_pass_whole():
    lines = "".join(f"{number} é\n" for number in range(100_000))
    assert outcome_of("import sys\nfor line in sys.stdin: print(line, end='')", (Case(lines, lines),)).status == "pass"


def test_a_program_that_cannot_be_started_has_no_verdict():
    outcome = outcome_of("print(5)", limits=Limits(memory_bytes=1 << 30, open_files=4))
    assert outcome.status == "error"
    assert "could not be started" in outcome.detail


def test_cases_belong_to_stdio_jobs():
    for job in ({"kind": "stdio"}, {"kind": "script", "cases": CASES}, {"kind": "stdio", "cases": CASES, "test": "x"}):
        with pytest.raises(ValueError, match="stdio jobs have cases and no test"):
            Job(**{"key": "k", "code": "", "test": "", "timeout_s": 1.0, **job})


@pytest.mark.parametrize(
    ("expected", "output", "where"),
    [
        ("a\nb\n", "a  \nb", ""),
        ("a\r\nb", "a\nb\n\n \n", ""),
        ("", "\n", ""),
        ("a\nb", "a\nc", "line 2 is 'c', not 'b'"),
        ("a", " a", "line 1 is ' a', not 'a'"),
        ("a\n\nb", "a\nb", "line 2 is 'b', not ''"),
        ("a\nb", "a", "ends after 1 of 2 lines, before 'b'"),
        ("a", "a\nb", "goes on after 1 lines with 'b'"),
        ("1.0", "1", "line 1 is '1', not '1.0'"),
    ],
)
def test_the_rule_of_comparison(expected, output, where):
    assert difference(expected, output) == where


def test_a_difference_is_told_in_few_words():
    assert len(difference("x" * 10**6, "y" * 10**6)) < 300
