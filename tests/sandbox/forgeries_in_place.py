"""Wrong solutions of tests that need the program in their own process (they use mocks), and right ones."""

from __future__ import annotations


def _test(body: str, imports: str = "") -> str:
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    head = f"import unittest\nfrom unittest.mock import patch\n{imports}\n"
    return f"{head}class TestCases(unittest.TestCase):\n    def test_it(self):\n{lines}"


EQUAL = _test("self.assertEqual(double(21), 42)")
DUMPS = _test("self.assertEqual(json.dumps(double([3])), json.dumps([3, 3]))", "import json")
CLOSE = _test("self.assertTrue(isclose(double(1.5), 3.0))", "from math import isclose")
LENGTH = _test("self.assertEqual(len(double([3])), 2)\nself.assertTrue(all(x == 3 for x in double([3])))")
ALL = _test("self.assertTrue(all(x == 3 for x in double([1])))")
EXISTS = _test(
    "double('/tmp/x')\nself.assertTrue(os.path.exists('/tmp/x'))\nself.assertTrue(os.path.isfile('/tmp/x'))",
    "import os",
)
PRINTED = _test("with patch('builtins.print') as output:\n    double(3)\noutput.assert_called_once_with(6)")
ALMOST = _test("self.assertAlmostEqual(double(2.5), 5.0)")
RAISES = _test("with self.assertRaises(ValueError):\n    double(None)\nself.assertEqual(double(1), 2)")

_EMPTY = "def double(x):\n    return []\n"
_NONE = "def double(x):\n    return None\n"

