"""Runs of models that think: whose tokens, joules and time, and what is said of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import passkwh
from passkwh.analysis.frames import load
from passkwh.analysis.overview import AnalysisSettings
from passkwh.errors import UsageError
from passkwh.harness.plan import plan
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Spec
from passkwh.reports.document.build import write
from passkwh.reports.document.content import Bullets, TableBlock
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.sections.thinking import THINKING
from tests.thinking.conftest import PROGRAM, THOUGHTS, Model
from tests.thinking.server import Habits, serving

METER = "simulated:steady,period=0.001"
"""Steady power: what was thought in a share of the time took that share of the joules."""
SETTINGS: dict[str, Any] = {"limit": 2, "meter": METER, "idle_s": 0.05, "max_new_tokens": 60}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HumanEval in small: two tasks that the answer solves."""
    file = tmp_path_factory.mktemp("data") / "tasks.jsonl"
    task = {
        "prompt": 'def task_func(x):\n    """Square root."""\n', "entry_point": "task_func",
        "canonical_solution": "    return x ** 0.5\n", "test": "def check(f):\n    assert f(16) == 4\n",
    }  # fmt: skip
    file.write_text("".join(json.dumps({"task_id": f"Test/{n}", **task}) + "\n" for n in range(2)))
    return file


def run(folder: Path, tasks: Path, model: object, **more: Any) -> Path:
    settings = {"benchmark": "humaneval", "benchmark_options": {"data": str(tasks)}, **SETTINGS, **more}
    return passkwh.run(model=str(model), out=folder, **settings).paths[0]


def joules(energies: dict[str, Any]) -> float:
    return sum(energy.gross_j for energy in energies.values())


