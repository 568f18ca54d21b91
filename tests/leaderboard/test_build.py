"""The site without a browser: figures are those of analysis, published rows have a source, nothing foreign runs."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from passkwh.analysis.bootstrap import draw, draw_each
from passkwh.analysis.conventions import CONVENTIONS
from passkwh.analysis.frames import load
from passkwh.analysis.intervals import intervals
from passkwh.analysis.pooling import compare
from passkwh.analysis.published import check_published, read_published
from passkwh.analysis.ranking import rank, spread_of
from passkwh.analysis.task_table import task_table
from passkwh.errors import UsageError
from passkwh.reports.leaderboard.build import MARKER, Site, build
from passkwh.reports.leaderboard.cells import number
from passkwh.reports.leaderboard.published import published_rows
from passkwh.reports.leaderboard.rows import OF_REQUESTS, Cell, Row, family, short_model, size, with_savings
from tests.conftest import Bench, last_json


def row_of(site: Site, quant: str, model: str = "Alpha-1.5B-Instruct") -> Row:
    (found,) = [r for r in site.rows if (r.model, r.quant) == (model, quant)]
    return found


@pytest.mark.parametrize(("quant", "runs"), [("none", ["plain-r0", "plain-r1"]), ("gptq-int4", ["int4"])])
def test_every_figure_is_the_one_of_analysis(site: Site, packs: list[Path], quant: str, runs: list[str]) -> None:
    folder = packs[0].parents[1] / "runs"
    found = {i.measure: i for i in intervals(draw(task_table(compare(load([folder / name for name in runs])))))}
    row = row_of(site, quant)
    assert row.runs == len(runs)
    resampled = {name: cell for name, cell in row.measures.items() if name not in OF_REQUESTS}
    assert set(resampled) == set(found)
    for name, cell in resampled.items():
        assert (cell.value, cell.low, cell.high) == pytest.approx(
            (found[name].estimate, found[name].low, found[name].high), rel=1e-9
        )
    page = (site.index.parent / "c" / f"{row.id}.html").read_text("utf-8")
    for name in ("pass_at_1", "pass_at_kwh", "tokens_per_s"):
        assert number(found[name].estimate) in page
        assert f"{number(found[name].low)} – {number(found[name].high)}" in page


def test_ranks_are_those_of_analysis(site: Site, packs: list[Path]) -> None:
    folder = packs[0].parents[1] / "runs"
    rows = [row_of(site, quant) for quant in ("none", "gptq-int4", "gptq-int8")]
    table = task_table(compare(load([folder / name for name in ("plain-r0", "plain-r1", "int4", "int8")])))
    by_id = dict(zip((row.id for row in rows), table.labels, strict=True))
    draws = draw(table.select([by_id[row_id] for row_id in sorted(by_id)]))
    name = "pass_at_kwh"
    values, drawn = draws.estimates[name], draws.resampled[name]
    ranking = rank(name, "max", draws.labels, values, drawn, spread=spread_of(draws, name))
    expected = {one.label: (one.best_rank, one.worst_rank) for one in ranking.ranked}
    assert {by_id[row.id]: row.ranks for row in rows} == expected
    assert len(set(expected.values())) > 1
    assert all(row.ranks is None for row in site.rows if row.model == "Beta-7B")  # alone in their groups


def test_many_resampled_together_are_as_each_alone(packs: list[Path]) -> None:
    folder = packs[0].parents[1] / "runs"
    tables = [task_table(compare(load([folder / name]))) for name in ("int4", "int8", "elsewhere")]
    for together, table in zip(draw_each(tables, 500, seed=3), tables, strict=True):
        alone = draw(table, 500, seed=3)
        assert together.labels == alone.labels
        for name, values in alone.resampled.items():
            np.testing.assert_allclose(together.resampled[name], values, rtol=1e-12)
    with pytest.raises(ValueError, match="as many tasks"):
        draw_each([tables[0], tables[1].select(tables[1].labels[:0])])


def test_the_invalid_is_refused_and_named(site: Site) -> None:
    assert [pack.path.name for pack in site.refused] == ["bad.passkwh.zip"]
    assert "bad.passkwh.zip" in site.index.read_text("utf-8")
    assert not any("bad" in row.source for row in site.rows if row.runs)


def test_a_pack_named_twice_is_one_run(packs: list[Path], tmp_path: Path) -> None:
    """... and a copy of it under another name is refused."""
    copy = tmp_path / "zz-copy.passkwh.zip"
    copy.write_bytes(packs[2].read_bytes())
    found = build([packs[2], packs[2], copy], tmp_path / "site", tmp_path / "cache", title="t", published=False)
    assert [row.runs for row in found.rows] == [1]
    assert [pack.path for pack in found.refused] == [copy]
    assert "the same generations as int4" in str(found.refused[0].findings[-1])


def test_the_theses_rows_stand_with_source_and_their_pass_at_kwh(shared_data: Path) -> None:
    rows = [row for row in published_rows() if row.tasks_key == "thesis"]
    printed = read_published(shared_data / "thesis-results.csv")
    assert len(rows) == len(printed) == 49
    for row, entry, ratio in zip(rows, printed, check_published(printed).ratios, strict=True):
        assert row.place == f"table {entry.table}"
        assert "Walking the Tightrope" in row.source
        assert row.measures["energy_kwh"].value == float(entry.energy_kwh)
        expected = float(ratio.printed) if ratio.printed else float(entry.pass_at_1) / float(entry.energy_kwh)
        assert row.measures["pass_at_kwh"].value == pytest.approx(expected)


def test_green_codes_runs_stand_with_the_savings_of_the_paper(shared_data: Path) -> None:
    rows = [row for row in published_rows() if row.tasks_key.startswith("green-code")]
    with (shared_data / "green-code-results.csv").open() as file:
        assert len(rows) == len(list(csv.DictReader(file))) == 32
    (llama,) = [r for r in rows if (r.model, r.exit, r.tasks_key) == ("Llama-3.2-3B", "agent:0.92", "green-code-java")]
    assert llama.saved == pytest.approx(0.23, abs=0.005)  # "saving 23% in energy", section VI-A of the paper
    saved = [r.saved for r in rows if r.exit in ("agent:0.9", "agent:0.91", "agent:0.92") and r.saved is not None]
    assert min(saved) + 0.005 >= 0.23
    assert max(saved) <= 0.50
    (deepest,) = [
        r for r in rows if (r.model, r.exit, r.tasks_key) == ("Llama-3.2-3B", "agent:0.94", "green-code-java")
    ]
    assert deepest.saved is not None
    assert deepest.saved < 0  # at full depth the agent costs
    assert {row.saved_against for row in rows} == {"", "the fine-tuned model at full depth, as its authors compare"}


def test_green_codes_layers_and_throughput_stand_in_our_terms(shared_data: Path) -> None:
    rows = [row for row in published_rows() if row.tasks_key.startswith("green-code")]
    with (shared_data / "green-code-results.csv").open() as file:
        for row, entry in zip(rows, csv.DictReader(file), strict=True):
            rate = row.measures["tokens_per_s"]
            assert rate.value == pytest.approx(15 / float(entry["mean_time_s"]))
            assert f"{float(entry['mean_throughput_tok_s']):.2f}, the mean of each file's own rate" in str(rate.note)
            if entry["mean_exit_layer"]:
                from_1 = float(entry["mean_exit_layer"]) + (entry["model"] == "Llama-3.2-3B")
                assert row.place.startswith(f"mean exit layer {from_1:.1f}")
                assert from_1 <= {"Llama-3.2-3B": 28, "OPT-2.7B": 32}[entry["model"]]


def test_savings_are_against_the_unmodified_model_and_beside_it_against_the_same_weights(site: Site) -> None:
    plain = row_of(site, "none").model_copy(update={"weights": "none base"})

    def cell(kwh: float) -> dict[str, Cell]:
        return {"energy_kwh": Cell(value=kwh)}

    tuned = {"weights": "none tuned", "saved": None}
    rows = [
        plain.model_copy(update={"measures": cell(4.0)}),
        plain.model_copy(update={**tuned, "exit": "fixed:30", "measures": cell(5.0)}),
        plain.model_copy(update={**tuned, "exit": "agent:0.9", "full_depth": False, "measures": cell(3.0)}),
        plain.model_copy(update={"exit": "fixed:4", "full_depth": False, "weights": "q", "measures": cell(1.0)}),
    ]
    found = with_savings(rows)
    assert [row.saved for row in found] == [None, -0.25, 0.25, 0.75]
    assert [row.saved_same_weights for row in found] == [None, None, pytest.approx(0.4), None]
    assert [row.saved_against for row in found] == ["", *["the unmodified model at full depth"] * 3]


def test_making_a_row_is_paid_back_by_what_a_solved_task_saves(site: Site) -> None:
    plain = row_of(site, "none").model_copy(update={"weights": "none base"})

    def costs(kwh: float, solved_per_kwh: float) -> dict[str, Cell]:
        return {"energy_kwh": Cell(value=kwh), "solved_per_kwh": Cell(value=solved_per_kwh)}

    made = {"quant": "gptq-int4", "making_j": 3.6e6, "making_provenance": "estimated"}
    rows = [
        plain.model_copy(update={"measures": costs(4.0, 1.0)}),  # 1 kWh for a solved task
        plain.model_copy(update={**made, "measures": costs(2.0, 2.0)}),  # half of that
        plain.model_copy(update={**made, "measures": costs(2.0, 0.5)}),
        plain.model_copy(update={**made, "measures": costs(2.0, 0.0)}),
        plain.model_copy(update={"quant": "awq", "measures": costs(2.0, 2.0)}),
    ]
    assert [row.solved_to_pay_back for row in with_savings(rows)] == [None, pytest.approx(2.0), None, None, None]


def test_only_like_is_grouped_with_like(site: Site) -> None:
    plain, int4 = row_of(site, "none"), row_of(site, "gptq-int4")
    assert (plain.tasks_key, plain.hardware_key) == (int4.tasks_key, int4.hardware_key)
    betas = [row for row in site.rows if row.model == "Beta-7B"]
    assert len({row.hardware_key for row in betas}) == 2
    assert {row.provenance for row in betas} == {"measured", "estimated"}
    assert all(row.hardware_key != plain.hardware_key for row in betas)
    assert int4.saved == pytest.approx(1 - int4.measures["energy_kwh"].value / plain.measures["energy_kwh"].value)


class Scripts(HTMLParser):
    """Which elements and attributes a page really has."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_no_foreign_text_becomes_an_element(site: Site) -> None:
    for page in site.index.parent.rglob("*.html"):
        parser = Scripts()
        parser.feed(page.read_text("utf-8"))
        assert not [tag for tag, _ in parser.seen if tag == "img"], page
        assert not [a for _, attributes in parser.seen for a in attributes if a.startswith("on")], page
        for tag, attributes in parser.seen:
            if tag == "script":
                assert attributes.get("type") == "application/json" or re.fullmatch(
                    r"(\.\./)?[a-z]+\.js", attributes["src"] or ""
                ), page
    for script in (site.index.parent / "data").glob("*.js"):
        assert "<" not in script.read_text("utf-8")


