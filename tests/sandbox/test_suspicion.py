"""Which passes are trusted: what the texts of program and test say, and what the second looks show."""

import pytest

from passkwh.benchmarks.sandbox import Job, evaluate, suspicion
from tests.sandbox import forgeries_in_place

TEST = """
import unittest

class TestCases(unittest.TestCase):
    def setUp(self):
        self.four = 4

    def test_double(self):
        self.assertEqual(double(2), self.four)

    @unittest.skipIf(False, "never")
    def test_raises(self):
        with self.assertRaises(TypeError):
            double(None)

    def test_parts(self):
        for value in (1, 2):
            with self.subTest(value=value):
                self.assertIn(double(value), [2, 4])
"""

HONEST = {
    "plain": "def double(x):\n    return x * 2",
    "with a byte order mark": "\ufeffdef double(x):\n    return x * 2",
    "by name": "import operator\ndef double(x):\n    return getattr(operator, ''.join(['m', 'ul']))(x, 2)",
    "evaluated": "def double(x):\n    return eval('x * 2')",
    "logged": "import logging\ndef double(x):\n    logging.getLogger('a').warning('x')\n    return x * 2",
    "data class with annotations": (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int = 0\ndef double(x):\n    return P(x * 2).x"
    ),
    "named tuple": "import collections\nP = collections.namedtuple('P', 'x')\ndef double(x):\n    return P(x * 2).x",
    "meta": "class Meta(type):\n    pass\nclass A(metaclass=Meta):\n    pass\ndef double(x):\n    return x * 2",
    "caught": (
        "import traceback\ndef double(x):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n"
        "        traceback.format_exc()\n    return x * 2"
    ),
    "annotated": "from __future__ import annotations\nimport unittest\ndef double(x: No) -> No:\n    return x * 2",
    "with tests of its own": (
        "import unittest\nclass TestDouble(unittest.TestCase):\n    def test_it(self):\n"
        "        self.assertEqual(double(1), 2)\ndef double(x):\n    return x * 2"
    ),
    "ctypes": "import ctypes\ndef double(x):\n    return ctypes.c_int(2).value * x",
    "calls into libc": "import ctypes\nabs = ctypes.CDLL(None).abs\ndef double(x):\n    return abs(x * 2)",
    "an integer of its own": (
        "class N(int):\n    def __eq__(self, other):\n        return int(self) == int(other)\n"
        "    __hash__ = int.__hash__\n"
        "def double(x):\n    return N(x * 2)"
    ),
    "an equality that knows itself": (
        "class A:\n    def __eq__(self, other):\n        if self is other:\n            return True\n"
        "        return False\n"
        "def double(x):\n    return x * 2 if A() != A() else None"
    ),
    "patches what only it uses": "import json\njson.dumps = lambda x: x\ndef double(x):\n    return json.dumps(x * 2)",
    "a wrapper": (
        "import functools\ndef same(f):\n    @functools.wraps(f)\n    def call(*a):\n        return f(*a)\n"
        "    return call\n"
        "@same\ndef double(x):\n    return x * 2"
    ),
}


@pytest.fixture(scope="module")
def outcomes():
    jobs = [Job(name, code, TEST, "unittest", 10.0) for name, code in HONEST.items()]
    return {outcome.key: outcome for outcome in evaluate(jobs, workers=2)}


@pytest.mark.parametrize("name", HONEST)
def test_honest_programs_are_trusted_even_if_they_are_unusual(name, outcomes):
    assert outcomes[name].status == "pass"
    assert outcomes[name].suspect == ()
    assert outcomes[name].tests_run == 3


def test_programs_that_could_not_reach_their_judge_are_looked_at_once():
    usual = {name for name, code in HONEST.items() if not suspicion.unusual(code.lstrip("\ufeff"))}
    assert usual == {"plain", "with a byte order mark", "logged", "named tuple"}


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.path.exists = len",
        "import os\nfor os.path.exists in [len]: pass",
        "with open('x') as A.b: pass",
        "del A.b",
        "import json\nsetattr(json, 'dumps', len)",
        "import json\nvars(json)['dumps'] = len",
        "import json\njson.__dict__['dumps'] = len",
        "def len(x): return 2",
        "all = any",
        "from operator import truth as all",
        "from math import *",
        "import numpy as print",
        "try:\n    pass\nexcept ValueError as sum:\n    pass",
        "def f():\n    global len\n    len = 3",
        "class A:\n    __eq__ = id",
        "type('A', (), {})",
        "from sys import modules",
        "import os\nos.sys.path",
        "getattr(os, name)",
        "getattr(os, 'sys')",
        "f.__globals__",
        "import contextlib\ncontextlib._GeneratorContextManager",
        "from contextlib import _GeneratorContextManager",
        "import pickle",
        "import unheard_of",
        "from . import x",
        "TestCases",
        "x.register(int)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "f(**options)",
        "import functools\nfunctools.update_wrapper(a, b)",
        "df.query('@a.b')",
        "(",
    ],
)
def test_whatever_could_reach_a_judge_asks_for_a_second_look(code):
    assert suspicion.unusual(code)


