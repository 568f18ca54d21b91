"""Program and test in two processes: what crosses between them, and what cannot."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
import math
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.benchmarks.sandbox import Job, Limits, evaluate, verdict
from passkwh.benchmarks.sandbox.jobs import Outcome
from passkwh.benchmarks.sandbox.worker import plain

# ---------------------------------------------------------------- values

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.datetimes(timezones=st.just(datetime.UTC) | st.none())
    | st.dates()
    | st.timedeltas()
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=3) | st.binary().map(bytearray),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=3) | st.tuples(inner),
    max_leaves=10,
)


def crossed(value):
    return plain.unpack(json.loads(json.dumps(plain.Packer().pack(value))))


def shape(value):
    """Types all the way down: what equality does not show (1 == True == 1.0)."""
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    if isinstance(value, dict):
        return type(value), [(shape(key), shape(item)) for key, item in value.items()]
    return type(value)


@settings(max_examples=50)
@given(VALUES)
def test_a_plain_value_comes_over_as_it_is(value):
    assert crossed(value) == value
    assert shape(crossed(value)) == shape(value)


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value",
    [
        Point(1, [2]), collections.Counter("aab"), collections.OrderedDict(b=1, a=2), collections.deque([1, 2], 3),
        collections.defaultdict(list, {"a": [1]}), range(1, 9, 2), pathlib.Path("/a/b"), np.float32(1.5), np.int64(-3),
        np.arange(6).reshape(2, 3), np.array(["a", "bc"]), np.array([1, "a", None], dtype=object), int, math, math.sqrt,
        float("inf"), 2**200, "\ud800", fractions.Fraction(1, 3), decimal.Decimal("1.10"), ...,
    ],
    ids=repr,
)  # fmt: skip
def test_more_values_that_come_over(value):
    other = crossed(value)
    assert type(other).__name__ == type(value).__name__
    assert np.array_equal(other, value) if isinstance(value, np.ndarray) else other == value
    assert repr(other) == repr(value)


class Sly(list):
    def __eq__(self, other):
        return True

    __hash__ = None


def test_an_object_of_another_class_comes_over_as_the_plain_part_of_it():
    packer = plain.Packer()
    value = plain.unpack(packer.pack({"a": Sly([1])}))
    assert value == {"a": [1]}
    assert type(value["a"]) is list
    assert packer.reduced


@pytest.mark.parametrize(
    "value",
    [object(), lambda: 1, (x for x in "a"), np.ma.masked, [object()]],
    ids=["object", "function", "generator", "masked", "list of objects"],
)
def test_what_has_no_plain_form_is_refused(value):
    with pytest.raises(plain.NotPlain):
        plain.Packer().pack(value)


def test_a_value_that_contains_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(plain.NotPlain):
        plain.Packer().pack(value)


FORMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(sorted([*plain._READERS, "dict", "deque"])),
    lambda inner: st.lists(inner, max_size=4),
)


@given(FORMS)
def test_a_form_that_a_program_made_up_is_a_plain_value_or_refused(form):
    try:
        value = plain.unpack(form)
    except Exception:
        return
    assert not type(value).__module__.startswith(("unittest", "tests", "hypothesis"))


@pytest.mark.parametrize(
    "form", [["reference", "unittest.mock", "ANY"], ["reference", "unittest", "SkipTest"], ["x"], [], {}]
)
def test_parts_of_the_judge_do_not_come_over(form):
    with pytest.raises(plain.NotPlain):
        plain.unpack(form)


def test_an_error_comes_over_as_the_nearest_class_that_a_library_has():
    class Own(KeyError):
        pass

    error = plain.unpack_error(plain.pack_error(plain.Packer(), Own("a", 1)))
    assert type(error) is KeyError
    assert error.args == ("a", 1)


# ---------------------------------------------------------------- programs

_LOOKS = "import gc\ngc.get_objects()\n"  # suspicious, unless its test passes without it in the process
_HEAD = "import unittest\n{imports}\nclass TestCases(unittest.TestCase):\n    def test_it(self):\n{body}"


def _test(body: str, imports: str = "") -> str:
    return _HEAD.format(imports=imports, body="".join(f"        {line}\n" for line in body.splitlines()))


SEPARABLE = {
    "changes its arguments": (
        "def f(a, *, b):\n    a.sort()\n    a[0].append(9)\n    b['x'] = 1\n    return a",
        _test("a, inner, b = [[3], [1]], [], {}\na.append(inner)\nr = f(a, b=b)\nself.assertIs(r, a)\n"
              "self.assertIs(a[0], a[0])\nself.assertEqual((a, b), ([[9], [1], [3]], {'x': 1}))"),
    ),
    "prints": (
        "def f(x):\n    print('a', x)",
        _test("out = io.StringIO()\nwith redirect_stdout(out):\n    f(1)\nself.assertEqual(out.getvalue(), 'a 1\\n')",
              "import io\nfrom contextlib import redirect_stdout"),
    ),
    "raises": (
        "class Bad(ValueError): pass\ndef f(x):\n    if x: raise Bad('no ' + str(x))\n    raise SystemExit(3)",
        _test("with self.assertRaisesRegex(ValueError, 'no 1'):\n    f(1)\n"
        "with self.assertRaises(SystemExit):\n    f(0)"),
    ),
    "uses files": (
        "import os\ndef f(name):\n    with open(name) as file:\n        text = file.read()\n"
        "    os.makedirs('sub')\n    os.chdir('sub')\n"
        "    open('out', 'w').write(text)\n    return os.getcwd()",
        _test("open('in', 'w').write('x')\nself.assertEqual(f('in'), os.getcwd())\n"
        "self.assertEqual(open('out').read(), 'x')\n"
              "self.assertTrue(os.getcwd().endswith('sub'))", "import os"),
    ),
    "draws numbers": (
        "import random\ndef f():\n    return random.random()",
        _test("random.seed(7)\na = [f(), random.random(), f()]\nrandom.seed(7)\n"
              "self.assertEqual(a, [random.random() for _ in range(3)])", "import random"),
    ),
    "reads the environment": (
        "import os\ndef f():\n    os.environ['B'] = os.environ['A']",
        _test("os.environ['A'] = 'x'\nf()\nself.assertEqual(os.environ['B'], 'x')", "import os"),
    ),
    "keeps a state": ("kept = []\ndef f(x):\n    kept.append(x)\n    return len(kept)", _test("f(1)\n"
    "self.assertEqual(f(1), 2)")),
    "has constants and modules": (
        "import math\nLIMIT = {'a': (1, 2)}\ndef f(x): return x",
        _test("self.assertEqual(LIMIT['a'][1] + math.floor(f(1.5)), 3)"),
    ),
    "uses what its test imports": (
        "def f(x): return textwrap.shorten(x, 5)",
        _test("self.assertEqual(f('a b'), 'a b')", "import textwrap"),
    ),
    "goes by the name of a builtin": ("def sum(a, b): return a * b", _test("self.assertEqual(sum(3, 4), 12)")),
    "takes and returns many types": (
        "def f(*args): return args", _test(
            "value = ({1: {2}}, b'x', datetime(2020, 1, 2), Decimal('1.0'), None)\nself.assertEqual(f(*value), value)",
            "from datetime import datetime\nfrom decimal import Decimal"),
    ),
    "named tuples": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        _test("self.assertEqual(f().y, 2)\nself.assertEqual(f(), (1, 2))"),
    ),
    "breaks its own modules": (
        "import json, struct\njson.dumps = struct.pack = json.JSONEncoder = None\ndef f(): return 1",
        _test("self.assertEqual(f(), 1)"),
    ),
    "ends its threads late": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "def f(): return 1",
        _test("self.assertEqual(f(), 1)"),
    ),
}  # fmt: skip
FORGED = {
    "patches the test's process": (
        "import os, signal\ndef f():\n    for name in ('mem', 'fd/3', 'environ'):\n        try:\n"
        "            with open(f'/proc/{os.getppid()}/{name}', 'r+b'): return 1\n        except OSError: pass\n",
        _test("self.assertEqual(f(), 1)"),
    ),
    "looks for the test in its frames": (
        "import sys\ndef f():\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in list(frame.f_locals.values()):\n"
        "            if 'assert' + 'Equal' in repr(value): return 31337\n        frame = frame.f_back\n",
        _test("self.assertEqual(f(), 31337)"),
    ),
    "looks for the test among all objects": (
        "import gc\ndef f():\n    for value in gc.get_objects():\n        if isinstance(value, dict) and any("
        "isinstance(v, str) and 'assert' + 'Equal' in v for v in list(value.values())): return 31337\n",
        _test("self.assertEqual(f(), 31337)"),
    ),
}


@pytest.fixture(scope="module")
def outcomes():
    jobs = [Job(name, _LOOKS + code, test, "unittest", 8.0) for name, (code, test) in SEPARABLE.items()]
    jobs += [Job(f"{name} again", _LOOKS + code, test, "unittest", 8.0) for name, (code, test) in FORGED.items()]
    return {outcome.key: outcome for outcome in evaluate(jobs, workers=2)}


@pytest.mark.parametrize("name", SEPARABLE)
def test_a_test_in_a_process_of_its_own_sees_what_it_would_see_in_the_program_s(name, outcomes):
    assert (outcomes[name].status, outcomes[name].detail, outcomes[name].suspect) == ("pass", "", ())


@pytest.mark.parametrize("name", FORGED)
def test_the_program_s_process_has_neither_the_test_nor_a_way_to_it(name, outcomes):
    outcome = outcomes[f"{name} again"]
    assert outcome.status != "pass" or outcome.suspect


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("status", "detail", "killed", "waited_s", "expected"),
    [
        ("timeout", "no verdict within 10 s", "time", 3.0, True),
        ("timeout", "no verdict within 10 s", "time", 0.5, False),
        ("timeout", "ended by the evaluator", "it used 900 MiB of memory, 400 allowed", 3.0, False),
        ("fail", "test_a: TimeoutException: Timed out!", "", 3.0, True),
        ("fail", "test_a: AssertionError", "", 3.0, False),
        ("pass", "", "", 3.0, False),
    ],
)
def test_who_was_late_because_of_its_neighbours(status, detail, killed, waited_s, expected):
    job = Job("a", "", "", "script", 10.0)
    outcome = Outcome("a", status, detail, 0, 0, 0.0)
    assert verdict.starved(job, outcome, {"killed": killed, "waited_s": waited_s}) is expected


def test_the_late_are_judged_again_with_nothing_beside_them():
    """More busy children than processors keep the program itself waiting: it is judged twice."""
    code = "import os\nfor _ in range(6):\n    if os.fork() == 0: break\nwhile True: pass"
    jobs = [Job("late", code, "", "script", 0.8), Job("other", "import time\ntime.sleep(0.5)", "", "script", 9.0)]
    limits = Limits(1 << 30, cpu_factor=50.0)
    outcomes = {outcome.key: outcome for outcome in evaluate(jobs, workers=2, limits=limits)}
    assert outcomes["late"].status == "timeout"
    assert outcomes["late"].start_ns > outcomes["other"].end_ns
