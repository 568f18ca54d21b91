"""What a model wrote and what becomes of it: every kind of answer gives its verdict, and none stops those of others."""

from __future__ import annotations

import json
import re

import pytest

from passkwh import benchmarks
from passkwh.benchmarks import extract
from passkwh.benchmarks.base import Benchmark, Candidate
from passkwh.benchmarks.reasoning import without_reasoning
from passkwh.records import Verdict

RIGHT = "import math\n\ndef root(x):\n    return math.sqrt(x)"
DRAFT = "def root(x):\n    return x ** 0.25"
ALL = ("official", "fenced", "humaneval")
OWN = ("fenced", "humaneval")


def block(code: str, info: str = "python", fence: str = "```") -> str:
    return f"{fence}{info}\n{code}\n{fence}"


PASSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "a draft in the reasoning": (f"<think>\n{block(DRAFT)}\nNo.\n</think>\nSo:\n{block(RIGHT)}", ALL),
    "a draft without a fence in the reasoning": (f"<think>\n{DRAFT}\n</think>\n{block(RIGHT)}", ALL),
    "reasoning in reasoning": (f"<think>a <think>b</think>\n{DRAFT}\n</think>\n{RIGHT}", ALL),
    "reasoning that the prompt began": (f"Let me see.\n{DRAFT}\nYes.</think>\n{RIGHT}", ALL),
    "reasoning in other tags": (f"<Thinking>{DRAFT}</Thinking>\n[THINK]{DRAFT}[/THINK]\n{RIGHT}", ALL),
    "reasoning that begins again": (f"<think>a</think>\n{RIGHT}\n<think>\n{DRAFT}\n", ALL),
    "channels": (
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>"
        f"{block(RIGHT)}<|return|>", ALL),
    "channels without their tokens": (f"analysisWe take {DRAFT}assistantfinal{block(RIGHT)}", ALL),
    "carriage returns in a string": (RIGHT.replace("return", "'''1%\r2%\r3%'''\n    return"), ALL),
    "lines that end in both": (f"Here:\r\n{block(RIGHT)}\r\n".replace("\n\ndef", "\r\n\r\ndef"), ALL),
    "tabs": (block(RIGHT.replace("    ", "\t")), ALL),
    "nothing but a function": (RIGHT, ALL),
    "a block that the prompt began": (f"{RIGHT}\n```\nIt takes the root, doesn't it?", ALL),
    "a block that breaks off": (f"Sure.\n```python\n{RIGHT}\n\ndef more(x):\n    return (x +", ALL),
    "wrong, then corrected": (f"{block(DRAFT)}\nWrong! Corrected:\n{block(RIGHT)}", OWN),
    "an example of its use after it": (
        f"{block(RIGHT)}\nUse it:\n{block('print(root(16))')}\nIt prints:\n{block('4.0', 'text')}", OWN),
    "imports in a block of their own": (
        f"{block('import math')}\nThen\n{block(RIGHT.removeprefix('import math').strip())}", OWN),
    "waves": (block(RIGHT, "python", "~~~"), OWN),
    "a long fence around a short one": (
        block(RIGHT.replace("    return", "    '''\n```\nroot(4)\n```\n    '''\n    return"), "python", "````"), OWN),
    "a fence in a docstring": (
        block(RIGHT.replace("    return", '    """\n    ```python\n    root(4)\n    ```\n    """\n    return')), OWN),
    "a fence in a string at the margin": (block(RIGHT + '\n\nUSAGE = """\n```\nroot(4)\n```\n"""'), OWN),
    "a block in a list": (
        "1. Do:\n" + "\n".join("    " + line for line in block(RIGHT).split("\n")) + "\n2. Done", OWN),
    "a block that begins at a list's mark": ("- " + block(RIGHT).replace("\n", "\n  "), OWN),
    "a block in a quote": ("> " + block(RIGHT).replace("\n", "\n> "), OWN),
    "a language and a title": (block(RIGHT, 'Python3 title="root.py"'), OWN),
    "tags for fences": (f"Sure:\n[PYTHON]\n{RIGHT}\n[/PYTHON]\nDone", OWN),
    "carriage returns alone": (f"Sure:\n{block(RIGHT)}\nDone".replace("\n", "\r"), OWN),
    "a fence after words": (f"The code: {block(RIGHT)}", OWN),
    "a block without an end before another": (f"```python\n{DRAFT}\n\nBetter:\n{block(RIGHT)}", OWN),
    "the end of a block on its last line": (f"```python\n{RIGHT}```", OWN),
    "spaces that do not break": (block(RIGHT.replace("    ", "\u00a0" * 4)), OWN),
    "spaces without width": (block(RIGHT.replace("def ", "def\u200b ")), OWN),
    "a byte-order mark": ("\ufeff" + RIGHT, OWN),
    "entities of HTML": (block("def root(x):\n    if x &lt; 0:\n        return None\n    return x ** 0.5"), OWN),
    "entities that parse": (block("def root(x):\n    return x ** 0.5 if x &gt; 0 else 0"), OWN),
    "entities in a string": (block("def root(x):\n    return len('&lt;')"), OWN),
    "a future import": (block(f"from __future__ import annotations\n{RIGHT.replace('(x)', '(x: Foo)', 1)}"), OWN),
}  # fmt: skip

