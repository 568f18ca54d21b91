"""HumanEvalPack: HumanEval's functions in Python, Java and JavaScript, written or mended (Muennighoff et al., 2023).

Go, C++ and Rust are not judged. A program in Java or JavaScript is compiled and run by that language's own tools, in
the same sandbox; where they are not on the machine its samples are not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from passkwh.benchmarks import extraction, rows
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.extract import before, behind
from passkwh.benchmarks.options import ProgramOptions
from passkwh.benchmarks.other_languages import JAVA, JAVASCRIPT, Language, answered, closed
from passkwh.benchmarks.programs import CHAT_STOPS, ProgramBenchmark, ProgramTask
from passkwh.benchmarks.rows import text_fields
from passkwh.benchmarks.samples import SAMPLES
from passkwh.benchmarks.sandbox import Job
from passkwh.errors import UsageError
from passkwh.prompts import Request
from passkwh.records import Option

LANGUAGES: dict[str, Language | None] = {"Python": None, "Java": JAVA, "JavaScript": JAVASCRIPT}
"""By the first part of a task's id; Python's programs are script jobs."""
_FOLDERS = {"python": "Python", "java": "Java", "js": "JavaScript"}
_NAMES = ("task_id", "prompt", "declaration", "canonical_solution", "buggy_solution", "test", "entry_point")
_PYTHON_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert")
_OTHER_STOPS = ("\n```",)
_MODULES = (
    "math", "re", "sys", "copy", "datetime", "itertools", "collections", "heapq", "statistics", "functools", "hashlib",
    "numpy", "numpy as np", "string",
)  # fmt: skip
PYTHON_PRELUDE = "".join(f"import {name}\n" for name in _MODULES) + "from typing import *\nfrom collections import *\n"
"""What a program in Python may use without importing it, as in the authors' evaluation."""


class HumanEvalPackOptions(ProgramOptions):
    """Options of HumanEvalPack."""

    language: Literal["", "python", "java", "js"] = ""
    """Only tasks in this language. The hub's data have one file for each: there, none given means python."""
    task: Literal["synthesize", "fixtests", "fixdocs"] = "synthesize"
    """``synthesize``: write the function from its description. ``fixdocs``, ``fixtests``: mend a wrong one, told by its
    description, or by its tests, what it should do."""


@dataclass(frozen=True)
class HumanEvalPackTask(ProgramTask):
    """One task, with the official field names."""

    prompt: str
    declaration: str
    """The prompt without a description."""
    canonical_solution: str
    """Continues ``prompt`` or ``declaration``, to the end of the class in Java."""
    buggy_solution: str
    test: str
    entry_point: str

    @property
    def language(self) -> str:
        """As the ids write it."""
        return self.task_id.partition("/")[0]


