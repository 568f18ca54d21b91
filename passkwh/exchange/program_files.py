"""Samples and results of EvalPlus and of BigCodeBench, which came of EvalPlus and writes the same forms.

``samples.jsonl`` has a ``task_id`` and a ``solution`` (a whole program) or a ``completion`` of the prompt;
``samples_eval_results.json`` has every program again with the tool's verdicts (BigCodeBench puts the task's signature
before it). Either can be given; beside samples, their results are looked for by name. Neither file says which version
wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from passkwh.clean import one_line
from passkwh.errors import UsageError
from passkwh.exchange.contract import ForeignRun, ForeignSample
from passkwh.exchange.foreign_files import ForeignFile, name_of, text_of
from passkwh.exchange.task_names import benchmark_named

RESULT_ENDING = "_eval_results.json"


@dataclass(frozen=True)
class ProgramFiles:
    """The import formats ``evalplus`` and ``bigcodebench``."""

    tool: str
    summary: str
    benchmarks: tuple[str, ...]
    """That the tool has; the first is the one of ids that name none."""
    verdicts: Mapping[str, str]
    """Names of the tool's verdicts, by the field of its results."""

    def recognises(self, file: ForeignFile) -> bool:
        """Rows with a task of the tool's, or its results."""
        if file.is_zip:
            return False
        if file.head.startswith(b'{"date"') or (b'"eval"' in file.head and b'"task_id"' in file.head):
            fields = [name for name in self.verdicts if f'"{name}"'.encode() in file.head]
            return bool(fields) and self._is_ours(_first_task(file.head))
        row = file.first_row
        return "task_id" in row and ("solution" in row or "completion" in row) and self._is_ours(str(row["task_id"]))

    def _is_ours(self, task_id: str) -> bool:
        return benchmark_named(task_id.partition("/")[0]) in self.benchmarks

    def read(self, file: ForeignFile) -> ForeignRun:
        """Samples with the tool's verdicts where there are any."""
        notes: tuple[str, ...] = ()
        if '"eval"' in file.head[:4096].decode("utf-8", "replace"):
            samples = self._results(file)
        else:
            samples = self._samples(file)
            samples, notes = self._with_results(file, samples)
        if not samples:
            raise UsageError(f"{file.path} holds no samples: give the file that {self.tool} wrote")
        name = samples[0].task_id.partition("/")[0]
        return ForeignRun(
            tool=self.tool, version=None, samples=tuple(samples), benchmark=benchmark_named(name) or self.benchmarks[0],
            benchmark_in_file=name, programs=True, notes=notes,
        )  # fmt: skip

    def _samples(self, file: ForeignFile) -> list[ForeignSample]:
        samples = []
        for where, row in file.rows():
            field = "solution" if row.get("solution") is not None else "completion"
            if row.get(field) is None or row.get("task_id") is None:
                raise UsageError(f"{where}: not a sample with task_id and solution or completion")
            text = text_of(row[field], where, field)
            samples.append(ForeignSample(name_of(row["task_id"], where, "task_id"), text, field == "completion"))
        return samples

    def _results(self, file: ForeignFile) -> list[ForeignSample]:
        tasks = file.object.get("eval")
        if not isinstance(tasks, dict):
            raise UsageError(f"{file.path}: no results of {self.tool}: eval is missing")
        samples = []
        for task_id, rows in tasks.items():
            where = f"{file.path}, {task_id[:80]!a}"
            for row in rows if isinstance(rows, list) else ():
                if not isinstance(row, dict):
                    raise UsageError(f"{where}: not a result of {self.tool}")
                text = text_of(row.get("solution"), where, "solution")
                reported = self._reported(row)
                samples.append(ForeignSample(name_of(task_id, where, "task_id"), text, reported=reported))
        return samples

    def _reported(self, row: Mapping[str, object]) -> dict[str, str]:
        """The tool's verdicts on a program, by name: each holds where those before it hold, as the tool counts them."""
        reported, failed = {}, ""
        for field, name in self.verdicts.items():
            if row.get(field) is not None:
                verdict = one_line(str(row[field]), 40)
                failed = failed or ("" if verdict == "pass" else verdict)
                reported[name] = failed or verdict
        return reported

    def _with_results(
        self, file: ForeignFile, samples: list[ForeignSample]
    ) -> tuple[list[ForeignSample], tuple[str, ...]]:
        """With the verdicts of the results beside the samples, in the order of each task's samples."""
        path = file.path.with_name(file.path.name.removesuffix(".jsonl") + RESULT_ENDING)
        if not path.is_file():
            return samples, (f"no {path.name} beside it: no verdicts of {self.tool} are known",)
        results: dict[str, list[ForeignSample]] = {}
        for result in self._results(ForeignFile(path)):
            results.setdefault(result.task_id, []).append(result)
        counts: dict[str, int] = {}
        joined = []
        for sample in samples:
            place = counts.get(sample.task_id, 0)
            counts[sample.task_id] = place + 1
            of_task = results.get(sample.task_id, [])
            if place >= len(of_task) or not of_task[place].text.endswith(sample.text):
                return samples, (f"{path.name} is of other samples: no verdicts of {self.tool} are known",)
            joined.append(ForeignSample(sample.task_id, sample.text, sample.continues, of_task[place].reported))
        return joined, ()


def _first_task(head: bytes) -> str:
    """The first task that results name."""
    _, _, rest = head.partition(b'"task_id"')
    return rest.partition(b'"')[2].partition(b'"')[0].decode("utf-8", "replace")


EVALPLUS = ProgramFiles(
    "evalplus", "EvalPlus's samples.jsonl, or its eval_results.json: programs of HumanEval(+) and MBPP(+)",
    ("humaneval", "mbpp"), {"base_status": "base", "plus_status": "plus"},
)  # fmt: skip
BIGCODEBENCH = ProgramFiles(
    "bigcodebench", "BigCodeBench's samples.jsonl, or its eval_results.json: programs of BigCodeBench",
    ("bigcodebench",), {"status": "bigcodebench"},
)  # fmt: skip
