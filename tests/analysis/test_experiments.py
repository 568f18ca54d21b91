"""Named experiments, domains, published tables, and net energy taken anew from traces."""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import reference  # type: ignore[import-not-found]
from conftest import MakeRun  # type: ignore[import-not-found]
from scipy import stats

from passkwh.analysis.experiments import run_experiment, traits
from passkwh.analysis.frames import load
from passkwh.analysis.granularity import by_domain
from passkwh.analysis.idle_correction import with_idle
from passkwh.analysis.pooling import Comparison, compare
from passkwh.analysis.published import check_published, read_published
from passkwh.analysis.published_completion import check_completion, is_completion, read_completion
from passkwh.errors import UsageError

TASKS = tuple(f"t{i}" for i in range(30))


def runs(make_run: MakeRun, *settings: dict[str, object]) -> Comparison:
    rng = np.random.default_rng(0)
    paths = [
        make_run(f"r{i}", tasks=TASKS, energy_j=rng.lognormal(3 + 0.1 * i, 0.5, 30).tolist(), **values)
        for i, values in enumerate(settings)
    ]
    return compare(load(paths))


def test_traits_are_read_off_names(make_run: MakeRun) -> None:
    names = {
        "Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int4": ("qwen2.5", "0.5b", "instruct"),
        "Qwen/Qwen2.5-14B": ("qwen2.5", "14b", "base"),
        "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ": ("qwen2.5-coder", "7b", "instruct"),
        "meta-llama/Llama-3.1-8B-Instruct": ("llama-3.1", "8b", "instruct"),
        "smollm2-135m-instruct": ("smollm2", "135m", "instruct"),
    }
    for i, (name, expected) in enumerate(names.items()):
        (run,) = load([make_run(f"n{i}", model=name, chat=False)]).runs
        read = traits(run)
        assert (read.family, read.size, read.tuning) == expected


def test_each_experiment_finds_its_families(make_run: MakeRun) -> None:
    comparison = runs(
        make_run,
        {"model": "f/m-3B-Instruct"},
        {"model": "f/m-1B-Instruct"},
        {"model": "f/m-1B", "chat": False},
        {"model": "f/m-1B-Instruct", "quant": "gptq-int4"},
        {"model": "f/m-1B-Instruct", "quant": "gptq-int8"},
        {"model": "f/m-1B-Instruct", "quant": "awq"},
        {"model": "f/m-1B-Instruct", "batch_size": 4},
    )
    labels = {
        name: [family.labels for family in run_experiment(name, comparison).families]  # type: ignore[arg-type]
        for name in ("model-size", "fine-tuning", "gptq", "awq", "batch-size")
    }
    plain = next(label for label in comparison.labels() if "batch-size=1" in label)
    assert labels["model-size"] == [(plain, "m-3B-Instruct")], "sizes in order"
    assert labels["fine-tuning"] == [("m-1B", plain)]
    assert labels["gptq"] == [(plain, "m-1B-Instruct gptq-int8", "m-1B-Instruct gptq-int4")]
    assert labels["awq"] == [(plain, "m-1B-Instruct awq")]
    assert len(labels["batch-size"][0]) == 2


@pytest.mark.parametrize(
    ("model", "title"), [("f/m-1B-Instruct", "m 1b instruct"), ("f/coder", "coder 15.7B instruct")]
)
def test_families_are_titled_by_what_their_members_share(make_run: MakeRun, model: str, title: str) -> None:
    """A name without a size is given the number of parameters."""
    comparison = runs(make_run, {"model": model}, {"model": model, "quant": "awq"})
    assert [family.title for family in run_experiment("awq", comparison).families] == [title]