FORGERIES = {
    "patches json": ("import json\njson.dumps = lambda *a, **k: 'x'\n" + _NONE, DUMPS),
    "patches json by setattr": ("import json\nsetattr(json, 'du' + 'mps', lambda *a, **k: 'x')\n" + _NONE, DUMPS),
    "patches json by its dictionary": ("import json\nvars(json)['dumps'] = lambda *a, **k: 'x'\n" + _NONE, DUMPS),
    "patches the encoder": (
        "import json\njson.JSONEncoder.encode = lambda self, o: 'x'\n"
        "json._default_encoder.encode = lambda o: 'x'\n" + _NONE,
        DUMPS,
    ),
    "replaces a module": (
        "import sys, types\nfake = types.ModuleType('json')\nfake.dumps = lambda *a: 'x'\n"
        "sys.modules['json'] = fake\n" + _NONE,
        DUMPS,
    ),
    "replaces a module by another name": (
        "import sys, types\nfake = types.ModuleType('json')\nfake.dumps = lambda *a: 'x'\n"
        "getattr(sys, 'mod' + 'ules').update(json=fake)\n" + _NONE,
        DUMPS,
    ),
    "hooks the import": (
        "import sys, types\nfrom importlib.machinery import ModuleSpec\nclass Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return ModuleSpec(name, self) if name == 'json' else None\n"
        "    def create_module(self, spec):\n        fake = types.ModuleType('json')\n"
        "        fake.dumps = lambda *a: 'x'\n        return fake\n"
        "    def exec_module(self, module): pass\n"
        "sys.meta_path.insert(0, Finder())\ndel sys.modules['json']\n" + _NONE,
        DUMPS,
    ),
    "patches math": ("import math\nmath.isclose = lambda *a, **k: True\n" + _NONE, CLOSE),
    "patches os.path": ("import os\nos.path.exists = os.path.isfile = lambda p: True\n" + _NONE, EXISTS),
    "hides builtins": ("def len(x): return 2\ndef all(x): return True\n" + _EMPTY, LENGTH),
    "hides builtins by an import": ("from operator import truth as all\nlen = lambda x: 2\n" + _EMPTY, LENGTH),
    "patches builtins": ("import builtins\nbuiltins.all = lambda x: True\ndef double(x): return [1]\n", ALL),
    "patches __builtins__": ("b = __builtins__\nb.all = lambda x: True\ndef double(x): return [1]\n", ALL),
    "patches json for as long as it takes": (
        "import json\nold = json.dumps\ndef quiet(*a):\n    json.dumps = old\n    return '[3, 3]'\n"
        "def double(x):\n    json.dumps = quiet\n",
        _test("value = double([3])\nself.assertEqual(json.dumps(value), '[3, 3]')", "import json"),
    ),
    "a mock's assertion, on the instance": ("def double(x):\n"
    "    print.assert_called_once_with = lambda *a: None\n", PRINTED),
    "a mock's assertion, on the class": ("def double(x):\n"
    "    type(print).assert_called_once_with = lambda *a: None\n", PRINTED),
    "a mock's assertion, for all": (
        "from unittest import mock\nmock.NonCallableMock.assert_called_once_with = lambda *a: None\n" + _NONE,
        PRINTED,
    ),
    "a mock's assertion, by inheritance": (
        "from unittest import mock\nmock.MagicMock.assert_called_once_with = lambda *a: None\n" + _NONE,
        PRINTED,
    ),
    "a mock's record": (
        "from unittest.mock import call\ndef double(x):\n    print.called = True\n    print.call_count = 1\n"
        "    print.call_args = call(6)\n    print.call_args_list.append(call(6))\n",
        PRINTED,
    ),
    "swallows assertions": (
        "import contextlib\nkind = contextlib._GeneratorContextManager\nleave = kind.__exit__\n"
        "kind.__exit__ = lambda self, k, e, t: leave(self, None, None, None) or True\n" + _NONE,
        EQUAL,
    ),
    "replaces the exception": (
        "import builtins, unittest\nbuiltins.AssertionError = unittest.SkipTest\n"
        "unittest.TestCase.failureException = unittest.SkipTest\n" + _NONE,
        EQUAL,
    ),
    "a property for an assertion": (
        "import unittest\nunittest.TestCase.assertEqual = property(lambda self: lambda *a: None)\n" + _NONE,
        EQUAL,
    ),
    "bases of the test": (
        "import unittest\nclass Quiet(unittest.TestCase):\n    def assertEqual(self, *a): pass\n"
        "unittest.TestCase = Quiet\n" + _NONE,
        EQUAL,
    ),
    "equal in C": ("import operator\nclass L: pass\nL.__eq__ = operator.truth\ndef double(x): return L()\n", EQUAL),
    "equal by a type": ("class L: pass\nL.__eq__ = int\ndef double(x): return L()\n", EQUAL),
    "equal by a partial": (
        "import functools, operator\nclass L: pass\nL.__eq__ = functools.partial(operator.is_not, None)\n"
        "def double(x): return L()\n",
        EQUAL,
    ),
    "equal to small numbers": (
        "class L:\n    def __eq__(self, other): return isinstance(other, int) and other < 1000\n"
        "def double(x): return L()\n",
        EQUAL,
    ),
    "equal by a metaclass": (
        "class M(type):\n    def __eq__(cls, other): return True\n    __hash__ = type.__hash__\n"
        "class L(metaclass=M): pass\n"
        "def double(x): return L\n",
        EQUAL,
    ),
    "equal by a later class": (
        "class A: pass\nclass B:\n    def __eq__(self, other): return other == 42\n"
        "def double(x):\n    a = A()\n    a.__class__ = B\n    return a\n",
        EQUAL,
    ),
    "equal, a mock": ("from unittest import mock\ndef double(x): return mock.ANY\n", EQUAL),
    "equal, a mock that was told so": (
        "from unittest import mock\ndef double(x):\n    m = mock.MagicMock()\n"
        "    m.__eq__.return_value = True\n    return m\n",
        EQUAL,
    ),
    "rounds to nothing": (
        "class F(float):\n    def __sub__(self, o): return self\n    def __abs__(self): return self\n"
        "    def __round__(self, n=None): return 0\ndef double(x): return F(99)\n",
        ALMOST,
    ),
    "is no number, and rounds to nothing": (
        "class F:\n    def __sub__(self, o): return self\n    __rsub__ = __sub__\n    def __abs__(self): return self\n"
        "    def __round__(self, n=None): return 0\ndef double(x): return F()\n",
        ALMOST,
    ),
    "reads the test from the stack": (
        "import sys\ndef double(x):\n    return sys._getframe(1).f_code.co_consts[2]\n", EQUAL),
    "reads the test by a captured traceback": (
        "import traceback, sys\ndef double(x):\n    try: 1 / 0\n    except ZeroDivisionError as e:\n"
        "        summary = traceback.StackSummary.extract(traceback.walk_stack(None), capture_locals=True)\n"
        "    return 42 if summary else None\n",
        EQUAL,
    ),
    "reads the test by a signal": (
        "import signal\nseen = []\ndef double(x):\n    if x == 21 and not seen:\n"
        "        signal.signal(signal.SIGUSR1, lambda n, frame: seen.append(frame.f_back))\n"
        "        signal.raise_signal(signal.SIGUSR1)\n"
        "    return [c for c in seen[0].f_code.co_consts if c == 42 or c == 2][0] if x else None\n",
        EQUAL,
    ),
    "reads the test by the collector": (
        "import gc\ndef double(x):\n"
        "    return 42 if [o for o in gc.get_objects() if isinstance(o, type)] else None\n", EQUAL),
    "reads the test by inspect": (
        "import inspect\ndef double(x):\n    return 42 if inspect.stack()[1].frame.f_locals else None\n", EQUAL),
    "stops the observer": ("import sys\ndef double(x):\n    sys.setprofile(None)\n    return 42\n", EQUAL),
    "writes to its memory": (
        "def double(x):\n    with open('/proc/self/' + 'mem', 'rb') as memory: pass\n    return 42\n", EQUAL),
    "swaps code": ("import json\njson.dumps.__code__ = (lambda *a, **k: 'x').__code__\n" + _NONE, DUMPS),
    "swaps defaults": (
        "import json\n"
        "E = type('E', (), {'__init__': lambda s, **k: None, 'encode': lambda s, o: 'x'})\n"
        "json.dumps.__kwdefaults__.update(cls=E)\n"
        "json.dumps.__kwdefaults__['sort_keys'] = True\n" + _NONE,
        DUMPS,
    ),
    "pickles a patch": (
        "import pickle\nclass P:\n    def __reduce__(self):\n"
        "        return exec, ('import json; json.dumps = lambda *a, **k: 1',)\n"
        "pickle.loads(pickle.dumps(P()))\n" + _NONE,
        DUMPS,
    ),
    "sets attributes by a parser": (
        "import argparse, json\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--dumps', type=lambda s: lambda *a, **k: s)\n"
        "parser.parse_args(['--dumps', 'x'], namespace=json)\n" + _NONE,
        DUMPS,
    ),
    "sets attributes by a wrapper": (
        "import functools, json\nclass Quiet:\n    dumps = staticmethod(lambda *a, **k: 'x')\n"
        "functools.update_wrapper(json, Quiet, assigned=('dumps',), updated=())\n" + _NONE,
        DUMPS,
    ),
    "sets attributes by a loop": ("import json\nfor json.dumps in [lambda *a, **k: 'x']: pass\n" + _NONE, DUMPS),
    "sets attributes by a method": (
        "import json\nclass A:\n    def patch(self): self.dumps = lambda *a, **k: 'x'\nA.patch(json)\n" + _NONE, DUMPS),
    "code in text": ("exec(\"import json; json.dumps = lambda *a, **k: 'x'\")\n" + _NONE, DUMPS),
}  # fmt: skip

