"""`bench run` from the outside: one true number, complete JSON, energies that add up, and no end but a complete run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import passkwh
from passkwh.cli.run import _carry_out
from passkwh.errors import UsageError
from passkwh.harness.meter.energies import Spans
from passkwh.harness.plan import plan, refuse_problems
from passkwh.harness.runner import run
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Spec, Window
from passkwh.units import joules_to_kwh
from tests.conftest import Bench, last_json

PROMISED = {
    "run_dir", "complete", "model", "adapter", "quant", "benchmark", "tasks", "samples", "pass_at_k", "gross_energy_j",
    "net_energy_j", "energy_kwh", "pass_at_kwh", "solved_per_kwh", "tokens_per_s", "joules_per_token", "provenance",
    "warnings",
}  # fmt: skip


def arguments(model: Path, out: Path, *extra: object) -> list[object]:
    return [
        "run", "--model", model, "--benchmark", "bigcodebench", "--subset", "sample", "--out", out, "--idle-s", 0.4,
        "--max-new-tokens", 12, *extra, "--json",
    ]  # fmt: skip


def the_run(out: Path) -> RunFolder:
    (path,) = out.iterdir()
    return RunFolder.open(path)


@pytest.mark.parametrize("meter", ["simulated:counter-50ms", "estimate"])
def test_a_run_from_the_outside(bench: Bench, tiny_llama: Path, tmp_path: Path, meter: str) -> None:
    out = tmp_path / "runs"
    result = bench(*arguments(tiny_llama, out, "--limit", 6, "--batch-size", 4, "--samples", 2, "--meter", meter))
    summary = last_json(result)
    assert set(summary) >= PROMISED
    assert (summary["tasks"], summary["samples"]) == (6, 12)
    assert summary["provenance"] == {"e": "estimated", "s": "simulated"}[meter[0]]
    assert any(summary["provenance"] in warning for warning in summary["warnings"])
    assert summary["energy_kwh"] == joules_to_kwh(summary["gross_energy_j"])
    assert summary["gross_energy_j"] > 0
    assert summary["pass_at_kwh"] == pytest.approx(summary["pass_at_k"]["1"] / summary["energy_kwh"])

    folder = the_run(out)
    samples = folder.samples()
    assert len({s.key for s in samples}) == 12
    assert sorted((s.task_id, s.sample_index) for s in samples) == sorted(
        {(s.task_id, index) for s in samples for index in (0, 1)}
    )
    assert all(s.verdict is not None and s.evaluation is not None for s in samples)
    assert [len({s.batch_id for s in samples}), {s.batch_size for s in samples}] == [3, {4}]
    counted = {channel["channel"] for channel in summary["channels"] if channel["counted"]}
    parts = [
        energy for sample in samples for energies in (sample.generation_energy, sample.evaluation_energy)
        for channel, energy in energies.items() if channel in counted
    ]  # fmt: skip
    assert sum(e.gross_j or 0.0 for e in parts) == pytest.approx(summary["gross_energy_j"], rel=1e-9)
    assert sum(e.net_j or 0.0 for e in parts) == pytest.approx(summary["net_energy_j"], rel=1e-9, abs=1e-9)
    for check in summary["checks"]:  # windows, idle and the rest make up the whole trace
        assert abs(check["balance_error"]) < 0.005
        assert check["unattributed_j"] >= 0
    kinds = [w.kind for w in folder.manifest().sessions[0].windows]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("idle_before", "idle_after", {"warmup"})

    again = bench(*arguments(tiny_llama, out, "--limit", 6, "--batch-size", 4, "--samples", 2, "--meter", meter))
    assert again.returncode == 2
    assert "finished run" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1


def test_steady_power_gives_the_energy_that_it_must(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    # A counter that steps every millisecond: on a busy machine, too, little is then uncertain at the edges of a window.
    fine = "simulated:steady,period=0.001"
    wanted = arguments(tiny_llama, out, "--limit", 12, "--max-new-tokens", 100, "--idle-s", 1, "--meter", fine)
    summary = last_json(bench(*wanted))
    seconds = summary["generation_s"] + summary["evaluation_s"]
    assert summary["gross_energy_j"] == pytest.approx(100.0 * seconds, rel=0.03)  # the profile draws 100 W throughout
    assert summary["net_energy_j"] == pytest.approx(0.0, abs=100.0 * seconds * 0.04)


def test_repeats_are_interleaved_runs_of_their_own(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = bench(*arguments(tiny_llama, out, "--limit", 2, "--repeats", 2, "--meter", "simulated"))
    runs = last_json(result)["runs"]
    assert len({run["run_dir"] for run in runs}) == 2
    texts = [[s.text for s in RunFolder.open(Path(run["run_dir"])).samples()] for run in runs]
    assert texts[0] == texts[1]  # greedy


def test_a_dry_run_says_what_would_happen_and_does_nothing(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shown = last_json(bench(*arguments(tiny_llama, out, "--limit", 5, "--samples", 3, "--dry-run")))["runs"][0]
    assert (shown["tasks"], shown["samples"], shown["max_new_tokens"]) == (5, 15, 12)
    assert 0 < shown["memory_needed_bytes"] < shown["memory_free_bytes"]
    assert shown["channels"]
    assert not out.exists()


def test_a_plan_collects_every_problem(tmp_path: Path) -> None:
    spec = Spec(
        model="smollm2-135m-instruct", quant="gptq-int5", exit="fxed:2", benchmark="bigcodebanch", meter="simulatd"
    )
    report = plan(spec, tmp_path).report
    assert [problem.field for problem in report.problems] == ["quant", "benchmark", "meter", "exit"]
    assert (report.tasks, report.memory_needed_bytes, report.channels) == (None, None, {})
    with pytest.raises(UsageError) as error:
        refuse_problems([plan(spec, tmp_path)] * 2)
    for words in ("gptq-int5", "mean bigcodebench", "mean simulated", "mean fixed"):
        assert str(error.value).count(words) == 1  # each once, however many runs have it


def test_a_dry_run_shows_all_problems_and_fails(bench: Bench, tmp_path: Path) -> None:
    result = bench("run", "--model", "smollm2-135m-instrct", "--meter", "simulatd", "--dry-run", "--json")
    (shown,) = json.loads(result.stdout.splitlines()[-1])["runs"]
    assert [problem["field"] for problem in shown["problems"]] == ["model", "meter"]
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert "smollm2-135m-instruct" in line
    assert "mean simulated" in line


def test_report_of_two_runs(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for batch_size in (1, 2):
        last_json(bench(*arguments(tiny_llama, out, "--limit", 2, "--batch-size", batch_size, "--meter", "simulated")))
    page = tmp_path / "report.html"
    shown = last_json(bench("report", out, "--out", page, "--json"))
    assert len(shown["runs"]) == 2
    text = page.read_text()
    for path in out.iterdir():
        summary = RunFolder.open(path).summary()
        assert str(path) in text
        assert f">{summary.tasks}<" in text or f"of {summary.tasks}" in text
    assert "batch-size=1" in text
    assert "batch-size=2" in text
    assert text.count("<svg") == 2  # the plane and the timelines stand there without a script
    assert "<script" not in text
    assert "simulated" in text
    assert "://" not in text.replace("http://www.w3.org", "")  # nothing is fetched


def test_a_resumed_run_must_be_the_same_run(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    wanted = arguments(tiny_llama, out, "--limit", 2, "--meter", "simulated")
    last_json(bench(*wanted))
    folder = the_run(out)
    (folder.path / "summary.json").unlink()
    manifest = folder.manifest()
    folder.write_manifest(manifest.model_copy(update={"host": manifest.host.model_copy(update={"cores": 99})}))
    content = json.loads((folder.path / "manifest.json").read_text())
    content.pop("crc32", None)
    content["spec"]["schema_version"] = 1  # as the first edition began it: not another spec
    del content["spec"]["engine"], content["model"]["engine"]
    (folder.path / "manifest.json").write_text(json.dumps(content))
    result = bench(*wanted, "--resume")
    assert result.returncode == 2
    assert "host.cores" in result.stderr
    refused = bench(*wanted)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr


def test_runs_that_were_complete_before_are_shown_too(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = Spec(
        model=str(tiny_llama), benchmark="bigcodebench", benchmark_options={"subset": "sample"}, limit=1,
        max_new_tokens=4, meter="simulated", idle_s=0.1,
    )  # fmt: skip
    plans = [plan(spec.model_copy(update={"repeat": repeat}), tmp_path) for repeat in (0, 1)]
    run(plans[0])
    for complete in (1, 2):
        _carry_out(plans, resume=True, as_json=True)
        shown = capsys.readouterr()
        assert f"{complete} of 2 runs are already complete" in shown.err
        assert [one["run_dir"] for one in json.loads(shown.out)["runs"]] == [str(entry.folder) for entry in plans]
    _carry_out(plans[:1], resume=True, as_json=True)
    shown = capsys.readouterr()
    assert "the run is already complete" in shown.err
    assert json.loads(shown.out)["run_dir"] == str(plans[0].folder)
    begun_ns = (plans[0].folder / "manifest.json").stat().st_mtime_ns
    assert passkwh.run(spec, out=tmp_path, resume=True).paths == [plans[0].folder]
    assert (plans[0].folder / "manifest.json").stat().st_mtime_ns == begun_ns
    with pytest.raises(UsageError, match="finished run"):
        passkwh.run(spec, out=tmp_path)


def test_windows_that_overlap_count_once() -> None:
    def window(start_ns: int, end_ns: int, session: int = 0) -> Window:
        return Window(kind="score", session=session, start_ns=start_ns, end_ns=end_ns)

    merged = Spans.of([window(5, 9), window(1, 3, 1), window(0, 3), window(2, 4), window(9, 10), window(2, 2)]).merged()
    assert merged.start_ns.tolist() == [0, 5, 1]
    assert merged.end_ns.tolist() == [4, 10, 3]
    assert merged.session.tolist() == [0, 0, 1]
    assert merged.length_s() == pytest.approx(11e-9)
