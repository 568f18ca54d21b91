"""Functions that are called with values: what they return comes out as plain values, and nothing else does."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks.sandbox import Job, Limits, Outcome, calls, evaluate
from passkwh.benchmarks.sandbox.worker import values
from tests.sandbox.test_stdio import SPY

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=4)
    | st.complex_numbers(allow_nan=False) | st.integers(-(2**80), 2**80),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text() | st.integers(), inner, max_size=3) | st.frozensets(st.integers()) | st.sets(st.text()),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_cross_as_they_are(value: Any) -> None:
    back = values.load(values.dump(value))
    assert back == value
    assert type(back) is type(value)


class Always(list):  # type: ignore[type-arg]
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_a_number_of_more_digits_than_python_writes_is_compared() -> None:
    """As special_factorial and starts_one_ends of HumanEval+ return."""
    (text,) = run("def f(n):\n    return 10**n + 1", [5000]).returned
    assert values.load(text) == 10**5000 + 1
    assert values.shown(values.load(text)) == "a int"


def test_values_of_other_classes_cross_as_what_they_derive_from() -> None:
    assert values.load(values.dump(Always([1]))) != [2]
    assert values.load(values.dump(np.float64(0.5))) == 0.5
    assert type(values.load(values.dump(np.int64(3)))) is np.int64
    assert values.load(values.dump(np.array([[1, 2]]))).tolist() == [[1, 2]]
    assert math.isnan(values.load(values.dump(math.nan)))
    loop: list[Any] = []
    loop.append(loop)
    for odd in (object(), loop, np.array([object()]), np.array(["a"])):
        back = values.load(values.dump(odd))
        assert isinstance(back, values.Opaque)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "[1]", '["exec","1"]', '["set",["list"]]', '["dict",[1]]', '["complex","a","b"]',
        '["array","O",[1]]', '["scalar","float64",["dict"]]', "[" * 100_000, '["list",' * 300 + "1" + "]" * 300,
        '["bytes","x"]', '["opaque",3]', '["int","x"]', '["int",1]', "1" * 5000,
    ],
)  # fmt: skip
def test_a_text_of_no_value_makes_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        values.load(text)


def job(
    code: str, inputs: list[Any], key: str = "a", function: str = "f", expected: str = "", timeout_s: float = 10.0
) -> Job:
    case = calls(function, [values.dump(list(one)) for one in inputs], expected)
    return Job(key, code, "", "calls", timeout_s, cases=(case,))


def run(code: str, *inputs: Any, function: str = "f", **limits: Any) -> Outcome:
    more = {"limits": Limits(memory_bytes=1 << 29, **limits)} if limits else {}
    (outcome,) = evaluate([job(code, list(inputs), function=function)], workers=1, **more)
    return outcome


def test_a_function_is_called_with_each_input() -> None:
    outcome = run(
        "import sys\nprint('x')\ndef f(a, b):\n    print(a, file=sys.stderr)\n    return (a, {b})\n", (1, "b"), (2.5, 3)
    )
    assert outcome.status == "pass"
    assert [values.load(text) for text in outcome.returned] == [(1, {"b"}), (2.5, {3})]
    assert outcome.tests_run == 2


def test_a_method_is_called_of_one_object() -> None:
    code = "class Solution:\n    n = 0\n    def f(self, a):\n        self.n += a\n        return self.n\n"
    assert run(code, (1,), (2,), function="Solution.f").returned == ("1", "3")


NO_END = "def f(a):\n    while a: pass\n"
LEAVES = "import os\ndef f(a):\n    os._exit(0) if a else None\n"
FORKS = "import os\ndef f(a):\n    if os.fork(): return 1\n    os.write(1, b'no'); os._exit(3)\n"


@pytest.mark.parametrize(
    ("code", "status", "returned", "detail"),
    [
        ("def f(a):\n    return 1 // a\n", "pass", ("", "1"), "call 1 of 2: ZeroDivisionError"),
        ("def g(a):\n    return a\n", "fail", (), "ALL: KeyError"),
        ("import nothing_of_this_name\n", "fail", (), "ALL: ModuleNotFoundError"),
        ("def f(a)\n", "fail", (), "ALL: SyntaxError"),
        (LEAVES, "fail", ("null",), "ended after 1 of 2 calls (exit code 0)"),
        ("import os\nos._exit(0)\n", "fail", (), "ended after 0 of 2 calls"),
        (NO_END, "timeout", ("null",), "no verdict within"),
        ("def f(a):\n    return 'x' * (20 << 20)\n", "fail", (), "wrote more than 8 MiB"),
        (FORKS, "pass", ("1", "1"), ""),
        ("raise SystemExit(0)\n", "fail", (), "ALL: SystemExit"),
    ],
)
def test_what_goes_wrong_is_said(code: str, status: str, returned: tuple[str, ...], detail: str) -> None:
    (outcome,) = evaluate([replace(job(code, [(0,), (1,)]), timeout_s=2.0)], workers=1)
    assert (outcome.status, outcome.returned) == (status, returned)
    assert detail in outcome.detail


MANY = """
import os, time

def f():
    for n in range(100):
        try:
            if not os.fork():
                time.sleep(9)
        except OSError:
            return n
"""


def test_memory_and_processes_are_limited() -> None:
    assert run("def f():\n    return len(bytearray(1 << 30))\n", (), tmp_bytes=1 << 24).returned == ("",)
    assert values.load(run(MANY, (), processes=20).returned[0]) < 30


WRITES = """
import os
for descriptor in range(3, 64):
    try:
        os.write(descriptor, b'{"value": "7"}\\n')
    except OSError:
        pass

def f(a):
    return a
"""
PATCHES = """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith("worker"):
        for key, member in list(vars(module).items()):
            if callable(member):
                setattr(module, key, lambda *a: "7")

def f(a):
    return a
"""


@pytest.mark.parametrize("code", [WRITES, PATCHES], ids=["writes answers of its own", "patches the evaluator"])
def test_a_forger_can_only_choose_its_values(code: str) -> None:
    """It may say that a call returned 7, as it may return 7: no status and no error of the evaluator."""
    outcome = run(code, (1,), (2,))
    assert outcome.status in ("pass", "fail")
    assert set(outcome.returned) <= {"7", "1", "2"}


def test_expected_values_are_nowhere_to_be_found() -> None:
    """The stdio spy, called: it sees its own input and nothing that is expected of it or of the jobs beside it."""
    spy = SPY.replace("asked = sys.stdin.read()", "").replace("print('sees'", "result = ('sees'")
    body = "".join(f"    {line}\n" for line in spy.splitlines())
    code = f"def f(asked):\n{body}    return sorted(found)\n"
    tokens = [uuid.uuid4().hex for _ in range(3)]
    jobs = [
        job(code, [(f"input-{t}",)], key=f"{n}", expected=f"expected-{t}", timeout_s=120.0)  # a spy takes its time
        for n, t in enumerate(tokens)
    ]
    outcomes = list(evaluate(jobs, workers=2))
    for outcome in outcomes:
        assert outcome.status == "pass", outcome.detail
        assert "expected" not in outcome.returned[0]
    assert any("input" in outcome.returned[0] for outcome in outcomes), "the spy sees nothing at all"


def test_a_calls_job_has_one_case() -> None:
    with pytest.raises(ValueError, match="calls and stdio jobs have cases"):
        Job("a", "", "", "calls", 1.0)
    assert json.loads(calls("f", ["[]"]).input) == {"function": "f", "calls": ["[]"]}