@pytest.fixture(scope="module")
def on_and_off(tmp_path_factory: pytest.TempPathFactory, thinker: Path, tasks: Path) -> dict[str, Path]:
    """The same model, told to think, not to, to think briefly, and with too little room."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "on": run(folder, tasks, thinker, thinking="on"),
        "off": run(folder, tasks, thinker, thinking="off"),
        "budget": run(folder, tasks, thinker, thinking="3"),
    }


def test_tokens_joules_and_time_of_thinking_add_up_to_the_sample(on_and_off: dict[str, Path]) -> None:
    folder = RunFolder.open(on_and_off["on"])
    summary, samples = folder.summary(), folder.samples()
    for sample in samples:
        thought = sample.reasoning
        assert thought is not None
        assert thought.end_ns is not None
        assert sample.ttft_s is not None
        assert thought.text == "".join(THOUGHTS)
        assert sample.text.endswith(PROGRAM.rstrip("\n"))
        assert thought.tokens == len(THOUGHTS) + 2
        assert sample.completion_tokens - thought.tokens == 5, "tokens of the answer"
        window = sample.generation
        first_ns = window.start_ns + round(sample.ttft_s * 1e9)
        times_s = [(b - a) / 1e9 for a, b in ((window.start_ns, first_ns), (first_ns, thought.end_ns),
                                              (thought.end_ns, window.end_ns))]  # fmt: skip
        assert min(times_s) > 0
        assert sum(times_s) == pytest.approx(sample.latency_s)
        whole, prefill, thinking = (
            joules(e) for e in (sample.generation_energy, sample.prefill_energy, sample.reasoning_energy)
        )
        answer = whole - prefill - thinking
        power_w = whole / sample.latency_s
        parts = (sample.generation_energy, sample.prefill_energy, sample.reasoning_energy)
        error_j = sum(energy.se_j or 0.0 for part in parts for energy in part.values())
        for energy_j, time_s in zip((prefill, thinking, answer), times_s, strict=True):
            assert energy_j == pytest.approx(power_w * time_s, abs=5 * error_j)
            assert energy_j > 0
    assert summary.reasoning_tokens == sum(s.reasoning.tokens or 0 for s in samples if s.reasoning)
    assert summary.reasoning_energy_j == pytest.approx(sum(joules(s.reasoning_energy) for s in samples))
    assert summary.generation_energy_j is not None
    assert summary.reasoning_share == pytest.approx(summary.reasoning_energy_j / summary.generation_energy_j)
    assert summary.reasoning_energy_by == "marks"
    assert 0 < (summary.reasoning_s or 0) < summary.generation_s
    assert (summary.cut_while_thinking, summary.pass_at_k["1"]) == (0, 1.0)


def test_without_thinking_there_are_no_figures_of_it(on_and_off: dict[str, Path]) -> None:
    summary = RunFolder.open(on_and_off["off"]).summary()
    assert summary.pass_at_k["1"] == 1.0
    assert (summary.reasoning_tokens, summary.reasoning_energy_j, summary.cut_while_thinking) == (None, None, None)
    budget = RunFolder.open(on_and_off["budget"]).summary()
    assert budget.reasoning_tokens == 2 * (3 + 2)
    assert budget.pass_at_k["1"] == 1.0


def test_in_a_batch_thinking_takes_its_share_by_tokens(tmp_path: Path, thinker: Path, tasks: Path) -> None:
    folder = RunFolder.open(run(tmp_path, tasks, thinker, batch_size=2, samples=2))
    summary = folder.summary()
    assert summary.reasoning_energy_by == "tokens"
    assert summary.reasoning_s is None
    for sample in folder.samples():
        assert sample.reasoning is not None
        decoding = joules(sample.generation_energy) - joules(sample.prefill_energy)
        share = (sample.reasoning.tokens or 0) / sample.completion_tokens
        assert joules(sample.reasoning_energy) == pytest.approx(decoding * share)


def test_what_was_cut_and_what_did_not_fit_is_counted_and_named(
    tmp_path: Path, make_thinker: Model, tasks: Path
) -> None:
    model = make_thinker(context=250)
    long = json.loads(tasks.read_text().splitlines()[0]) | {"task_id": "Test/long"}
    long["prompt"] = "#" * 300 + "\n" + long["prompt"]
    data = tmp_path / "tasks.jsonl"
    data.write_text(tasks.read_text() + json.dumps(long) + "\n")
    folder = RunFolder.open(run(tmp_path, data, model, batch_size=3, limit=3, max_new_tokens=8))
    summary, samples = folder.summary(), folder.samples()
    assert [s.finish_reason for s in samples] == ["length", "length", "context"]
    assert [s.text for s in samples] == ["", "", ""]
    assert summary.cut_while_thinking == 2
    assert [s.verdict.status for s in samples if s.verdict] == ["fail"] * 3
    verdict = samples[2].verdict
    assert verdict is not None
    assert verdict.detail.startswith("context: a prompt of ")
    assert joules(samples[2].generation_energy) == 0, "its neighbours took all of the batch"
    text = "\n".join(summary.warnings)
    assert "2 of 3 samples ended while thinking and have no answer, most often for the limit of 8 new tokens" in text
    assert "1 of 3 samples failed without a completion (first: a prompt of" in text


def test_an_official_stop_ends_a_chat_before_its_prose(on_and_off: dict[str, Path]) -> None:
    for path in on_and_off.values():
        for sample in RunFolder.open(path).samples():
            assert "Hope" not in sample.text
            assert sample.finish_reason == "stop"


def test_specs_that_differ_in_thinking_are_different_runs(thinker: Path, tmp_path: Path) -> None:
    plans = [plan(Spec(model=str(thinker), thinking=how), tmp_path) for how in ("auto", "on", "64")]
    assert len({entry.folder for entry in plans}) == 3
    assert "thinking" not in plans[0].folder.name
    assert "-thinking-64-" in plans[2].folder.name
    (problem,) = plan(Spec(model=str(thinker), thinking="high"), tmp_path).report.problems
    assert problem.field == "thinking"
    with pytest.raises(UsageError, match="String should match pattern"):
        passkwh.run(model=str(thinker), thinking="much")


def test_through_a_server_with_a_reasoning_parser(tmp_path: Path, tasks: Path) -> None:
    habits = Habits("reasoning_content")
    with serving(habits) as url:
        model = f"openai-chat:{url}#thinker"
        on = RunFolder.open(run(tmp_path, tasks, model, thinking="on"))
        together = RunFolder.open(run(tmp_path, tasks, model, thinking="on", batch_size=2))
        habits.counts = False
        uncounted = RunFolder.open(run(tmp_path / "uncounted", tasks, model, thinking="on", batch_size=2))
    summary = on.summary()
    assert summary.pass_at_k["1"] == 1.0
    assert summary.reasoning_tokens == 2 * 6
    assert summary.reasoning_energy_by == "marks"
    assert summary.reasoning_energy_j is not None
    assert (together.summary().reasoning_tokens, together.summary().reasoning_energy_by) == (2 * 6, "tokens")
    lost = uncounted.summary()
    assert (lost.reasoning_tokens, lost.reasoning_energy_j, lost.cut_while_thinking) == (None, None, 0)
    (sample, _) = uncounted.samples()
    assert {energy.reason for energy in sample.reasoning_energy.values()} == {
        "the server does not count tokens of thinking"
    }


def test_on_and_off_are_compared_in_one_report(on_and_off: dict[str, Path], tmp_path: Path) -> None:
    frames = load(list(on_and_off.values()))
    assert frames.samples.groupby("run")["reasoning_tokens"].sum().tolist() == [20.0, 0.0, 10.0]
    assert frames.run_table()["thinking"].tolist() == ["on", "off", "3"]
    page = write(frames, tmp_path / "page.html").files[0].read_text("utf-8")
    assert "tiny-thinker thinking=on" in page
    assert "Thinking in each run, over all of its tasks" in page
    draft = THINKING.build(Evidence(frames, "all", AnalysisSettings(resamples=100)))
    assert draft is not None
    table, _, bullets = draft.blocks
    assert isinstance(table, TableBlock)
    assert isinstance(bullets, Bullets)
    assert [row[1:4] for row in table.rows] == [("on", 30, 20), ("off", 8, None), ("3", 24, 10)]
    assert len(bullets.items) == 2, "each against off"
    for item in bullets.items:
        text = "".join(part if isinstance(part, str) else part.text for part in item)
        assert re.search(r"spends \S+ J per solved task, tiny-thinker thinking=off spends \S+ J per solved task", text)
        assert "times as much on the same tasks" in text
