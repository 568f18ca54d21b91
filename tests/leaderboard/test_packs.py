"""Packs: one run is one file, and whoever changes, forges or booby-traps it is told in which part and field."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passkwh.reports.leaderboard import pack as packing
from passkwh.reports.leaderboard.duplicates import duplicates
from passkwh.reports.leaderboard.pack import CHECKSUMS, SUFFIX, members_of, write_pack
from passkwh.reports.leaderboard.validate import Checked, check_members, validate
from passkwh.stored import unseal
from tests.conftest import Bench, last_json
from tests.leaderboard.synthetic import write_run

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def members(good_run: Path) -> Members:
    return members_of(good_run)


def check(members: Members) -> Checked:
    """The verdict on parts whose checksums hold."""
    return check_members(Path("forged"), "", members)


def errors(checked: Checked) -> list[tuple[str, str]]:
    return [(f.file, f.field) for f in checked.findings if f.severity == "error"]


def edited(content: bytes, change: Callable[[Any], Any]) -> bytes:
    parsed = json.loads(unseal(content))
    change(parsed)
    return json.dumps(parsed).encode()


def edited_lines(content: bytes, change: Callable[[list[Any]], Any]) -> bytes:
    parsed = [json.loads(unseal(line)) for line in content.splitlines()]
    change(parsed)
    return b"".join(json.dumps(line).encode() + b"\n" for line in parsed)


def test_packing_validating_and_packing_again_from_the_outside(bench: Bench, good_run: Path, tmp_path: Path) -> None:
    made = last_json(bench("leaderboard", "pack", good_run, "--out", tmp_path / "a", "--json"))["packs"]
    again = last_json(bench("leaderboard", "pack", good_run, "--out", tmp_path / "b", "--json"))["packs"]
    assert Path(made[0]).read_bytes() == Path(again[0]).read_bytes()  # the same run, the same file
    said = last_json(bench("leaderboard", "validate", tmp_path / "a", "--json"))
    assert said["valid"] is True
    assert said["packs"][0]["findings"] == []
    twice = bench("leaderboard", "validate", tmp_path, "--json")
    assert twice.returncode == 1
    assert "same generations" in twice.stdout


def test_one_run_under_two_names_is_one_submission(members: Members, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pack(members, tmp_path / f"{name}{SUFFIX}")
    both = [validate(tmp_path / f"{name}{SUFFIX}") for name in ("b", "a")]
    found = duplicates([(one.path, one.fingerprint) for one in both])
    assert [path.name for path in found] == [f"b{SUFFIX}"]
    assert f"a{SUFFIX}" in next(iter(found.values())).seen


def test_a_run_that_is_not_finished_is_not_packed(bench: Bench, good_run: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "manifest.json").write_bytes((good_run / "manifest.json").read_bytes())
    result = bench("leaderboard", "pack", part, "--out", tmp_path / "out")
    assert result.returncode == 2
    assert "not complete" in result.stderr
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- forged figures


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gross_energy_j", 1.0), ("net_energy_j", -5.0), ("pass_at_kwh", 1e6), ("solved", 12.0),
        ("pass_at_k", {"1": 1.0}), ("completion_tokens", 1), ("tokens_per_s", 9e9), ("quant", "gptq-int4"),
        ("provenance", "estimated"), ("generation_s", 1.0), ("model", "another"),
    ],
)  # fmt: skip
def test_a_summary_must_follow_from_verdicts_and_trace(members: Members, field: str, value: object) -> None:
    forged = {**members, "summary.json": edited(members["summary.json"], lambda s: s.update({field: value}))}
    assert ("summary.json", field) in errors(check(forged))


def test_a_verdict_changed_by_hand_is_seen_in_pass_at_k(members: Members) -> None:
    def cheat(lines: list[Any]) -> None:
        for line in lines:
            line["verdict"] = {"status": "pass"}

    checked = check({**members, "samples.jsonl": edited_lines(members["samples.jsonl"], cheat)})
    assert ("summary.json", "pass_at_k") in errors(checked)


def test_energy_moved_between_samples_is_seen(members: Members) -> None:
    def cheat(lines: list[Any]) -> None:
        (one,), (other,) = lines[0]["generation_energy"].values(), lines[1]["generation_energy"].values()
        one["gross_j"], other["gross_j"] = one["gross_j"] + 50, other["gross_j"] - 50

    checked = check({**members, "samples.jsonl": edited_lines(members["samples.jsonl"], cheat)})
    assert any(file == "samples.jsonl" and "generation_energy" in field for file, field in errors(checked))


def test_a_trace_that_draws_less_is_seen(members: Members) -> None:
    table = pq.read_table(io.BytesIO(members["trace.parquet"]))
    buffer = io.BytesIO()
    half = pa.compute.multiply(table["value"], 0.5)
    pq.write_table(table.set_column(4, "value", half), buffer)
    assert ("summary.json", "gross_energy_j") in errors(check({**members, "trace.parquet": buffer.getvalue()}))


def test_power_beyond_the_devices_limit_is_refused(tmp_path: Path) -> None:
    checked = check(members_of(write_run(tmp_path / "hot", work_w=500.0)))
    assert [field for _, field in errors(checked)] == ["channels.gpu:GPU-synthetic.generation"] * 1 + [
        "channels.gpu:GPU-synthetic.evaluation"
    ]
    assert "385 W" in checked.findings[0].seen


@pytest.mark.parametrize(
    ("part", "change", "field"),
    [
        ("manifest.json", lambda m: m["host"].update(cores=float("nan")), "host.cores"),
        ("manifest.json", lambda m: m["model"].update(parameters=10**400), "model.parameters"),
        ("manifest.json", lambda m: m["model"].update(dtype="x" * 30_000), "model.dtype"),
        ("manifest.json", lambda m: m.update(surprise=1), "surprise"),
        ("manifest.json", lambda m: m["sessions"].clear(), "sessions"),
        ("summary.json", lambda s: s.update(gross_energy_j=float("inf")), "gross_energy_j"),
        ("summary.json", lambda s: s.update(net_energy_j=1e300), "net_energy_j"),
    ],
)
def test_impossible_values_are_named(members: Members, part: str, change: Callable[[Any], Any], field: str) -> None:
    assert errors(check({**members, part: edited(members[part], change)})) == [(part, field)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: s[2].update(latency_s=float("nan")), "line 3, latency_s"),
        (lambda s: s[2].update(seed=10**30), "line 3, seed"),
        (lambda s: s[2].update(order="1" + 30 * "0"), "line 3, order"),
        (lambda s: s[2]["generation"].update(session=7), "session"),
        (lambda s: s[2].update(key=s[1]["key"]), "key"),
        (lambda s: s[2].update(task_id="BigCodeBench/0"), "sample_index"),
        (lambda s: s.pop(), "task_id"),
    ],
)
def test_impossible_samples_are_named(members: Members, change: Callable[[Any], Any], field: str) -> None:
    forged = {**members, "samples.jsonl": edited_lines(members["samples.jsonl"], change)}
    assert errors(check(forged))[0] == ("samples.jsonl", field)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_impossible_readings_are_named(members: Members, value: float) -> None:
    table = pq.read_table(io.BytesIO(members["trace.parquet"]))
    values = table["value"].to_pylist()
    values[5] = value
    buffer = io.BytesIO()
    pq.write_table(table.set_column(4, "value", pa.array(values)), buffer)
    assert errors(check({**members, "trace.parquet": buffer.getvalue()})) == [("trace.parquet", "value")]


# ---------------------------------------------------------------- hostile files


def zipped(entries: list[tuple[str | zipfile.ZipInfo, bytes]], *, deflate: bool = True) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (0o120777) << 16
    return entry


def as_entries(members: Members) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    return [(CHECKSUMS, json.dumps({"format": 1, "sha256": sums}).encode()), *members.items()]


def lying_about_its_size(members: Members) -> bytes:
    """The stated size of a member made small in the directory, its content left large."""
    content = bytearray(zipped(as_entries(members)))
    place = content.rfind(b"PK\x01\x02", 0, content.rfind(b"samples.jsonl"))
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda m: zipped([*as_entries(m), ("/etc/passwd", b"x")]), "'/etc/passwd'"),
        (lambda m: zipped([*as_entries(m), ("../../evil.py", b"x")]), "'../../evil.py'"),
        (lambda m: zipped([*as_entries(m), ("..\\evil", b"x")]), "no part of a pack"),
        (lambda m: zipped([*as_entries(m)[:-1], (link("trace.parquet"), b"/etc/shadow")]), "is a link"),
        (lambda m: zipped([*as_entries(m), ("summary.json", b"{}")]), "more than once"),
        (lambda m: zipped(as_entries(m)[1:]), "missing"),
        (lambda m: zipped([(n, c) if n != "samples.jsonl" else (n, b"0" * 40_000_000) for n, c in as_entries(m)]),
         "times its size"),
        (lambda m: zipped([(f"{i}", b"") for i in range(3000)]), "lists 3000 members"),
        (lying_about_its_size, "samples.jsonl"),
        (lambda m: zipped([*as_entries({**m, "summary.json": b"{}"})[:1], *m.items()]), "checksum"),
        (lambda m: b"PK\x05\x06" + b"\xff" * 18, ""),
        (lambda m: b"", "not a zip file"),
        (lambda m: zipped(as_entries(m))[:-200], ""),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_and_writes_nothing(
    members: Members, tmp_path: Path, build: Callable[[Members], bytes], said: str
) -> None:
    target = tmp_path / "inside" / f"x{SUFFIX}"
    target.parent.mkdir()
    target.write_bytes(build(members))
    before = sorted(tmp_path.rglob("*"))
    checked = validate(target)
    assert not checked.valid
    assert said in str(checked.findings[0])
    assert checked.findings[0].fix
    assert sorted(tmp_path.rglob("*")) == before


def test_a_member_larger_than_allowed_is_refused_before_it_is_unpacked(
    members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packing.LIMITS, "samples.jsonl", 1000)
    target = tmp_path / f"x{SUFFIX}"
    target.write_bytes(zipped(as_entries(members)))
    (finding,) = validate(target).findings
    assert (finding.file, "more than" in finding.seen) == ("samples.jsonl", True)


# ---------------------------------------------------------------- anything at all

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths_in(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    here = [path] if path else []
    if isinstance(content, dict):
        return here + [p for key, value in content.items() for p in paths_in(value, (*path, key))]
    if isinstance(content, list):
        return here + [p for index, value in enumerate(content) for p in paths_in(value, (*path, index))]
    return here


def put(content: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_pack_of_two_thousand_raises(tiny_members: Members, data: st.DataObject) -> None:
    """Any field of any part replaced by anything, or bytes changed anywhere: a verdict, never an exception."""
    part = data.draw(st.sampled_from(["manifest.json", "summary.json", "samples.jsonl", "trace.parquet", "zip"]))
    if part == "zip":
        content = bytearray(zipped(as_entries(tiny_members)))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, 40))
        with contextlib.suppress(packing.Problem):
            packing._check_sums(packing._members(bytes(content[: len(content) - cut]), "x"))
        return
    if part == "trace.parquet":
        content = bytearray(tiny_members[part])
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        forged = bytes(content)
    elif part == "samples.jsonl":
        lines = [json.loads(line) for line in tiny_members[part].splitlines()]
        for _ in range(data.draw(st.integers(1, 2))):
            put(lines, data.draw(st.sampled_from([p for p in paths_in(lines) if len(p) > 1])), data.draw(JSON_VALUES))
        forged = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    else:
        parsed = json.loads(tiny_members[part])
        for _ in range(data.draw(st.integers(1, 2))):
            put(parsed, data.draw(st.sampled_from(paths_in(parsed))), data.draw(JSON_VALUES))
        forged = json.dumps(parsed).encode()
    checked = check({**tiny_members, part: forged})
    for finding in checked.findings:
        assert finding.file
        assert finding.fix
        assert "\n" not in finding.seen


@pytest.fixture(scope="session")
def tiny_members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """A run of three tasks with a short trace, so that a check takes a few milliseconds."""
    return members_of(write_run(tmp_path_factory.mktemp("tiny") / "tiny", tasks=3, batch_size=2, period_s=0.5))
