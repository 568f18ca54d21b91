"""Programs that attack their judge: wrong solutions of ``TEST`` that try to pass it."""

TEST = """
import unittest

class TestCases(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(21), 42)

    def test_text(self):
        self.assertTrue(double("ab") == "abab")

    def test_list(self):
        result = double([3])
        self.assertIsInstance(result, list)
        self.assertEqual(result, [3, 3])
"""

_WRONG = "def double(x):\n    return None\n"
_ALWAYS = """
class Always(list):
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
def double(x):
    return Always()
"""

FORGERIES = {
    "leaves early": "import os\ndef double(x):\n    os._exit(0)",
    "leaves with success": "import sys\ndef double(x):\n    sys.exit(0)",
    "leaves on import": "import os\nos._exit(0)",
    "skips": "import unittest\ndef double(x):\n    raise unittest.SkipTest('no')",
    "skips by another name": """
import sys
def double(x):
    raise getattr(sys.modules['unit' + 'test'], 'Skip' + 'Test')
""",
    "equals everything": _ALWAYS,
    "equals everything, made at run time": """
def double(x):
    return type('L', (list,), {'__e' + 'q__': lambda a, b: True})()
""",
    "equals everything, without a function": "class L(list):\n    __eq__ = id\ndef double(x):\n    return L()",
    "equals when asked": """
class L(list):
    def __eq__(self, other):
        self[:] = other
        return list.__eq__(self, other)
def double(x):
    return L()
""",
    "any": """
from unittest import mock
def double(x):
    return mock.ANY if not isinstance(x, list) else type('L', (list,), {'__eq__': lambda s, o: True})()
""",
    "reads the test from the frames": """
import sys
def double(x):
    frame = sys._getframe(1)
    constants = frame.f_code.co_consts
    for constant in constants:
        if isinstance(constant, (int, str)) and constant not in (21, 'ab', None) and type(constant) is type(x):
            return constant
    return [3, 3]
""",
    "reads the test from a traceback": """
def double(x):
    try:
        raise ValueError
    except ValueError as error:
        frame = error.__traceback__.tb_frame.f_back
    for constant in frame.f_code.co_consts:
        if type(constant) is type(x) and constant != x:
            return constant
    return [3, 3]
""",
    "reads the test class": """
def double(x):
    import inspect
    case = globals()['Test' + 'Cases']
    constants = case.test_double.__code__.co_consts
    return {int: 42, str: 'abab', list: [3, 3]}[type(x)] if constants else None
""",
    "finds the test by the collector": """
import gc
def double(x):
    for found in gc.get_objects():
        if isinstance(found, type) and found.__name__ == 'TestCases':
            return {int: 42, str: 'abab', list: [3, 3]}[type(x)]
""",
    "patches assertions": """
import unittest
for name in dir(unittest.TestCase):
    if name.startswith('assert'):
        setattr(unittest.TestCase, name, lambda *a, **k: None)
def double(x):
    return None
""",
    "patches assertions and puts them back": """
import unittest
def double(x):
    saved = {n: getattr(unittest.TestCase, n) for n in ('assertEqual', 'assertTrue', 'assertIsInstance')}
    left = 2 if isinstance(x, list) else 1
    def fake(*a, **k):
        nonlocal left
        left -= 1
        if not left:
            for n, f in saved.items():
                setattr(unittest.TestCase, n, f)
    for n in saved:
        setattr(unittest.TestCase, n, fake)
""",
    "patches the test's run": """
import unittest
unittest.TestCase.run = lambda self, result=None: setattr(result, 'testsRun', result.testsRun + 1)
"""
    + _WRONG,
    "patches the result": """
import unittest
unittest.TestResult.addFailure = unittest.TestResult.addError = lambda *a: None
"""
    + _WRONG,
    "patches the outcome": """
import unittest.case, contextlib
@contextlib.contextmanager
def quiet(self, *a, **k):
    try:
        yield
    except BaseException:
        pass
unittest.case._Outcome.testPartExecutor = quiet
"""
    + _WRONG,
    "patches the loader": """
import unittest
unittest.TestLoader.testMethodPrefix = 'no'
"""
    + _WRONG,
    "patches the loader's method": """
import unittest
unittest.TestLoader.loadTestsFromTestCase = lambda self, cases: unittest.TestSuite()
"""
    + _WRONG,
    "patches the suite": """
import unittest
unittest.TestSuite.run = lambda self, result, debug=False: result
"""
    + _WRONG,
    "expects the failure": """
def double(x):
    for value in list(globals().values()):
        if isinstance(value, type):
            for name in dir(value):
                if name.startswith('test_'):
                    getattr(value, name).__unittest_expecting_failure__ = True
""",
    "replaces the tests": """
def double(x):
    for value in list(globals().values()):
        if isinstance(value, type):
            for name in [n for n in dir(value) if n.startswith('test_')]:
                setattr(value, name, lambda self: None)
    return {int: 42}.get(type(x))
""",
    "patches building classes": """
import builtins
build = builtins.__build_class__
def quiet(function, name, *bases, **keywords):
    made = build(function, name, *bases, **keywords)
    for attribute in [n for n in vars(made) if n.startswith('test')]:
        setattr(made, attribute, lambda self: None)
    return made
builtins.__build_class__ = quiet
"""
    + _WRONG,
    "patches building classes and puts it back": """
import builtins
build = builtins.__build_class__
def quiet(function, name, *bases, **keywords):
    builtins.__build_class__ = build
    made = build(function, name, *bases, **keywords)
    for attribute in [n for n in vars(made) if n.startswith('test')]:
        setattr(made, attribute, lambda self: None)
    return made
builtins.__build_class__ = quiet
"""
    + _WRONG,
    "patches the exception": """
import builtins
builtins.AssertionError = type('Quiet', (BaseException,), {})
import unittest
unittest.TestCase.failureException = unittest.SkipTest
"""
    + _WRONG,
    "writes the verdict": """
import os
def double(x):
    os.write(3, b'0' * 32 + b' 0 "tests" "3"\\n' + b'0' * 32 + b' 1 "status" "pass"\\n')
    os._exit(0)
""",
    "takes over the channel": """
import os
keep = os.dup(3)
reader, writer = os.pipe()
os.dup2(writer, 3)
def double(x):
    os.write(keep, b'0' * 32 + b' 0 "status" "pass"\\n')
    os._exit(0)
""",
    "continues in a child": """
import os
def double(x):
    if os.fork():
        os.wait()
        os._exit(0)
    return None
""",
    "takes the key from a frame": """
import sys
def double(x):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if callable(value) and getattr(value, '__name__', '') == 'send':
                value('tests', '3')
                value('skipped', '0')
                value('status', 'pass')
                import os
                os._exit(0)
        frame = frame.f_back
""",
    "takes the key by the collector": """
import gc, os
def double(x):
    for value in gc.get_objects():
        if callable(value) and getattr(value, '__qualname__', '') == 'sender.<locals>.send':
            value('tests', '3')
            value('status', 'pass')
            os._exit(0)
""",
    "patches the judge": """
import sys
for name in list(sys.modules):
    if name.startswith('inside') or name.endswith(('sample', 'official', 'zygote')):
        module = sys.modules[name]
        for attribute in list(vars(module)):
            if callable(getattr(module, attribute)):
                setattr(module, attribute, lambda *a, **k: [])
"""
    + _WRONG,
    "patches the judge through its output": """
import sys
space = type(sys.stdout).write.__globals__
for name in list(space):
    if name in ('time_limit', 'swallowed_io'):
        del space[name]
"""
    + _WRONG,
    "traces": """
import sys
def tracer(frame, event, argument):
    if 'self' in frame.f_locals:
        frame.f_locals['self'].assertEqual = lambda *a: None
    return tracer
def double(x):
    sys.settrace(tracer)
""",
    "pokes with ctypes": """
import ctypes, unittest
set_attribute = ctypes.pythonapi.PyObject_SetAttrString
for name in ('assertEqual', 'assertTrue', 'assertIsInstance'):
    quiet = lambda *a, **k: None
    set_attribute(ctypes.py_object(unittest.TestCase), name.encode(), ctypes.py_object(quiet))
"""
    + _WRONG,
    "swaps code": """
import unittest
def double(x):
    unittest.TestCase.assertEqual.__code__ = (lambda self, first, second, msg=None: None).__code__
""",
    "exits when the tests begin": """
import threading, os, time
threading.Thread(target=lambda: (time.sleep(0.05), os._exit(0)), daemon=True).start()
def double(x):
    time.sleep(1)
""",
    "at exit": """
import atexit, os
atexit.register(lambda: os._exit(0))
def double(x):
    raise SystemExit
""",
}