class HumanEvalPack(ProgramBenchmark[HumanEvalPackTask]):
    """HumanEvalPack with one choice of language and task."""

    name = "humanevalpack"
    options_type = HumanEvalPackOptions
    options: HumanEvalPackOptions
    embedded = SAMPLES / "humanevalpack.jsonl"
    hub_repository = "bigcode/humanevalpack"
    published_as: ClassVar[str] = "humanevalpack.jsonl (bigcode/humanevalpack on the hub)"
    default_max_new_tokens = 1024
    timeout_s = 20.0
    """A compiler and a virtual machine start in it; the authors give 10 s on a machine of their own."""

    def rows(self) -> tuple[Iterator[rows.Row], str]:
        """The embedded sample, a file, or one language of the hub's data set."""
        if self.options.data != "hub":
            return super().rows()
        pattern = f"data/{self.options.language or 'python'}/data/humanevalpack.jsonl"
        return rows.hub_lines(self.hub_repository, pattern, f"give {self.published_as} with data=FILE")

    def read(self, where: str, row: dict[str, Any]) -> HumanEvalPackTask | None:
        """The task in a row; None for one of another language than was asked for."""
        task = HumanEvalPackTask(**text_fields(where, row, _NAMES, "a HumanEvalPack task"))
        if self.options.language and task.language != _FOLDERS[self.options.language]:
            return None
        if task.language not in LANGUAGES:
            raise UsageError(
                f"{where}: {task.task_id}: programs in {', '.join(LANGUAGES)} are judged, not in {task.language}: "
                "choose one with the option language, or other data"
            )
        return task

    @cached_property
    def language(self) -> str:
        """In which programs are written: that of all tasks, or of the first."""
        return next(iter(self.by_id.values())).language.lower()

    def shown_options(self) -> dict[str, Option]:
        """The task, and the language where one was chosen."""
        chosen: dict[str, Option] = {"language": self.options.language} if self.options.language else {}
        return {"task": self.options.task, **chosen}

    def request(self, task: HumanEvalPackTask) -> Request:
        """The function's beginning, after what is to be done."""
        language = LANGUAGES[task.language]
        fence, name = (language.fence, language.name) if language else ("python", "Python")
        beginning = self._beginning(task)
        if self.options.task == "synthesize":
            text = beginning
            asked = f"Complete this {name} function."
        else:
            tests = f"\n{task.test}" if self.options.task == "fixtests" else ""
            wrong = f"{beginning}{task.buggy_solution}{tests}"
            text = f"{wrong}\nFix bugs in {task.entry_point}.\n\n{beginning}"
            asked = f"Fix bugs in {task.entry_point}."
            beginning = wrong
        return Request(
            text=text,
            instruction=f"{asked} Answer with the whole function in one markdown code block.\n"
            f"```{fence}\n{beginning.strip()}\n```\n",
            response_prefix=f"```{fence}\n",
            stop=_PYTHON_STOPS if language is None else _OTHER_STOPS,
            chat_stop=CHAT_STOPS,
        )

    def _beginning(self, task: HumanEvalPackTask) -> str:
        return task.declaration if self.options.task == "fixtests" else task.prompt

    def program_of(self, task: HumanEvalPackTask, text: str, continues: bool) -> Program:
        """The beginning continued to the end of the function, or the program of an answer."""
        language, beginning = LANGUAGES[task.language], self._beginning(task)
        if language is None:
            if continues:
                return Program(beginning + before(text, _PYTHON_STOPS))
            program = extraction.program("fenced", text, task.entry_point)
            if f"def {task.entry_point}(" in program.code:
                head = task.prompt[: max(0, task.prompt.find(f"def {task.entry_point}("))]
                return Program(behind(head, program.code), program.remark)
            return Program(behind(beginning, program.code), program.remark)
        if continues:
            return Program(closed(beginning, before(text, _OTHER_STOPS)))
        return answered(language, task.prompt, task.entry_point, text)

    def job(self, key: str, task: HumanEvalPackTask, program: str) -> Job:
        """A script in Python; in another language its files and commands."""
        language = LANGUAGES[task.language]
        if language is None:
            return Job(key, behind(PYTHON_PRELUDE, program), f"\n{task.test}\n", "script", self.timeout_s)
        files = ((language.file, f"{program}\n{task.test}\n"), language.judge)
        return Job(
            key, program, "", "commands", self.timeout_s, files=files, commands=language.commands,
            silent=language.silent, watched=language.watched_beside(task.test),
        )  # fmt: skip

    def test(self, task: HumanEvalPackTask) -> str:
        """The official test, which calls itself."""
        return task.test

    def reference(self, task: HumanEvalPackTask) -> str:
        """The prompt with its canonical solution."""
        return task.prompt + task.canonical_solution

    def not_evaluated(self, task: HumanEvalPackTask) -> str:
        """Which tool of the task's language is not here."""
        language = LANGUAGES[task.language]
        return language.missing() if language else ""

    def missing(self) -> list[str]:
        """Tools of the tasks' languages that are not here."""
        return list(dict.fromkeys(why for task in self.by_id.values() if (why := self.not_evaluated(task))))
