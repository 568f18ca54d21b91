"""Finding the program in what a model wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks import extract

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


@given(st.text(alphabet="ab =():\n\"'#\t\\é", max_size=80))
def test_the_longest_code_is_what_trying_all_runs_of_lines_finds(text):
    lines, best, best_run = text.split("\n"), 0, (0, 0)
    for start in range(len(lines)):
        for end in range(start + 1, len(lines)):
            run = lines[start : end + 1]
            size = sum(1 for line in run if line.strip())
            if size > best and extract._parses("\n".join(run)):
                best, best_run = size, (start, end)
    assert extract.longest_code(text) == "\n".join(lines[best_run[0] : best_run[1] + 1])


@given(st.text(max_size=200))
def test_extraction_never_fails(text):
    for select in (extract.official, extract.fenced):
        assert isinstance(select(text, "task_func"), str)
