"""Packs of strangers: a copy of somebody's run, figures that cannot be, archives that are none, hostile texts."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.clean import UNSAFE, cell, clean, one_line
from passkwh.reports.leaderboard.build import Site, build
from passkwh.reports.leaderboard.pack import SUFFIX, members_of, write_pack
from passkwh.reports.leaderboard.validate import validate
from passkwh.stored import unseal
from tests.conftest import Bench
from tests.leaderboard import synthetic
from tests.leaderboard.synthetic import write_run
from tests.leaderboard.test_packs import Members, as_entries, check, edited, edited_lines, errors, zipped


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    return members_of(write_run(tmp_path_factory.mktemp("run") / "theirs", tasks=8, batch_size=2, period_s=0.5))


@pytest.fixture(scope="module")
def estimated(tmp_path_factory: pytest.TempPathFactory) -> Members:
    run = write_run(tmp_path_factory.mktemp("run") / "theirs", tasks=8, batch_size=2, provenance="estimated")
    return members_of(run)


def edited_trace(members: Members, change: Callable[[pa.Table], pa.Table], **options: Any) -> Members:
    buffer = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(members["trace.parquet"]))), buffer, **options)
    return {**members, "trace.parquet": buffer.getvalue()}


# ---------------------------------------------------------------- a copy of somebody's run


def renamed(members: Members) -> Members:
    parts = ("manifest.json", "summary.json")
    return {**members, **{part: edited(members[part], lambda it: it.update(run_id="aaa")) for part in parts}}


def relabelled(members: Members) -> Members:
    """Their estimate, called a measurement, with another name and machine."""

    def in_manifest(manifest: Any) -> None:
        manifest["meter"]["channels"][0]["provenance"] = "measured"
        manifest["host"]["cpu"] = "My own CPU"

    def in_summary(summary: Any) -> None:
        summary["provenance"] = summary["channels"][0]["provenance"] = "measured"

    changed = {
        "manifest.json": edited(members["manifest.json"], in_manifest),
        "summary.json": edited(members["summary.json"], in_summary),
    }
    return renamed({**members, **changed})


def rekeyed(members: Members) -> Members:
    def change(lines: list[Any]) -> None:
        for number, line in enumerate(lines):
            line.update(key=f"{number:032x}", text="pass")

    return renamed({**members, "samples.jsonl": edited_lines(members["samples.jsonl"], change)})


def at_another_time(members: Members) -> Members:
    """Every clock an hour later."""
    later_ns = 3600 * 10**9

    def move(window: Any) -> None:
        for end in ("start_ns", "end_ns"):
            window[end] += later_ns

    def in_manifest(manifest: Any) -> None:
        for window in manifest["sessions"][0]["windows"]:
            move(window)

    def in_samples(lines: list[Any]) -> None:
        for line in lines:
            move(line["generation"])
            move(line["evaluation"])

    moved = edited_trace(members, lambda t: t.set_column(1, "time_ns", pc.add(t["time_ns"], later_ns)))
    return renamed(
        {
            **moved,
            "manifest.json": edited(members["manifest.json"], in_manifest),
            "samples.jsonl": edited_lines(members["samples.jsonl"], in_samples),
        }
    )


@pytest.mark.parametrize("change", [renamed, relabelled, rekeyed, at_another_time])
def test_a_copy_that_says_something_else_takes_nobodys_place(
    estimated: Members, tmp_path: Path, change: Callable[[Members], Members]
) -> None:
    """Both are held: which one is the original cannot be seen. A repeat of the configuration stays."""
    assert check(change(estimated)).valid
    write_pack(estimated, tmp_path / f"theirs{SUFFIX}")
    write_pack(change(estimated), tmp_path / f"aaa{SUFFIX}")
    other = members_of(write_run(tmp_path / "repeat", tasks=8, batch_size=2, provenance="estimated", seed=1, repeat=1))
    write_pack(other, tmp_path / f"repeat{SUFFIX}")
    site = build(sorted(tmp_path.glob("*.zip")), tmp_path / "site", tmp_path / "cache", title="t", published=False)
    assert [(row.runs, row.provenance) for row in site.rows] == [(1, "estimated")]
    assert {pack.path.name for pack in site.refused} == {f"theirs{SUFFIX}", f"aaa{SUFFIX}"}
    for pack in site.refused:
        assert "differs from it" in str(pack.findings[-1])
        assert "held" in str(pack.findings[-1])


# ---------------------------------------------------------------- figures that cannot be


def on_manifest(*path: Any, value: Any) -> Callable[[Members], Members]:
    return lambda members: {**members, "manifest.json": edited(members["manifest.json"], put(path, value))}


def on_summary(*path: Any, value: Any) -> Callable[[Members], Members]:
    return lambda members: {**members, "summary.json": edited(members["summary.json"], put(path, value))}


def put(path: tuple[Any, ...], value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def twice(part: str, name: str) -> Callable[[Members], Members]:
    """A name that stands twice, the second time with what would be read otherwise."""

    def change(members: Members) -> Members:
        objects = [members[part]] if part.endswith(".json") else members[part].split(b"\n")
        plain = b"\n".join(map(unseal, objects))
        return {**members, part: plain.replace(b"{", b'{"%s": 1, ' % name.encode(), 1)}

    return change


@pytest.mark.parametrize(
    ("change", "part", "seen"),
    [
        (on_manifest("host", "cores", value=-1), "manifest.json", "host.cores"),
        (on_manifest("host", "cores", value=10**9), "manifest.json", "host.cores"),
        (on_manifest("host", "memory_bytes", value=0), "manifest.json", "host.memory_bytes"),
        (on_manifest("host", "gpus", 0, "power_limit_w", value=-350), "manifest.json", "power_limit_w"),
        (on_manifest("meter", "interval_s", value=0), "manifest.json", "meter.interval_s"),
        (on_manifest("sessions", 0, "started_at", value="yesterday"), "manifest.json", "started_at"),
        (on_manifest("sessions", 0, "started_at", value="1970-01-01T00:00:00Z"), "manifest.json", "started_at"),
        (on_manifest("sessions", 0, "started_at", value="9999-12-31T23:59:59Z"), "manifest.json", "started_at"),
        (on_manifest("sessions", 0, "busy", value=40.0), "manifest.json", "busy"),
        (on_manifest("schema_version", value=99), "manifest.json", "schema 99"),
        (on_manifest("schema_version", value=0), "manifest.json", "schema_version"),
        (on_manifest("schema_version", value="new"), "manifest.json", "schema_version"),
        (on_manifest("spec", "schema_version", value=99), "manifest.json", "schema_version"),
        (on_manifest("meter", "name", value="simulated:steady"), "manifest.json", "simulated"),
        (on_manifest("spec", "meter", value="replay:x.csv"), "manifest.json", "simulated figures"),
        (on_manifest("meter", "channels", 0, "source", value="A Simulated device"), "manifest.json", "simulated"),
        (on_manifest("meter", "name", value="estimate"), "manifest.json", "estimated figures"),
        (on_manifest("versions", value={f"p{i}": "1" for i in range(1001)}), "manifest.json", "versions"),
        (on_summary("gross_energy_j", value=-5), "summary.json", "gross_energy_j"),
        (on_summary("gross_energy_j", value=0), "summary.json", "gross_energy_j"),
        (on_summary("gross_energy_j", value=1e308), "summary.json", "gross_energy_j"),
        (on_summary("warnings", value=["x"] * 1001), "summary.json", "warnings"),
        (on_summary("metrics", value={f"m{i}": 1.0 for i in range(1001)}), "summary.json", "metrics"),
        (on_summary("checks", value=[{}] * 200_000), "summary.json", "values"),
        (twice("manifest.json", "run_id"), "manifest.json", "stands twice"),
        (twice("summary.json", "gross_energy_j"), "summary.json", "stands twice"),
        (twice("samples.jsonl", "completion_tokens"), "samples.jsonl", "stands twice"),
        (twice("samples.jsonl", "verdict"), "samples.jsonl", "stands twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_reason(
    members: Members, change: Callable[[Members], Members], part: str, seen: str
) -> None:
    findings = [finding for finding in check(change(members)).findings if finding.severity == "error"]
    assert findings
    assert findings[0].file == part
    assert any(seen in str(finding) for finding in findings), findings


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda line: line.update(scores={f"s{i}": 1.0 for i in range(3000)}), "scores"),
        (lambda line: line.update(scores={f"s{i}": 1.0 for i in range(1100)}), "scores"),
        (lambda line: line["verdict"].update(suspect=["x"] * 1001), "suspect"),
        (lambda line: line["verdict"].update(suspect=["x"] * 100_000), "suspect"),
        (lambda line: line.update(completion_tokens=1_000_000), "more completion tokens"),
        (lambda line: line.update(completion_tokens=-1), "completion_tokens"),
        (lambda line: line.update(prompt_tokens=10**30), "prompt_tokens"),
        (lambda line: line.update(schema_version=99), "schema_version"),
    ],
)
def test_a_sample_that_cannot_be(members: Members, change: Callable[[Any], Any], seen: str) -> None:
    forged = edited_lines(members["samples.jsonl"], lambda lines: change(lines[1]))
    checked = check({**members, "samples.jsonl": forged})
    assert any(seen in str(finding) for finding in checked.findings if finding.severity == "error"), checked.findings


def test_a_run_that_drew_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a milliwatt; a counter that never moves is a missing reading, and no energy."""
    monkeypatch.setattr(synthetic, "IDLE_W", 1e-4)
    checked = check(members_of(write_run(tmp_path / "idle", tasks=8, work_w=1e-4)))
    assert ("summary.json", "gross_energy_j") in errors(checked)