@pytest.mark.parametrize(
    "code",
    [
        "import re\nword = re.compile('a')\ndef f(x, sum=0):\n    len = 3\n    x['a'] = len\n    return word.match(x)",
        "import numpy as np\ndef f(x):\n    return [np.mean(y) for y in x if y is not None]",
        "from collections import Counter, namedtuple\ndef f(x):\n    return Counter(x).most_common(1)[0][0]",
        "import pandas as pd\ndef f(df):\n    df['a'] = df['b'] * 2\n    return df.groupby('a').sum()",
        "def f(x):\n    with open(x) as file:\n        return file.read()\nif __name__ == '__main__':\n"
        "    print(f('a'))",
    ],
)
def test_ordinary_programs_do_not(code):
    assert not suspicion.unusual(code)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = TestCases", "names TestCases"),
        ("globals()['TestCases']", "names TestCases"),
        ("frame.f_back", "reads frames"),
        ("getattr(frame, 'f_locals')", "reads frames"),
    ],
)
def test_reasons_in_the_text(code, reason):
    assert suspicion.reasons(code) == (reason,)


def test_what_can_be_judged_apart():
    assert suspicion.separable(TEST)
    for test in forgeries_in_place.FORGERIES.values():
        assert not suspicion.separable(test[1])
    assert not suspicion.separable("import pandas as pd")
    assert not suspicion.separable(
        "import unittest\nclass TestCases(unittest.TestCase):\n    def test(self): self.assertLogs()"
    )


@pytest.fixture(scope="module")
def in_place():
    programs = {f"forged {name}": pair for name, pair in forgeries_in_place.FORGERIES.items()}
    programs.update({f"honest {name}": pair for name, pair in forgeries_in_place.HONEST.items()})
    jobs = [Job(name, code, test, "unittest", 5.0) for name, (code, test) in programs.items()]
    return {outcome.key: outcome for outcome in evaluate(jobs, workers=2)}


@pytest.mark.parametrize("name", forgeries_in_place.FORGERIES)
def test_a_forgery_that_shares_its_judges_process_gains_no_trusted_pass(name, in_place):
    outcome = in_place[f"forged {name}"]
    assert outcome.status == "pass", "by the official rule it passes"
    assert outcome.suspect != ()


@pytest.mark.parametrize("name", forgeries_in_place.HONEST)
def test_an_honest_program_that_shares_its_judges_process_is_trusted(name, in_place):
    outcome = in_place[f"honest {name}"]
    assert (outcome.status, outcome.detail, outcome.suspect) == ("pass", "", ())


def test_what_the_reference_solution_does_as_well_is_not_suspicious():
    code = "import gc\ndef double(x):\n    gc.get_objects()\n    return x * 2"
    reason = "searches the memory of its judge"
    jobs = [
        Job("rare", code, forgeries_in_place.EQUAL, "unittest", 10.0),
        Job("usual", code, forgeries_in_place.EQUAL, "unittest", 10.0, usual=frozenset({reason})),
        Job("apart", code, TEST, "unittest", 10.0),
    ]
    outcomes = {outcome.key: outcome for outcome in evaluate(jobs)}
    assert outcomes["rare"].suspect == (reason,)
    assert outcomes["usual"].suspect == ()
    assert outcomes["apart"].suspect == (), "it passes with its test in a process of its own"


def test_another_number_of_tests_than_the_reference_ran_is_suspicious():
    job = Job("few", HONEST["plain"], TEST, "unittest", 10.0, expected_tests=5)
    assert next(iter(evaluate([job]))).suspect == ("3 tests ran, not 5",)


SCRIPTS = {
    "an integer that equals all": (
        "class E(int):\n    def __eq__(self, other):\n        return bool(1)\ndef one():\n    return E()",
        "does not pass with its test in a process of its own: ALL: AssertionError: ",
    ),
    "an object that equals all": (
        "class E:\n    def __eq__(self, other):\n        return bool(1)\ndef one():\n    return E()",
        "answers comparisons of its tests itself (__eq__)",
    ),
    "an object that equals all, in C": (
        "class E:\n    pass\nE.__eq__ = int\ndef one():\n    return E()",
        "returns what equals anything",
    ),
}


def test_scripts_get_second_looks_too():
    test = "def check(f):\n    assert f() == 1\ncheck(one)"
    jobs = [Job(name, code, test, "script", 5.0) for name, (code, _) in SCRIPTS.items()]
    outcomes = {outcome.key: outcome for outcome in evaluate(jobs)}
    assert {outcome.status for outcome in outcomes.values()} == {"pass"}
    assert {name: outcomes[name].suspect[0] for name in SCRIPTS} == {
        name: reason for name, (_, reason) in SCRIPTS.items()
    }
