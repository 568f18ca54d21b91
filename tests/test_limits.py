"""Work on untrusted text has limits: what goes over them is named, and what comes after it is not touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh import benchmarks
from passkwh.benchmarks.base import Candidate, Program
from passkwh.benchmarks.limited_worker import Failed, LimitedWorker
from passkwh.benchmarks.stdio import StdioBenchmark, StdioTask
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable
from passkwh.harness.summarise import summarise
from passkwh.records import Sample, Verdict, Window, well_formed
from passkwh.registry import BENCHMARKS

HANDLER = """
import os, re
from passkwh.benchmarks.limited_worker import serve

def answer(request):
    if request["do"] == "hang":
        re.match(r"(a+)+$", "a" * 60 + "b")
    if request["do"] == "grow":
        bytearray(64 << 30)
    if request["do"] == "raise":
        raise IndexError("out of it")
    if request["do"] == "die":
        os._exit(3)
    return {"did": request["do"]}

serve(answer, cpu_s=0.5)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[LimitedWorker]:
    (tmp_path / "handler.py").write_text(HANDLER)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[1])])
    worker = LimitedWorker("handler", environment={"PYTHONPATH": path})
    yield worker
    worker.close()


def test_every_request_has_an_answer_or_a_reason(worker: LimitedWorker) -> None:
    does = ["a\ud800", "hang", "b", "grow", "c", "raise", "d", "die", "e", "f"]
    answers = [
        str(answer) if isinstance(answer, Failed) else answer["did"]
        for answer in worker.ask([{"do": do} for do in does])
    ]
    assert answers == [
        "a\ud800", "the process ended with more than 0.5 s of CPU time", "b", "it took more than 2048 MiB of memory",
        "c", "IndexError: out of it", "d", "the process ended with code 3", "e", "f",
    ]  # fmt: skip
    assert [answer["did"] for answer in worker.ask([{"do": "g"}]) if not isinstance(answer, Failed)] == ["g"]


class Fragile(StdioBenchmark):
    """A benchmark of somebody's whose extraction fails at some answers."""

    name = "fragile"

    def program_of(self, task: StdioTask, text: str, continues: bool) -> Program:
        if text == "long":
            raise Failed("it took too long")
        return Program({"good": "print(1)"}[text])


def test_an_answer_that_cannot_be_extracted_is_not_evaluated_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BENCHMARKS._added, "fragile", Fragile)
    task = {"task_id": "f/1", "prompt": "Print 1.", "cases": [{"input": "", "expected": "1"}]}
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task))
    benchmark = benchmarks.open("fragile", {"data": str(tmp_path / "tasks.jsonl")})
    texts = ["good", "long", "bad", "good"]
    candidates = [Candidate(str(number), "f/1", text, False) for number, text in enumerate(texts)]
    verdicts = {score.key: score.verdict for score in benchmark.score(candidates) if score.verdict}
    assert [(verdicts[key].status, verdicts[key].detail) for key in sorted(verdicts)] == [
        ("pass", ""), ("not_evaluated", "it took too long"),
        ("not_evaluated", "KeyError: 'bad'"), ("pass", ""),
    ]  # fmt: skip


# ---------------------------------------------------------------- text that is none


@given(st.text())
def test_text_that_can_be_encoded_stays_as_it_is(text: str) -> None:
    assert well_formed(text) == text


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_any_other_becomes_so(text: str) -> None:
    assert well_formed(text).encode() == well_formed(well_formed(text)).encode()
    assert len(well_formed(text)) <= len(text)


def test_samples_take_whatever_a_model_or_a_program_wrote() -> None:
    sample = Sample(
        key="k", task_id="t", sample_index=0, order=0, batch_id=0, batch_size=1, seed=0, prompt_tokens=1,
        completion_tokens=1, text="a\ud800b\ud83d\ude00", finish_reason="stop", latency_s=0.0,
        verdict=Verdict(status="fail", detail="\udfff", suspect=("\ud800",)),
        generation=Window(kind="generate", session=0, start_ns=0, end_ns=1),
    )  # fmt: skip
    assert (sample.text, sample.verdict) == ("a\ufffdb😀", Verdict(status="fail", detail="\ufffd", suspect=("\ufffd",)))
    assert Sample.model_validate_json(sample.model_dump_json()) == sample


def test_a_completion_without_metrics_counts_neither_way_and_is_named() -> None:
    (path,) = Path(__file__).parent.glob("golden/schema-1/*none-fixed-14-py150*")
    folder = RunFolder.open(path)
    first, *others = folder.samples()
    lost = first.model_copy(update={"scores": {}, "verdict": Verdict(status="not_evaluated", detail="too long")})
    summary = summarise(folder.manifest(), SampleTable.of([lost, *others]), folder.summary().channels, {"bleu": 0.5})
    assert (summary.not_evaluated, summary.samples) == (1, 1 + len(others))
    assert (summary.pass_at_k, summary.solved, summary.metrics) == ({}, None, {"bleu": 0.5})
    said = [text for text in summary.warnings if "evaluated" in text or "pass@" in text]
    assert said == [f"1 of {summary.samples} samples were not evaluated and count neither way: too long"]