def reversed_values(table: pa.Table) -> pa.Table:
    return table.set_column(4, "value", pa.array(table["value"].to_numpy()[::-1]))


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda table: table.take(np.arange(len(table))[::-1]), "goes back in time"),
        (reversed_values, "falls"),
        (lambda table: table.set_column(4, "value", pc.negate(table["value"])), "is negative"),
        (lambda table: table.set_column(0, "session", pc.add(table["session"], 1).cast(pa.int16())), "session"),
        (lambda table: table.set_column(1, "time_ns", pc.multiply(table["time_ns"], 10**6)), "more than a year"),
    ],
)
def test_a_trace_that_was_turned_around(members: Members, change: Callable[[pa.Table], pa.Table], seen: str) -> None:
    checked = check(edited_trace(members, change))
    assert any(seen in str(finding) for finding in checked.findings if finding.severity == "error"), checked.findings


# ---------------------------------------------------------------- archives and files


def long_reasons(table: pa.Table) -> pa.Table:
    """200,000 readings that are missing for one reason of 20,000 characters: 4 GB, written out."""
    codes = pa.array(np.zeros(200_000, np.int32))
    one = table.take(codes)
    reasons = pa.DictionaryArray.from_arrays(codes, ["x" * 20_000])
    values = pa.nulls(len(one), pa.float64())
    return one.set_column(4, "value", values).set_column(5, "reason", reasons)


