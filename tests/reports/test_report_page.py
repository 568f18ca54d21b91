"""The page on its own: complete, offline, without scripts, readable by machines and printers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from passkwh.errors import UsageError
from passkwh.reports.document.page import _code
from passkwh.reports.sections.coverage import published_items

from .conftest import Written, call, synthetic

SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {f"{SVG}{tag}" for tag in ("svg", "g", "path", "text", "tspan", "rect", "line", "circle", "defs", "clipPath",
                                   "linearGradient", "stop")}  # fmt: skip


class Page(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


def test_nothing_is_fetched_and_nothing_runs(everything: Written) -> None:
    page = Page(everything.page)
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "object", "embed", "img", "link", "base", "form", "foreignobject"} & set(tags)
    assert not [name for _, own in page.tags for name in own if name.startswith("on")]
    policy = next(own["content"] for tag, own in page.tags if own.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert not re.search(r"url\((?!#)", everything.page)
    assert "@import" not in everything.page
    assert "prefers-color-scheme: dark" in everything.page
    assert "@media print" in everything.page


def test_every_link_leads_somewhere(everything: Written) -> None:
    page = Page(everything.page)
    ids = [own["id"] for _, own in page.tags if "id" in own]
    assert len(ids) == len(set(ids))
    links = [own["href"] for tag, own in page.tags if tag == "a"]
    assert len(links) > 50
    for link in links:
        assert (link[1:] in ids) if link.startswith("#") else (everything.folder / link).exists(), link


def test_every_figure_is_there_three_times_with_its_data(everything: Written) -> None:
    figures = everything.blocks("figure")
    assert {f["name"] for f in figures} >= {
        "tradeoff", "power", "energy_per_task", "tasks_by_domain", "energy_per_task_by_domain",
        "energy_per_token_by_domain", "gptq_measures", "pairs_matrix",
    }  # fmt: skip
    for figure in figures:
        base = everything.folder / "figures" / figure["name"]
        root = ElementTree.fromstring(base.with_suffix(".svg").read_text("utf-8"))
        assert {e.tag for e in root.iter()} <= DRAWN, figure["name"]
        assert base.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert len(base.with_suffix(".csv").read_text("utf-8").splitlines()) > 1
        words = "".join(root.itertext())
        if figure["name"] not in ("tasks_by_domain", "pairs_matrix", "power", "energy_per_task"):
            assert "lower is better" in words or "higher is better" in words, figure["name"]
    assert everything.page.count("<svg ") == len(figures)
    assert 'fill="var(--' in everything.page


def test_figures_state_units(everything: Written) -> None:
    for name, wanted in (("power", ["power (W)", "time (", "generating"]), ("energy_per_task", ["J per task"]),
                         ("tradeoff", ["kWh", "pass@1"]), ("energy_per_token_by_domain", ["J per token"])):  # fmt: skip
        text = (everything.folder / "figures" / f"{name}.svg").read_text("utf-8").replace("Wh", "kWh")
        for word in wanted:
            assert word in text, (name, word)


def test_published_tables_and_figures_are_here_or_said_to_be_missing(everything: Written) -> None:
    table = next(t for t in everything.blocks("table") if t["name"] == "coverage")
    assert [row[0] for row in table["rows"]] == [item for item, _, _ in published_items()]
    where = {row[0]: (row[2], row[3]) for row in table["rows"]}
    for item, (here, why) in where.items():
        assert (here == "not computed") <= bool(why), item
    assert where["thesis, table 5.40"][0].startswith("table ")
    assert where["thesis, figure 4.12"][0].startswith("figure ")
    assert where["thesis, table 5.18"] == (
        "not computed", "it needs runs of a model at two batch sizes, and these hold none",
    )  # fmt: skip
    assert "none of a model of this name" in where["thesis, table 5.35"][1]
    assert "leaves early" in where["GREEN-CODE, figure 1"][1]
    assert "leaves early" in where["GREEN-CODE, table IV"][1]


def test_a_named_experiment_reports_its_own_configurations(invented: Path, tmp_path: Path) -> None:
    found = Written(tmp_path / "r", call("report", invented, "--experiment", "gptq", "--out", tmp_path / "r"))
    results = next(t for t in found.blocks("table") if t["name"] == "results")
    assert [row[0] for row in results["rows"]] == [
        f"synthetic-0.5B-Instruct{q}" for q in ("", " gptq-int8", " gptq-int4")
    ]
    assert [s["id"] for s in found.content["sections"]] == [
        "summary", "results", "experiment-gptq", "life-cycle", "paired", "measured", "power", "threats", "coverage",
    ]  # fmt: skip
    assert "left out: synthetic-0.5B, synthetic-0.5B-Instruct awq" in found.texts("threats")
    summary = found.texts("summary")
    assert "synthetic-0.5B-Instruct gptq-int4 against synthetic-0.5B-Instruct: energy × " in summary
    assert "simulated for all" in summary


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ("alchemy", "there is none of that name; write one of batch-size"),
        ("batch-size", "needs runs of a model at two batch sizes"),
        ("early-exit", "none of these runs leaves early"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(invented: Path, tmp_path: Path, experiment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call("report", invented, "--experiment", experiment, "--out", tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_the_place_to_write_to_is_checked(invented: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        call("report", invented, "--experiment", "all", "--out", tmp_path / "file")
    with pytest.raises(UsageError, match="add --experiment"):
        call("report", invented, "--energy", "net", "--out", tmp_path / "r")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "tables").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        call("report", invented / "00-r0", "--experiment", "all", "--out", tmp_path / "blocked")


def test_net_energy_and_repeats(tmp_path: Path) -> None:
    synthetic.write_runs(tmp_path / "runs", synthetic.THESIS[:2], tasks=20, shorter=40.0, interval_s=0.5, repeats=2)
    arguments = ("report", tmp_path / "runs", "--experiment", "fine-tuning", "--energy", "net", "--out", tmp_path / "r")
    found = Written(tmp_path / "r", call(*arguments))
    assert "energies are net" in found.texts("summary")
    assert "One run each" not in found.texts("threats")
    assert "not interleaved" not in found.texts("threats"), "all started at the same moment: nothing is known of order"
    runs = next(t for t in found.blocks("table") if t["name"] == "runs")
    assert [row[1] for row in runs["rows"]] == [1, 2, 1, 2]


def test_backticks_are_code_and_nothing_else() -> None:
    assert _code("run `bench run <x>` & `y") == "run <code>bench run &lt;x&gt;</code> &amp; `y"
    assert _code("no ticks <b>") == "no ticks &lt;b&gt;"
    assert _code("``") == "<code></code>"