def test_an_experiment_equals_its_tests_done_by_hand(make_run: MakeRun) -> None:
    comparison = runs(make_run, {"model": "f/m-1B"}, {"model": "f/m-3B"}, {"model": "f/m-7B"})
    (family,) = run_experiment("model-size", comparison).families
    samples = comparison.samples()
    groups = [samples[samples["configuration"] == label]["gross_j"].to_numpy() for label in family.labels]
    assert family.kruskal_wallis.statistic == pytest.approx(reference.kruskal_h(groups), rel=1e-9)
    assert family.levene.statistic == pytest.approx(reference.brown_forsythe(groups)[0], rel=1e-9)
    assert family.friedman.statistic == pytest.approx(reference.friedman_chi2(np.column_stack(groups)), rel=1e-9)
    assert family.shapiro_wilk[1].statistic == pytest.approx(stats.shapiro(groups[1]).statistic, rel=1e-9)
    row = family.metrics[0]
    assert row.energy_kwh == pytest.approx(groups[0].sum() / 3.6e6)
    assert row.latency_min == pytest.approx(30 * 0.5 / 60)
    assert row.pass_at_1 == 0.5
    assert row.pass_at_kwh == pytest.approx(0.5 / (groups[0].sum() / 3.6e6))
    assert row.throughput_tok_s == pytest.approx(np.arange(100, 130).sum() / 15)


def test_an_experiment_without_its_levels_says_what_it_needs(make_run: MakeRun) -> None:
    comparison = runs(make_run, {"model": "f/m-1B"}, {"model": "f/m-3B"})
    with pytest.raises(UsageError, match="with awq"):
        run_experiment("awq", comparison)


def test_domains(make_run: MakeRun) -> None:
    tasks = tuple(f"BigCodeBench/{i}" for i in range(40))
    path = make_run("r", tasks=tasks)
    rows = {row.domain: row for row in by_domain(compare(load([path])))}
    assert rows["General"].tasks < 40
    assert sum(row.tasks for row in rows.values()) > 40, "tasks count in each of their domains"
    assert by_domain(compare(load([make_run("other")]))) == ()


# ---------------------------------------------------------------- published tables


def test_thesis_rows_reproduce_their_pass_at_kwh(shared_data: Path) -> None:
    path = shared_data / "thesis-results.csv"
    report = check_published(read_published(path), "Qwen2.5-")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert report.rows == len(rows)
    for row, found in zip(rows, report.ratios, strict=True):
        by_hand = (Decimal(row["pass_at_1"]) / Decimal(row["energy_kwh"])).quantize(Decimal("0.01"), ROUND_HALF_UP)
        if row["pass_at_kwh"]:
            assert by_hand == Decimal(row["pass_at_kwh"]), row
            assert found.agrees
        else:
            assert found.agrees is None
        assert found.low <= float(by_hand) + 0.005
        assert float(by_hand) - 0.005 <= found.high


def test_thesis_frontier_of_25_configurations(shared_data: Path) -> None:
    report = check_published(read_published(shared_data / "thesis-results.csv"), "Qwen2.5-")
    assert len(report.configurations) == 25
    quantized = [label for label in report.frontier if "gptq" in label]
    assert len(quantized) > len(report.frontier) / 2, "GPTQ rows regularly lie on the frontier (section 4.2.4)"
    assert any("int8" in label for label in quantized)
    assert any("int4" in label for label in quantized)
    assert not any(label.endswith("14B base") for label in report.frontier)


def test_thesis_inconsistencies_are_reported(shared_data: Path) -> None:
    report = check_published(read_published(shared_data / "thesis-results.csv"), "Qwen2.5-")
    latencies = {c.label: c.values for c in report.conflicts if c.measure == "latency_min"}
    assert latencies["Qwen2.5-14B instruct"] == {"290.87": ("5.29",), "369.58": ("5.34", "5.40")}
    assert len(latencies) == 5, "every instruct model has two latencies"
    assert any("14B base" in text and "14B instruct" in text for text in report.oddities), "copied from the base model"
    assert any("DeepSeekCoder" in text and "batch size" in text for text in report.oddities)


