"""Which passes are trusted: what the text of a program says, and what a second look shows."""

import pytest

from passkwh.benchmarks.sandbox import Job, evaluate, suspicion

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
    "by name": "import operator\ndef double(x):\n    return getattr(operator, ''.join(['m', 'ul']))(x, 2)",
    "evaluated": "def double(x):\n    return eval('x * 2')",
    "logged": "import logging\ndef double(x):\n    logging.getLogger('a').warning('x')\n    return x * 2",
    "data class with annotations": (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int = 0\ndef double(x):\n    return P(x * 2).x"
    ),
    "named tuple": "import collections\nP = collections.namedtuple('P', 'x')\ndef double(x):\n    return P(x * 2).x",
    "data class": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef double(x):\n    return P(x * 2).x"
    ),
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


def test_the_unusual_among_them_were_looked_at_twice():
    unusual = {name for name, code in HONEST.items() if suspicion.unusual(code)}
    assert unusual == {"by name", "evaluated", "meta", "caught", "annotated", "with tests of its own"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("class A:\n    def __eq__(self, other):\n        return True", "overrides __eq__"),
        ("class A:\n    __ne__ = id", "overrides __ne__"),
        ("setattr(A, '__lt__', f)", "overrides __lt__"),
        ("x = TestCases", "names TestCases"),
        ("from unittest import mock\nx = mock.ANY", "uses an object that equals everything"),
        ("import ctypes.util", "uses ctypes"),
    ],
)
def test_reasons_in_the_text(code, reason):
    assert suspicion.reasons(code) == (reason,)


def test_an_ordinary_comparison_method_is_no_reason():
    code = "class A:\n    def __eq__(self, other):\n        return self.x == other.x"
    assert suspicion.reasons(code) == ()
    assert suspicion.unusual(code)


def test_what_the_reference_solution_does_as_well_is_not_suspicious():
    code = "import ctypes\ndef double(x):\n    return x * 2"
    jobs = [
        Job("rare", code, TEST, "unittest", 10.0),
        Job("usual", code, TEST, "unittest", 10.0, usual=frozenset({"uses ctypes"})),
    ]
    outcomes = {outcome.key: outcome for outcome in evaluate(jobs)}
    assert outcomes["rare"].suspect == ("uses ctypes",)
    assert outcomes["usual"].suspect == ()


def test_another_number_of_tests_than_the_reference_ran_is_suspicious():
    job = Job("few", HONEST["plain"], TEST, "unittest", 10.0, expected_tests=5)
    assert next(iter(evaluate([job]))).suspect == ("3 tests ran, not 5",)


def test_scripts_get_a_second_look_too():
    code = "class E(int):\n    def __eq__(self, other):\n        return bool(1)\ndef one():\n    return E()"
    outcome = next(iter(evaluate([Job("a", code, "def check(f):\n    assert f() == 1\ncheck(one)", "script", 5.0)])))
    assert outcome.status == "pass"
    assert outcome.suspect == ("answers comparisons of its tests itself (__eq__)",)
