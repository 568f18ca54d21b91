"""Names, task ids, warnings and completions of runs are text, whatever they say."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from passkwh.clean import UNSAFE
from passkwh.stored import unseal

from .conftest import RESAMPLES, Written, app, call
from .test_report_page import DRAWN, Page

TRAPS = "\x1b]0;pwned\x07\x00\x9b31m\u202e\u200b[bold red]"
"""What a terminal obeys, what no XML may hold, what turns a text around or is not seen, and rich's markup."""
EVIL = TRAPS + "</title></style><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
NAMES = (
    f"evil/{EVIL}-1B",
    "=HYPERLINK(\"http://x\",\"y\")-1B",
    "[x]\\input{/etc/passwd}$\\write18{id}$-3B\n\n% {" + TRAPS,
    "../../../../tmp/owned-7B",
    "\"><svg onload=alert(1)>' fill=\"#1f2933\" ]]><![CDATA[ &amp; </svg>",
)  # fmt: skip


@pytest.fixture(scope="module")
def hostile(invented: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Five runs that carry hostile text wherever a run can carry text."""
    root = tmp_path_factory.mktemp("hostile")
    for i, name in enumerate(NAMES):
        run = root / "runs" / f"{i}"
        shutil.copytree(invented / f"0{i}-r0", run)
        manifest = json.loads((run / "manifest.json").read_text("utf-8"))
        manifest.pop("crc32", None)
        manifest["model"] |= {"name": name, "checkpoint": name, "quant": "none", "quantization": {EVIL: EVIL}}
        manifest["benchmark"] |= {"source": EVIL, "options": {}}
        manifest["host"] |= {"os": EVIL}
        manifest["meter"]["channels"] = [
            {**c, "source": "@SUM(1)" + EVIL, "note": "+1" + EVIL} for c in manifest["meter"]["channels"]
        ]
        manifest["versions"] = {EVIL: "-1+1"}
        (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        summary = json.loads((run / "summary.json").read_text("utf-8"))
        summary.pop("crc32", None)
        summary |= {"model": name, "warnings": [EVIL, "=1+1"], "metrics": {EVIL: 1.0}}
        (run / "summary.json").write_text(json.dumps(summary), "utf-8")
        samples = [json.loads(unseal(line)) for line in (run / "samples.jsonl").read_bytes().splitlines()]
        for place, sample in enumerate(samples):
            sample |= {"task_id": f"={EVIL}/{place}", "text": EVIL, "verdict": {**sample["verdict"], "detail": EVIL}}
        (run / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)) + "\n", "utf-8")
    return Written(root / "out", call("report", root / "runs", "--experiment", "all", "--out", root / "out"))


def test_the_page_holds_it_as_text_only(hostile: Written) -> None:
    page = Page(hostile.page)
    assert not {"script", "img", "iframe", "input"} & {tag for tag, _ in page.tags}
    assert not [name for _, own in page.tags for name in own if name.startswith("on")]
    for link in (own["href"] for tag, own in page.tags if tag == "a"):
        assert re.fullmatch(r"#[a-z-]+|(tables|figures)/[a-z0-9_.]*|report\.json", link), link
    assert "&lt;script&gt;" in hostile.page


def test_the_short_page_holds_it_as_text_only(hostile: Written, tmp_path: Path) -> None:
    call("report", hostile.folder.parent / "runs", "--out", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    page = Page(text)
    assert not {"script", "img", "iframe", "input"} & {tag for tag, _ in page.tags}
    assert not [name for _, own in page.tags for name in own if name.startswith("on")]
    assert "&lt;script&gt;" in text


def test_figures_hold_it_as_text_only(hostile: Written) -> None:
    for picture in (hostile.folder / "figures").glob("*.svg"):
        root = ElementTree.fromstring(picture.read_text("utf-8"))
        assert {e.tag for e in root.iter()} <= DRAWN, picture.name
        assert not [a for e in root.iter() for a in e.attrib if a.lower().startswith("on") or "href" in a.lower()]


def test_no_file_for_readers_holds_what_is_no_text(hostile: Written) -> None:
    checked = 0
    for path in hostile.folder.rglob("*"):
        if path.suffix in (".html", ".svg", ".csv", ".tex"):
            checked += 1
            assert UNSAFE.findall(path.read_text("utf-8")) == [], path.name
    assert checked > 50


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_terminal_gets_what_it_would_obey(hostile: Written, options: list[str]) -> None:
    runs = str(hostile.folder.parent / "runs")
    result = CliRunner().invoke(app, ["analyze", runs, "--resamples", str(RESAMPLES), *options])
    assert result.exit_code == 0
    assert ("\\u202e" if options else "\ufffd") in result.output
    assert UNSAFE.findall(result.output) == []


def test_files_keep_their_names_and_place(hostile: Written) -> None:
    files = [p for p in hostile.folder.rglob("*") if p.is_file()]
    assert len(files) > 50
    for path in files:
        assert re.fullmatch(r"[a-z0-9_]+\.(csv|tex|svg|png|html|json)", path.name), path.name
    assert not Path("/tmp/owned-7B").exists()


def test_no_cell_is_a_formula(hostile: Written) -> None:
    checked = 0
    for path in hostile.folder.rglob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    try:
                        float(cell or 0)
                    except ValueError:
                        checked += cell.startswith("'")
                        assert not cell.lstrip().startswith(("=", "+", "-", "@")), (path.name, cell)
    assert checked > 100


def test_latex_is_escaped(hostile: Written) -> None:
    for path in hostile.folder.rglob("*.tex"):
        text = path.read_text("utf-8")
        assert r"\input{" not in text
        assert r"\write" not in text
        body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
        assert body.count("\n") == len([line for line in body.split("\n") if line]) + 1, "a row is a line"
        assert not re.search(r"(?<!\\)[%#]", body)
        assert not re.search(r"\\\\\s*\[", body)


def test_a_browser_runs_none_of_it(hostile: Written, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path}",
         "--virtual-time-budget=3000", "--dump-dom", (hostile.folder / "report.html").as_uri()],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    assert title[1].startswith("Energy and accuracy of code models")