def test_published_files_that_cannot_be_used(tmp_path: Path) -> None:
    good = "table,model,tuning,quant,batch_size,energy_kwh,latency_min,throughput_tok_s,pass_at_1,pass_at_kwh\n"
    path = tmp_path / "rows.csv"
    path.write_text(good + "1,m,base,none,,0.5,1,1,0.4,0.9\n")
    (ratio,) = check_published(read_published(path)).ratios
    assert (ratio.agrees, ratio.computed) == (False, "0.8")
    path.write_text(good + "1,m,base,none,,half,1,1,0.4,\n")
    with pytest.raises(UsageError, match="line 2: energy_kwh"):
        read_published(path)
    path.write_text("model\nx\n")
    with pytest.raises(UsageError, match="no column"):
        read_published(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_published(tmp_path / "absent.csv")


def test_what_green_codes_printed_runs_show_and_what_they_do_not() -> None:
    with resources.as_file(resources.files("passkwh.analysis") / "replications/data/green-code/results.csv") as path:
        assert is_completion(path)
        rows = read_completion(path)
    report = check_completion(rows)
    assert {(row.language, row.tasks) for row in rows} == {("java", 1001), ("python", 992)}
    assert len(report.configurations) == 32
    assert report.ratios == (), "there are no verdicts"
    assert report.hypervolume is None
    text = "\n".join(report.conclusions)
    for sentence in (
        "java: least energy as printed is Llama-3.2-3B green-code 0.6; that holds of these runs",
        "python: exact match: most accurate as printed is Llama-3.2-3B finetuned-all-layers, not shown to differ from "
        "Llama-3.2-3B base, Llama-3.2-3B green-code 0.9, ",
        "python: highest CodeBLEU as printed is Llama-3.2-3B finetuned-all-layers; how scores scatter over tasks is",
        "java: Llama-3.2-3B green-code 0.94 has the scores of Llama-3.2-3B finetuned-all-layers at 13.4% more energy",
        "pass@1 and pass@kWh cannot be said",
    ):
        assert sentence in text
    assert "python Llama-3.2-3B green-code 0.6" in report.frontier
    assert check_completion(rows, "OPT").configurations == tuple(c for c in report.configurations if " OPT" in c)
    with pytest.raises(UsageError, match="--tasks 500: the printed energies are of 1001 java tasks"):
        check_completion(rows, tasks=500)


COMPLETION = "language,model,method,threshold,codebleu,exact_match,mean_energy_j,total_energy_j\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("language,codebleu\njava,1\n", "no column model: a table of code completion needs language"),
        (COMPLETION, "no column language"),
        (COMPLETION + "java,m,base,,much,0.1,1.0,10.0\n", "line 2: codebleu is 'much', not a number"),
        (COMPLETION + "java,m,base,,nan,0.1,1.0,10.0\n", "line 2: codebleu is 'nan', not a finite number"),
        (COMPLETION + "java,m,base,,0.4,0.1,0.00,10.0\n", r"line 2: mean_energy_j is 0\.00, which may be 0"),
        (COMPLETION + "java,m,base,,0.4,0.1\n", "line 2: mean_energy_j is None, not a number"),
    ],
)
def test_tables_of_completion_that_cannot_be_used(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    assert is_completion(path)
    with pytest.raises(UsageError, match=problem):
        read_completion(path)


def test_rows_of_unlike_numbers_of_tasks_are_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(COMPLETION + "java,m,base,,0.4,0.1,1.0,10.0\njava,m,tuned,,0.5,0.2,1.0,20.0\n")
    report = check_completion(read_completion(path))
    assert report.oddities == ("java: total over mean energy gives 10 and 20 tasks: rows are not of the same tasks",)
    assert any("of how many tasks is not printed" in text for text in report.conclusions)


# ---------------------------------------------------------------- another idle


@pytest.mark.parametrize(("idle", "watts"), [("none", 0.0), ("before", 20.0), ("mean", 25.0), ("40", 40.0)])
def test_net_energy_with_another_idle(make_run: MakeRun, idle: str, watts: float) -> None:
    """Each sample generates for 0.5 s at 100 W, is scored in the same window, and one channel is counted."""
    frames = with_idle(load([make_run("r")]), idle)
    expected = (100.0 - watts) * 0.5
    assert frames.samples["generation_net_j"].to_numpy() == pytest.approx([expected] * 4, rel=1e-3)
    assert frames.samples["net_j"].to_numpy() == pytest.approx([2 * expected] * 4, rel=1e-3)
    assert frames.runs[0].summary.net_energy_j == pytest.approx(8 * expected, rel=1e-3)


def test_idles_that_cannot_be(make_run: MakeRun) -> None:
    frames = load([make_run("r")])
    for idle in ("warm", "-3", "nan"):
        with pytest.raises(UsageError, match="--idle"):
            with_idle(frames, idle)
    manifest = frames.runs[0].path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("idle_after", "warmup"))
    with pytest.raises(UsageError, match="idle_after"):
        with_idle(load([frames.runs[0].path]), "mean")