def many_rows(table: pa.Table) -> pa.Table:
    """One reading three million times."""
    return table.take(pa.array(np.zeros(3_000_000, np.int32)))


@pytest.mark.parametrize("change", [long_reasons, many_rows])
def test_a_small_trace_cannot_take_much_memory(members: Members, change: Callable[[pa.Table], pa.Table]) -> None:
    forged = edited_trace(members, change, compression="zstd")
    assert len(forged["trace.parquet"]) < 2**20
    before = pa.total_allocated_bytes()
    checked = check(forged)
    assert ("trace.parquet", "") in errors(checked)
    assert "more than a meter writes" in str(checked.findings[0])
    assert pa.total_allocated_bytes() - before < 2**20


@pytest.mark.parametrize(
    "name",
    ["MANIFEST.JSON", "manifest.json\x00.txt", "./manifest.json", "manifest.json/", "\u202enosj"],
)
def test_a_name_that_is_nearly_one_of_ours(members: Members, tmp_path: Path, name: str) -> None:
    target = tmp_path / f"x{SUFFIX}"
    entries = as_entries(members)
    content = zipped([*entries, (name.replace("\x00", "?"), b"{}")])  # zipfile would write no NUL
    target.write_bytes(content.replace(b"manifest.json?", b"manifest.json\x00"))
    (finding,) = validate(target).findings
    assert "no part of a pack" in finding.seen
    assert finding.seen.isprintable()
    assert finding.seen.isascii()