def test_no_cell_of_a_download_is_a_formula(site: Site) -> None:
    text = (site.index.parent / "board.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(site.rows)
    evil = [row for row in rows if "cmd|" in row["configuration"]]
    assert evil[0]["model"].startswith("'=cmd")
    for row in rows:
        for name, value in row.items():
            assert not value.startswith(("=", "@", "+")), (name, value)
            assert not value.startswith("-") or float(value) < 0, (name, value)


def test_the_downloads_hold_the_same(site: Site) -> None:
    folder = site.index.parent
    parquet = pq.read_table(folder / "board.parquet").to_pylist()
    plain = json.loads((folder / "board.json").read_text())["rows"]
    assert plain == parquet
    assert [line["id"] for line in parquet] == [row.id for row in site.rows]


def test_a_second_build_looks_everything_up_and_is_the_same(packs: list[Path], site: Site, tmp_path: Path) -> None:
    again = build(packs, tmp_path / "site", site.index.parents[1] / "cache", title="Test board", published=True)
    assert again.looked_up == sum(row.runs > 0 for row in site.rows)
    for file in site.index.parent.rglob("*"):
        if file.is_file() and file.name not in ("index.html", "table.html"):  # these two say when they were built
            assert file.read_bytes() == (again.index.parent / file.relative_to(site.index.parent)).read_bytes(), file
    fewer = build(packs[2:3], tmp_path / "site", site.index.parents[1] / "cache", title="Test board", published=False)
    assert [file.stem for file in (fewer.index.parent / "c").iterdir()] == [fewer.rows[0].id]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="something else"):
        build([], tmp_path, tmp_path / "cache", title="x", published=True)
    assert not (tmp_path / MARKER).exists()


