"""`bench run` on the completion benchmarks: the paper's task end to end, in the model's own tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from passkwh.benchmarks.completion.data import embedded_files
from passkwh.cli.output import number
from passkwh.cli.run import _show_results
from passkwh.harness.runs.folder import RunFolder
from tests.conftest import Bench, last_json


@pytest.mark.slow
def test_a_run_is_the_papers_task_and_reports_quality_per_kwh(
    bench: Bench, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--benchmark", "py150", "--meter", "simulated:steady", "--idle-s", 0.3, "--out", tmp_path, "--json"]
    result = bench("run", "--model", tiny_llama, "--limit", 4, "--batch-size", 2, *common)
    summary = last_json(result)
    folder = RunFolder.open(Path(summary["run_dir"]))
    manifest, samples = folder.manifest(), folder.samples()
    assert manifest.benchmark.options["tokens"] == "model"
    assert manifest.spec.max_new_tokens == 15
    assert len(samples) == summary["tasks"] == summary["samples"] == 4
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    files = {f"py150/test/{file.index}": file.text for file in embedded_files("python", "test").read()}
    for sample in samples:
        length = len(tokenizer(files[sample.task_id])["input_ids"])
        assert sample.prompt_tokens == min(512, int(0.2 * length))
        assert sample.completion_tokens <= 15
        assert sample.verdict is None
        assert sample.scores["codebleu"] > 0
        assert sample.evaluation is not None
    generated = max(sample.generation.end_ns for sample in samples)
    assert all(s.evaluation.start_ns > generated for s in samples if s.evaluation)
    assert summary["pass_at_k"] == {}
    assert summary["pass_at_kwh"] is None
    assert set(summary["metrics"]) - set(summary["metrics_per_kwh"]) == {"levenshtein", "files_skipped"}
    for name, value in summary["metrics_per_kwh"].items():
        assert value == pytest.approx(summary["metrics"][name] / summary["energy_kwh"])
    _show_results([(summary["run_dir"], folder.summary())])
    shown = capsys.readouterr().out
    assert "pass@1" not in shown, "there are no verdicts"
    for name, value in summary["metrics_per_kwh"].items():
        (line,) = [line for line in shown.splitlines() if line.startswith(f"│ {name} ")]
        assert number(summary["metrics"][name]) in line
        assert number(value) in line


def test_wrong_use_of_the_benchmark_is_one_line(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("<s> a </s>\nb </s>\n", "utf-8")
    result = bench("run", "--model", tiny_llama, "--benchmark", "py150", "--data", tmp_path, "--out", tmp_path / "runs")
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert "test.txt:2: not a file in CodeXGLUE's token form" in line