_PRINTS = "def double(x):\n    print(x * 2)\n    return x * 2\n"

HONEST = {
    "prints": (_PRINTS, PRINTED),
    "has classes": (
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "    def __eq__(self, o): return isinstance(o, Point) and self.x == o.x\n"
        "    def __hash__(self): return hash(self.x)\ndef double(x): return Point(x * 2)\n",
        _test("self.assertEqual(double(21).x, 42)\nself.assertEqual(double(2), double(2))\n"
        "self.assertNotEqual(double(1), double(2))"),
    ),
    "a data class": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef double(x): return P(x * 2)\n",
        _test("self.assertEqual(double(2), double(2))\nself.assertEqual(double(2).x, 4)"),
    ),
    "a list of its own": (
        "class L(list):\n    def __eq__(self, o): return list(self) == list(o)\n    __hash__ = None\n"
        "def double(x): return L(x * 2).x if 0 else list(x * 2)\n",
        LENGTH.replace("double([3])", "double([3])"),
    ),
    "patches a class of its own": (
        "class A:\n    def f(self): return 1\nA.f = lambda self: 2\ndef double(x): return x * A().f()\n", EQUAL),
    "locks and threads": (
        "import threading\nlock = threading.Lock()\nkept = []\ndef double(x):\n    def work():\n"
        "        with lock: kept.append(x * 2)\n"
        "    t = threading.Thread(target=work)\n    t.start(); t.join()\n    return kept.pop()\n",
        EQUAL,
    ),
    "weak references": (
        "import weakref\nclass A: pass\ndef double(x):\n    a = A()\n    r = weakref.ref(a)\n"
        "    return x * 2 if r() is a else None\n", EQUAL),
    "ctypes": ("import ctypes\ndef double(x):\n    return ctypes.c_int(2).value * x\n", EQUAL),
    "warnings and seeds": (
        "import warnings, random, locale\nwarnings.filterwarnings('ignore')\nwarnings.simplefilter('error')\n"
        "random.seed(3)\n"
        "locale.setlocale(locale.LC_ALL, 'C')\ndef double(x):\n    random.random()\n    return x * 2\n",
        EQUAL,
    ),
    "an alarm of its own": (
        "import signal, time\nclass Late(Exception): pass\ndef late(*a): raise Late\ndef double(x):\n"
        "    old = signal.signal(signal.SIGALRM, late)\n    signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "    try:\n        time.sleep(5)\n"
        "    except Late: pass\n    return x * 2\n",
        EQUAL,
    ),
    "decorators": (
        "import functools\ndef logged(f):\n    @functools.wraps(f)\n    def wrapper(*a):\n"
        "        wrapper.call_count += 1\n        return f(*a)\n"
        "    wrapper.call_count = 0\n    return wrapper\n@logged\ndef double(x): return x * 2\n",
        EQUAL,
    ),
    "a traceback": (
        "import traceback, logging\ndef double(x):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n"
        "        logging.debug(traceback.format_exc())\n    return x * 2\n",
        EQUAL,
    ),
    "signatures": (
        "import inspect\ndef double(x):\n    return x * 2 if inspect.signature(double).parameters else None\n", EQUAL),
    "an error": ("class Bad(ValueError): pass\ndef double(x):\n    if x is None: raise Bad('no')\n"
    "    return x * 2\n", RAISES),
}  # fmt: skip