def test_building_from_the_outside(bench: Bench, packs: list[Path], tmp_path: Path) -> None:
    result = bench(
        "leaderboard", "build", packs[2], packs[-1], "--out", tmp_path / "s", "--cache", tmp_path / "c", "--json"
    )
    said = last_json(result)
    assert (said["rows"], said["published"], said["refused"]) == (82, 81, [str(packs[-1])])
    assert "bad.passkwh.zip" in result.stderr
    empty = bench("leaderboard", "build", tmp_path / "s", "--out", tmp_path / "t")
    assert empty.returncode == 2
    assert "holds no pack" in empty.stderr


@pytest.mark.parametrize(
    ("name", "short", "kin", "weights"),
    [
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen2.5-Coder-7B-Instruct", "Qwen2.5-Coder", 7_000_000_000),
        ("smollm2-135m-instruct", "smollm2-135m-instruct", "smollm2", 135_000_000),
        ("DeepSeekCoder-V2-Lite-16B", "DeepSeekCoder-V2-Lite-16B", "DeepSeekCoder-V2-Lite", 16_000_000_000),
        ("Llama-3.2-3B", "Llama-3.2-3B", "Llama-3.2", 3_000_000_000),
        ("/home/me/models/mine/", "mine", "mine", None),
        ("", "model", "model", None),
    ],
)
def test_names_are_read_as_people_read_them(name: str, short: str, kin: str, weights: int | None) -> None:
    assert (short_model(name), family(name), size(name)) == (short, kin, weights)


def test_a_board_by_another_convention_ranks_by_its_energy_and_says_so(packs: list[Path], tmp_path: Path) -> None:
    found = {}
    for name in ("passkwh", "green-code"):
        by = CONVENTIONS[name]
        found[name] = build(packs[:1], tmp_path / name, tmp_path / "cache", title="t", published=False, by=by)
        for page in (tmp_path / name).rglob("*.html"):
            assert by.describe() in page.read_text(), page
    ours, theirs = (found[name].rows[0] for name in ("passkwh", "green-code"))
    assert theirs.id != ours.id, "both are kept in one cache"
    assert theirs.measures["energy_kwh"].value < ours.measures["energy_kwh"].value, "without scoring"
    assert theirs.hardware.endswith("metered: GPU")
