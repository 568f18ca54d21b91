"""Finding the program in what a model wrote: as the official tool does, and in time."""

import ast
import hashlib
import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.benchmarks import extract, extraction
from passkwh.benchmarks.bigcodebench.benchmark import BigCodeBench
from passkwh.benchmarks.longest_code import longest_code

PROGRAM = "import math\n\ndef helper(x):\n    return math.sqrt(x)\n\ndef task_func(x):\n    return helper(x)"
TIDY = "import math\ndef helper(x):\n    return math.sqrt(x)\ndef task_func(x):\n    return helper(x)"

ANSWERS = {
    "inside a block the prompt opened": PROGRAM + "\n```\nThis works because it does.",
    "a block of its own": "Here is how:\n```python\n" + PROGRAM + "\n```\nHope this helps!",
    "a block without a language": "Sure.\n```\n" + PROGRAM + "\n```",
    "no block": PROGRAM,
    "a usage example after it": "```python\n" + PROGRAM + "\n```\nFor example:\n```python\ntask_func(4)\n```",
    "broken off": "```python\n" + PROGRAM + "\n\ndef later(x):\n    return (x +",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("select", [extract.official, extract.fenced])
def test_the_program_is_found(answer, select):
    namespace = {}
    exec(select(answer, "task_func"), namespace)
    assert namespace["task_func"](9.0) == 3.0


def test_official_extraction_keeps_only_what_the_entry_point_needs():
    text = PROGRAM + "\n\ndef unused():\n    pass\n\nprint(task_func(1))"
    assert extract.official(text, "task_func") == TIDY


def test_official_extraction_drops_decorated_definitions_and_future_imports():
    text = "from __future__ import annotations\n@cache\ndef task_func():\n    pass\ndef other():\n    pass"
    assert "task_func" in extract.official(text, "task_func")  # nothing else was left, so the text itself comes back


def test_fenced_extraction_keeps_the_block_as_it_is():
    block = "@decorated\ndef task_func():\n    return 1\n\nunused = 2"
    assert extract.fenced(f"Text\n```python\n{block}\n```\n", "task_func") == block


def test_a_completion_is_cut_before_the_first_stop_and_has_no_tabs():
    assert extract.official_cut("\treturn 1\nprint(2)\ndef x", ("\ndef ", "\nprint(")) == "    return 1"


def test_a_completion_without_a_stop_is_cut_at_ten_thousand_characters():
    assert len(extract.official_cut("x" * 20_000, ("\ndef ",))) == 10_000


# ---------------------------------------------------------------- equal to the official tool


@pytest.mark.parametrize(
    "case",
    [
        json.loads(line)
        for line in Path(__file__).with_name("official_extractions.jsonl").read_text("utf-8").splitlines()
    ],
    ids=lambda case: case["name"],
)
def test_extraction_equals_what_the_official_tool_made_of_the_answer(case):
    """Recorded from ``sanitize`` of bigcodebench 0.2.5 (``perf/extract.py --record``)."""
    assert extract.official(case["answer"], case["entry_point"]) == case["sanitized"]


def test_extraction_of_the_embedded_tasks_equals_the_official_one():
    """The digest is of what ``sanitize`` of bigcodebench 0.2.5 made of them (``perf/extract.py --record``)."""
    recorded = json.loads(Path(__file__).with_name("official_digest.json").read_text())
    digest = hashlib.sha256()
    for task in BigCodeBench({}, None).by_id.values():
        text = f"Here it is:\n```python\n{task.code_prompt}{task.canonical_solution}\n```\nIt doesn't fail."
        digest.update(extract.official(text, task.entry_point).encode())
    assert digest.hexdigest() == recorded["sha256"]


def by_trying_all(text):
    """The run that ``code_extract`` of bigcodebench 0.2.5 returns, found as it finds it."""
    lines, best, best_run = text.split("\n"), 0, (0, 0)
    for start in range(len(lines)):
        for end in range(start + 1, len(lines)):
            run = lines[start : end + 1]
            size = sum(1 for line in run if line.strip())
            if size > best and parses("\n".join(run)):
                best, best_run = size, (start, end)
    return "\n".join(lines[best_run[0] : best_run[1] + 1])


def parses(code):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(code)
        except (SyntaxError, ValueError):
            return False
    return True


@given(st.text(alphabet="ab =():\n\"'#\t\\é", max_size=80))
def test_the_longest_code_is_what_trying_all_runs_of_lines_finds(text):
    assert longest_code(text) == by_trying_all(text)


LINES = [
    "def f():", "    return 1", "try:", "    x", "except A:", "else:", "finally:", "@a", "@a(", "(", ")", "]", '"""',
    "'''", '"""doc"""', "\\", "   \\", "x = (", "x = \\", "# c", "    # c", "", "   ", "class A:", "\tpass", "if x:",
    "text here", "```", "try: x", "async def g():", "async with a:", "  try:", "    except B:", "x = 'a\\", "b'",
    "don't", "f'{x}'", "elif z:", "match x:", "  case 1:", "    pass", "a\rb", "a\r", "\\\r", "y = '''a\r", "\fx = 1",
    "lambda:", "a = [1,", "    @b", "    def h(self):", "yield (", '    a:#"""', "({", "})", "x = {  # (", "'a' 'b",
]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(LINES), max_size=9))
def test_it_is_of_lines_that_begin_and_end_statements_too(lines):
    assert longest_code("\n".join(lines)) == by_trying_all("\n".join(lines))


@given(st.text(max_size=200))
def test_extraction_never_fails(text):
    for select in (extract.official, extract.fenced, lambda text, _: extract.whole(text)):
        assert isinstance(select(text, "task_func"), str)


# ---------------------------------------------------------------- in time

FORMS = ["(", ")", "@a", "\\", "x = (", '"""', "'''", "```", "~~~", "try:", "if x:", "x = 1 \\", "x", "<think>", "&lt;"]


@pytest.mark.parametrize("form", FORMS)
def test_degenerate_answers_are_extracted_within_the_limit_of_time(form):
    lines = [form] * 1280
    for text in ("\n".join([*lines, "some text"]), "\n".join([form, "some text"] * 640), form * (10_000 // len(form))):
        for way in ("official", "fenced"):
            extraction.program(way, text, "task_func")  # raises where the limit ends it
