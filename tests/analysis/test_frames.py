"""Run folders as tables: sums over counted channels, what is missing, and what may not be pooled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeRun  # type: ignore[import-not-found]

from passkwh.analysis.data_files import data_file
from passkwh.analysis.domains import task_domains
from passkwh.analysis.frames import load
from passkwh.analysis.pooling import compare
from passkwh.analysis.task_table import task_table
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder


def test_samples_equal_the_records(make_run: MakeRun) -> None:
    path = make_run(
        "r", samples=2, energy_j=[1.0, 2.0, 3.0, None, 5.0, 6.0, 7.0, 8.0], passed=[True, None] + [False] * 6
    )
    frame = load([path]).samples
    records = RunFolder.open(path).samples()
    assert frame["task_id"].tolist() == [s.task_id for s in records]
    for row, sample in zip(frame.itertuples(), records, strict=True):
        gross = sample.generation_energy["gpu:0"].gross_j
        if gross is None:
            assert np.isnan(row.generation_gross_j)
            assert np.isnan(row.gross_j)
        else:
            assert row.generation_gross_j == gross, "the channel that is not counted stays out"
            assert row.gross_j == gross + 0.5
            assert row.net_j == pytest.approx(0.75 * (gross + 0.5))
        assert row.generation_s == sample.latency_s / sample.batch_size
    assert frame["passed"].isna().sum() == 1
    assert frame["passed"].sum() == 1


def test_a_folder_of_runs_stands_for_them(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("x/r1")
    make_run("x/r2", model="family/other-3B")
    make_run("x/unfinished", complete=False)
    frames = load([tmp_path / "x"])
    assert [r.path.name for r in frames.runs] == ["r1", "r2"]
    assert len(frames.run_table()) == 2


def test_unusable_runs_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("r")
    with pytest.raises(UsageError, match="no run was given"):
        load([])
    with pytest.raises(UsageError, match="not a run folder"):
        load([tmp_path / "nothing"])
    with pytest.raises(UsageError, match="given twice"):
        load([run, tmp_path / "." / "r"])
    with pytest.raises(UsageError, match="--resume"):
        load([make_run("u", complete=False)])
    lines = (run / "samples.jsonl").read_text()
    (run / "samples.jsonl").write_text(lines + lines.splitlines()[0] + "\n")
    with pytest.raises(UsageError, match="more than once"):
        load([run])
    (run / "samples.jsonl").write_text("".join(lines.splitlines(keepends=True)[1:]))
    with pytest.raises(UsageError, match="holds 3 samples and its summary is of 4"):
        load([run])
    (run / "samples.jsonl").write_text(lines + '{"key": "x"}\n')
    with pytest.raises(UsageError, match=r"line 5: not a sample \(task_id: Field required\)"):
        load([run])
    (run / "samples.jsonl").write_text("")
    with pytest.raises(UsageError, match="holds 0 samples"):
        load([run])
    (run / "samples.jsonl").write_text("{broken\n")
    with pytest.raises(UsageError, match="line 1: not a sample"):
        load([run])
    (run / "samples.jsonl").unlink()
    with pytest.raises(UsageError, match="is missing"):
        load([run])


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("benchmark.version", {"benchmark": {"version": "2"}}),
        ("benchmark.name", {"benchmark": {"name": "humaneval"}}),
        ("benchmark.options", {"benchmark": {"options": {"style": "complete"}}}),
        ("spec.max_new_tokens", {"spec": {"max_new_tokens": 64}}),
        ("spec.temperature", {"spec": {"temperature": 0.8}}),
        ("spec.samples", {"samples": 2}),
        ("meter.channels", {"provenance": "estimated"}),
        ("benchmark.sha256", {"benchmark": {"sha256": "other"}}),
    ],
)
def test_unlike_runs_are_refused_by_field(make_run: MakeRun, field: str, other: dict[str, object]) -> None:
    a, b = make_run("a"), make_run("b", model="family/other-3B", **other)
    with pytest.raises(UsageError, match=field):
        compare(load([a, b]))


def test_of_options_that_differ_only_these_are_named(make_run: MakeRun) -> None:
    a = make_run("a", benchmark={"options": {"task": "line", "tokens": "words"}})
    b = make_run("b", benchmark={"options": {"task": "line", "tokens": "model"}})
    with pytest.raises(UsageError, match=r"options: \{'tokens': 'words'\} in .* and \{'tokens': 'model'\} in"):
        compare(load([a, b]))


def test_repeats_are_pooled_and_must_share_their_software(make_run: MakeRun) -> None:
    runs = [make_run(f"r{i}", repeat=i) for i in range(3)]
    (configuration,) = compare(load(runs)).configurations
    assert configuration.runs == (0, 1, 2)
    with pytest.raises(UsageError, match=r"versions\.torch"):
        compare(load([*runs, make_run("r3", repeat=3, versions={"torch": "2.12"})]))


def test_labels_tell_configurations_apart(make_run: MakeRun) -> None:
    runs = [
        make_run("a"),
        make_run("b", quant="gptq-int4"),
        make_run("c", batch_size=4),
        make_run("d", model="elsewhere/tiny-1B-Instruct"),
        make_run("e", model="family/big-7B-gptq-int4", quant="gptq-int4"),
        make_run("f", revision="s" * 40, model="family/big-7B-gptq-int4", quant="gptq-int4"),
    ]
    left = make_run("g", model="family/left-1B"), make_run("h", model="family/left-1B", spec={"exit": "fixed:4"})
    assert compare(load(left)).labels() == ["left-1B exit=none", "left-1B exit=fixed:4"]
    labels = compare(load(runs)).labels()
    assert len(set(labels)) == 6
    assert labels[3] == "elsewhere/tiny-1B-Instruct"
    assert "gptq-int4" in labels[1]
    assert "batch-size=4" in labels[2]
    assert labels[4].startswith("big-7B-gptq-int4 revision=r")


def test_different_task_sets_meet_in_the_middle_or_are_refused(make_run: MakeRun) -> None:
    a = make_run("a", tasks=("t0", "t1", "t2"))
    b = make_run("b", tasks=("t1", "t2", "t3"), model="family/other-3B")
    comparison = compare(load([a, b]))
    assert comparison.task_ids == ("t1", "t2")
    assert any("2 of 4 tasks" in note for note in comparison.notes)
    with pytest.raises(UsageError, match="task sets differ"):
        compare(load([a, b]), strict=True)
    c = make_run("c", tasks=("u0",), model="family/other-3B")
    with pytest.raises(UsageError, match="share no task"):
        compare(load([a, c]))


def test_task_table_sums_samples_and_averages_repeats(make_run: MakeRun) -> None:
    runs = [
        make_run(f"r{i}", repeat=i, samples=2, tasks=("t0", "t1"), energy_j=[1.0 + i, 2.0, 3.0, 4.0],
                 tokens=[10, 20, 30, 40], passed=[True, False, i == 0, True])
        for i in range(2)
    ]  # fmt: skip
    table = task_table(compare(load(runs)))
    assert table.evaluated.tolist() == [[4, 4]]
    assert table.passed.tolist() == [[2, 3]]
    assert table.energy_j.tolist() == [[3.5 + 1.0, 7.0 + 1.0]]
    assert table.generation_j.tolist() == [[3.5, 7.0]]
    assert table.tokens.tolist() == [[30.0, 70.0]]
    assert table.pass_rates().tolist() == [[0.5, 0.75]]
    # Repeats: totals of 12 and 13 J; their mean's standard error, of logs, is half of what they differ by.
    error = table.measured.run_error
    assert (error.se[0], error.df[0]) == (pytest.approx(np.log(13 / 12) / 2), 1.0)


def test_the_meters_error_counts_where_repeats_agree(make_run: MakeRun) -> None:
    """The summary says 6 J of the whole; of four readings 2 J each, 4 J are their own and in the spread of tasks."""
    run = make_run("r", se_j=2.0)
    summary = json.loads((run / "summary.json").read_text())
    summary.pop("crc32", None)
    summary["channels"][0]["generation"]["se_j"] = 6.0
    (run / "summary.json").write_text(json.dumps(summary))
    table = task_table(compare(load([run])))
    error = table.measured.run_error
    assert error.se[0] == pytest.approx(np.sqrt(6.0**2 - 4 * 2.0**2) / (10 + 11 + 12 + 13 + 2))
    assert np.isinf(error.df[0])


def test_tasks_without_verdict_or_energy_are_left_out_and_said(make_run: MakeRun) -> None:
    a = make_run("a", passed=[True, None, True, False])
    b = make_run("b", model="family/other-3B", energy_j=[1.0, 2.0, None, 4.0])
    table = task_table(compare(load([a, b])))
    assert table.task_ids == ("t0", "t3")
    assert len(table.notes) == 2
    dark = make_run("c", model="family/dark-3B", energy_j=[None] * 4)
    table = task_table(compare(load([make_run("d"), dark])))
    assert table.task_ids == ("t0", "t1", "t2", "t3")
    assert np.isnan(table.energy_j[1]).all()
    assert any("dark-3B" in note and "no energy" in note for note in table.notes)


def test_domains_are_bigcodebenchs(shared_data: Path) -> None:
    expected = json.loads((shared_data / "bigcodebench-task2domain.json").read_text())
    found = task_domains(expected)
    assert found.shape == (1140, 7)
    for task, domains in expected.items():
        assert {d for d in found.columns if found.loc[task, d]} == set(domains)
    by_library = json.loads((shared_data / "bigcodebench-lib2domain.json").read_text())
    assert {
        lib: d for d, libs in data_file("bigcodebench_domains.json")["libraries"].items() for lib in libs
    } == by_library


def test_other_benchmarks_have_no_domains() -> None:
    assert task_domains(["HumanEval/0"]).shape == (1, 0)