FAILS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "reasoning that never ends": (f"<think>\n{block(RIGHT)}\nbut", ALL, "does not define root"),
    "a channel that never ends": (f"<|channel|>analysis<|message|>{RIGHT}", ALL, "does not define root"),
    "a channel that never ends, without its tokens": (f"analysisWe take {RIGHT}", ALL, "does not define root"),
    "prose": ("I cannot do that. Sorry!", ALL, ""),
    "nothing": ("", ALL, "does not define root"),
    "a method": (block("class A:\n    def root(self, x):\n        return x ** 0.5"), OWN, "does not define root"),
    "a decorated function": (
        "import functools\n\n@functools.cache\ndef root(x):\n    return x ** 0.5\n\ndef other():\n    return root(1)",
        ("official",), r"leaves out root \(a decorated function\)"),
    "a decorated helper": (
        "import functools\n\n@functools.cache\ndef half(x):\n    return x / 2\n\ndef root(x):\n    return x ** half(1)",
        ("official",), r"leaves out half \(a decorated function\)"),
    "a lambda": ("import math\nroot = lambda x: math.sqrt(x)", ("official",), r"leaves out root \(an assignment"),
    "what stands in a try statement": (
        "try:\n    import math as m\nexcept ImportError:\n    m = None\n\ndef root(x):\n    return m.sqrt(x)",
        ("official",), "leaves out m"),
    "an error that speaks in half a character": (
        "def root(x):\n    raise ValueError('\\ud800!')", ALL, "ValueError: \ufffd!"),
    "a lone surrogate": ("def root(x):\n    return '\ud800'", ALL, ""),
}  # fmt: skip

BIGCODEBENCH = {
    "task_id": "T/0", "complete_prompt": "def root(x):\n    pass\n", "instruct_prompt": "Root.",
    "canonical_solution": "    return x ** 0.5", "code_prompt": "def root(x):\n", "entry_point": "root",
    "test": "import unittest\nclass TestCases(unittest.TestCase):\n"
            "    def test_root(self):\n        self.assertEqual(root(16), 4)\n",
}  # fmt: skip
HUMANEVAL = {
    "task_id": "T/0", "prompt": 'def root(x):\n    """Root."""\n', "entry_point": "root",
    "canonical_solution": "    return x ** 0.5\n", "test": "def check(candidate):\n    assert candidate(16) == 4\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Verdict]:
    """Of every answer by way and name, judged together with all others of its way."""
    folder = tmp_path_factory.mktemp("answers")
    (folder / "bigcodebench.jsonl").write_text(json.dumps(BIGCODEBENCH))
    (folder / "humaneval.jsonl").write_text(json.dumps(HUMANEVAL))
    opened: dict[str, Benchmark] = {
        way: benchmarks.open("bigcodebench", {"data": str(folder / "bigcodebench.jsonl"), "extraction": way})
        for way in ("official", "fenced")
    }
    opened["humaneval"] = benchmarks.open("humaneval", {"data": str(folder / "humaneval.jsonl")})
    answers = {name: (text, ways) for name, (text, ways, *_) in (PASSES | FAILS).items()}  # type: ignore[operator]
    return {
        (way, score.key): score.verdict
        for way, benchmark in opened.items()
        for score in benchmark.score(
            [Candidate(name, "T/0", text, False) for name, (text, ways) in answers.items() if way in ways]
        )
        if score.verdict
    }


@pytest.mark.parametrize("name", PASSES)
def test_the_program_is_found(name: str, verdicts: dict[tuple[str, str], Verdict]) -> None:
    ways = PASSES[name][1]
    assert {way: verdicts[way, name].status for way in ways} == dict.fromkeys(ways, "pass")


@pytest.mark.parametrize("name", FAILS)
def test_what_is_no_answer_fails_and_the_detail_says_why(name: str, verdicts: dict[tuple[str, str], Verdict]) -> None:
    _, ways, said = FAILS[name]
    for way in ways:
        assert verdicts[way, name].status == "fail", verdicts[way, name]
        assert re.search(said, verdicts[way, name].detail), verdicts[way, name]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("if a < b: x = '</think>'\nreturn x", "if a < b: x = '</think>'\nreturn x"),
        ("<think>it's</think>'a'", "'a'"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("analysis of roots", "analysis of roots"),
        ("x = '<think>'", "x = '<think>'"),
        ("<|channel|>final<|message|>a<|channel|>final<|message|>b", "b"),
        ("<|start|>assistant<|channel|>commentary to=f <|constrain|>json<|message|>{}<|call|>", ""),
    ],
)
def test_reasoning_is_told_from_the_answer(text: str, answer: str) -> None:
    assert without_reasoning(text) == answer


def test_the_longest_of_the_last_whole_programs_is_taken() -> None:
    long, short = "a = 1\nb = 2\nc = 3\nprint(a)", "print(1)"
    assert extract.whole(f"{block(long)}\n{block(long.replace('3', '4'))}\n{block(short)}") == long.replace("3", "4")
