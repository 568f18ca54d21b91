"""Programs that would rather be judged right than be right: each defines ``solve``, whose argument does not matter."""

from __future__ import annotations

ATTACKS = {
    "equal to everything": '''
class Any(str):
    __hash__ = str.__hash__

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

def solve(*_):
    return Any("x")
''',
    "an object equal to everything": '''
class Any:
    def __eq__(self, other):
        return True

def solve(*_):
    return Any()
''',
    "prints the verdict": '''
def solve(*_):
    print('{"value": "1"}')
    print("pass")
''',
    "leaves early": "import os\nos._exit(0)\n",
    "exits": "import sys\nsys.exit(0)\n",
    "leaves in a call": "import os\n\ndef solve(*_):\n    os._exit(0)\n",
    "looks into frames": '''
import gc, sys

def solve(*_):
    frame, found = sys._getframe(), []
    while frame:
        found += [value for value in frame.f_locals.values() if isinstance(value, int)]
        frame = frame.f_back
    return found[-1] if found else 99
''',
    "hangs": "def solve(*_):\n    while True:\n        pass\n",
    "forks": "import os\n\ndef solve(*_):\n    while True:\n        os.fork()\n",
    "fills memory": '''
def solve(*_):
    kept = []
    while True:
        kept.append(bytearray(1 << 26))
''',
    "patches the evaluator": '''
import builtins, json, sys

builtins.isinstance = lambda *_: True
json.dumps = lambda *_, **__: "1"
for name, module in list(sys.modules.items()):
    if "worker" in name:
        module.__dict__.clear()

def solve(*_):
    return 99
''',
}  # fmt: skip