@pytest.mark.parametrize("kind", [0o060644, 0o020644, 0o010644, 0o040755, 0o140755])
def test_only_regular_files(members: Members, tmp_path: Path, kind: int) -> None:
    """No device, pipe, folder or socket among the members."""
    entries = as_entries(members)
    strange = zipfile.ZipInfo("trace.parquet")
    strange.create_system, strange.external_attr = 3, kind << 16
    target = tmp_path / f"x{SUFFIX}"
    target.write_bytes(zipped([*entries[:-1], (strange, members["trace.parquet"])]))
    assert "not a file" in str(validate(target).findings[0])


def test_a_pack_that_is_no_file_is_refused_at_once(members: Members, tmp_path: Path) -> None:
    """A pipe would keep a reader waiting, a link to a device would never end, and one to a file was not submitted."""
    folder = tmp_path / "packs"
    folder.mkdir()
    write_pack(members, tmp_path / f"real{SUFFIX}")
    os.mkfifo(folder / f"pipe{SUFFIX}")
    (folder / f"device{SUFFIX}").symlink_to("/dev/zero")
    (folder / f"link{SUFFIX}").symlink_to(tmp_path / f"real{SUFFIX}")
    (folder / f"folder{SUFFIX}").mkdir()
    site = build(sorted(folder.iterdir()), tmp_path / "site", tmp_path / "cache", title="t", published=False)
    assert len(site.refused) == 4
    assert all("regular file" in str(pack.findings[0]) for pack in site.refused)


def test_a_board_of_nothing_but_refused_packs_is_no_success(bench: Bench, tmp_path: Path) -> None:
    bad = tmp_path / f"bad{SUFFIX}"
    bad.write_bytes(b"PK")
    result = bench("leaderboard", "build", bad, "--out", tmp_path / "site", "--cache", tmp_path / "cache")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: all 1 packs were refused")


# ---------------------------------------------------------------- texts


def test_nothing_on_the_site_can_turn_a_text_around(site: Site) -> None:
    """No file of the site holds a control character, a mark of direction or one without width."""
    for file in site.index.parent.rglob("*.*"):
        if file.suffix in (".html", ".js", ".csv", ".json"):
            found = UNSAFE.findall(file.read_text("utf-8").replace("\r\n", "\n"))
            assert found == [], (file.name, set(found))
    for line in json.loads((site.index.parent / "board.json").read_text())["rows"]:
        assert not any(UNSAFE.search(value) for value in line.values() if isinstance(value, str)), line


@given(st.text())
def test_clean_text_says_the_same_and_does_nothing(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    assert not UNSAFE.search(shown)
    assert clean(shown) == shown
    assert "\n" not in one_line(text)
    assert len(one_line(text, 5)) <= 5


@given(st.text(alphabet="=+-@;ab \n\t\r\"'\u200b\uff1d\uff20\x00", max_size=12))
def test_no_part_of_a_cell_is_a_formula(text: str) -> None:
    for part in cell(text).split(";"):
        assert (
            not part.replace("\uff1d", "=").replace("\uff20", "@").lstrip(' "\ufffd').startswith(("=", "+", "-", "@"))
        )
