"""Requests in flight without a barrier: whose joules they are, and real runs of a real server with 1, 4 and 8."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.analysis.frames import load
from passkwh.analysis.overview import AnalysisSettings
from passkwh.errors import UsageError
from passkwh.harness.measure import attribute, measure
from passkwh.harness.meter.energies import Spans
from passkwh.harness.meter.shared_time import Requests, share_time
from passkwh.harness.meter.simulated import PROFILES, SimulatedSensor
from passkwh.harness.meter.trace import TRACE_SCHEMA, Trace
from passkwh.harness.plan import plan
from passkwh.harness.runner import run
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable
from passkwh.harness.summarise import summarise
from passkwh.records import (
    BenchmarkInfo,
    ChannelInfo,
    HostInfo,
    Manifest,
    MeterInfo,
    ModelInfo,
    Sample,
    Session,
    Spec,
    Window,
    sample_key,
    spec_identity,
)
from passkwh.reports.document.build import assemble
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.leaderboard.pack import members_of
from passkwh.reports.leaderboard.validate import check_members
from passkwh.stored import unseal

OPTIONS = {"n_threads": 1}
SECOND = 1_000_000_000


# ---------------------------------------------------------------- the rule


def requests(*rows: tuple[int, int, list[int], int]) -> Requests:
    """(start, end, arrivals, tokens) of each, all in one stretch."""
    starts, ends, arrivals, tokens = zip(*rows, strict=True)
    zeros = np.zeros(len(rows), dtype=np.int64)
    spans = Spans(zeros, np.array(starts, np.int64), np.array(ends, np.int64))
    return Requests(zeros, spans, [np.array(a, np.int64) for a in arrivals], np.array(tokens, np.int64))


def shares(made: Requests, most: int = 2, lost: int = 0, watts: float = 1.0) -> list[float]:
    """What each request is charged of a device with a constant power, in its joules per ns."""
    shared = share_time(made, most, np.array([lost]))
    lengths = (shared.spans.end_ns - shared.spans.start_ns) * watts
    return np.bincount(shared.request, lengths[shared.interval] * shared.share, len(made.tokens)).tolist()


def test_a_request_alone_has_all_and_two_alike_have_half() -> None:
    assert shares(requests((0, 100, [10, 50, 100], 3))) == [100]
    assert shares(requests((0, 100, [10, 50, 100], 3), (0, 100, [10, 50, 100], 3))) == [50, 50]


def test_one_that_emits_twice_as_fast_costs_twice_as_much_once_both_emit() -> None:
    fast, slow = (0, 100, list(range(10, 101, 15)), 7), (0, 100, list(range(10, 101, 30)), 4)
    assert shares(requests(fast, slow)) == pytest.approx([5 + 60, 5 + 30])


def test_one_that_has_no_token_yet_takes_an_equal_share() -> None:
    # The second waits until 60, then emits as fast as the first.
    assert shares(requests((0, 100, list(range(20, 101, 20)), 5), (0, 100, [60, 80, 100], 3))) == [50, 50]
    assert shares(requests((0, 100, list(range(20, 101, 20)), 5), (0, 100, [], 0))) == [50, 50]


def test_a_stall_of_all_is_shared_equally() -> None:
    assert shares(requests((0, 100, [20, 40], 2), (0, 100, [20, 40], 2))) == [50, 50]


def test_a_lost_request_takes_its_equal_share_from_when_it_began() -> None:
    # Two places; after the first request's end another was in flight that was lost.
    made = requests((0, 50, [10, 30, 50], 3), (0, 90, [10, 30, 50, 70, 90], 5))
    assert shares(made, lost=1) == pytest.approx([25, 25 + 20])
    assert shares(made, lost=0) == pytest.approx([25, 25 + 40])


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 60), st.lists(st.integers(-5, 70), max_size=6), st.integers(0, 9)),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_shares_are_not_negative_and_add_up_to_the_time_in_which_any_was_in_flight(
    rows: list[tuple[int, int, list[int], int]],
) -> None:
    made = requests(*((start, start + n, sorted(start + a for a in arrivals), t) for start, n, arrivals, t in rows))
    charged = shares(made, most=len(rows))
    assert min(charged) >= 0
    assert sum(charged) == pytest.approx(made.spans.merged().length_s() * SECOND)
    tokens = share_time(made, len(rows), np.array([0])).tokens
    assert tokens.sum() == pytest.approx(sum(row[3] for row in rows))


# ---------------------------------------------------------------- a device with a known power per request in flight


def schedule(number: int, most: int, seed: int) -> list[tuple[float, float, list[float]]]:
    """(start, end, arrivals) in seconds of requests, each begun when one ended, a token every 18 to 22 ms."""
    rng = np.random.default_rng(seed)
    free = [1.0] * most
    made = []
    for _ in range(number):
        place = int(np.argmin(free))
        start = free[place]
        arrivals = start + rng.uniform(0.02, 0.2) + np.cumsum(rng.uniform(0.018, 0.022, rng.integers(20, 120)))
        free[place] = float(arrivals[-1]) + 0.001
        made.append((start, free[place], arrivals.tolist()))
    return made


@pytest.mark.parametrize("most", [1, 4, 8])
@pytest.mark.parametrize("profile", ["counter-20ms", "power"])
def test_on_a_device_whose_power_goes_by_the_number_in_flight_each_sample_is_right(
    most: int, profile: str, manifest: Manifest
) -> None:
    idle_w, each_w = 40.0, 25.0
    made = schedule(200, most, seed=most)
    moments = np.unique([[start, end] for start, end, _ in made])
    starts, ends = (np.array(column) for column in zip(*((start, end) for start, end, _ in made), strict=True))
    end_s = float(moments[-1]) + 1.0
    edges = [0.0, *moments.tolist(), end_s]
    count = [int(((starts <= at) & (at < ends)).sum()) for at in edges[:-1]]
    powers = [idle_w + each_w * n for n in count]
    curve = tuple(p for a, b, w in zip(edges, edges[1:], powers, strict=False) for p in ((a, w), (b, w)))
    sensor = SimulatedSensor(replace(PROFILES[profile], curve=curve))
    channel = manifest.meter.channels[0].model_copy(update={"quantity": sensor.profile.kind})
    trace = Trace.from_table(trace_table(sensor, end_s, 0), [channel])
    samples = [sample(i, *one) for i, one in enumerate(made)]
    manifest = manifest.model_copy(update={"spec": manifest.spec.model_copy(update={"concurrency": max(most, 2)})})
    table = SampleTable.of(samples)
    charged = attribute(manifest, table, trace).generation["simulated:x"].gross_j
    # The truth: at every moment each request in flight has an equal part of the device's power.
    truth = np.zeros(len(made))
    for a, b, w, n in zip(edges, edges[1:], powers, count, strict=False):
        truth[(starts <= a) & (b <= ends)] += w * (b - a) / max(n, 1)
    error = charged / truth - 1
    assert np.abs(error).max() < 0.05
    assert abs(error.mean()) < 0.005
    assert charged.sum() == pytest.approx(trace.energy("simulated:x", 0, SECOND, int(ends.max() * SECOND)).gross_j)


def trace_table(sensor: SimulatedSensor, end_s: float, session: int) -> pa.Table:
    """What a recorder would have read."""
    time_s = np.arange(0, end_s, 0.02)
    count = len(time_s)
    return pa.Table.from_arrays(
        [
            pa.array(np.full(count, session, np.int16)), pa.array((time_s * SECOND).astype(np.int64)),
            pa.array(["simulated:x"] * count).dictionary_encode().cast(TRACE_SCHEMA.field("channel").type),
            pa.array([sensor.profile.kind] * count).dictionary_encode().cast(TRACE_SCHEMA.field("quantity").type),
            pa.array(sensor.values(time_s)), pa.nulls(count, pa.string()),
        ],
        schema=TRACE_SCHEMA,
    )  # fmt: skip


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        run_id="r", status="complete", spec=Spec(model="m", concurrency=2, max_new_tokens=200, meter="simulated"),
        model=ModelInfo(
            name="m", adapter="base", engine="llamacpp", chat=False, checkpoint="m", revision="1", dtype="f32",
            device="cpu", parameters=1,
        ),
        benchmark=BenchmarkInfo(name="b", version="1", source="s", sha256="0" * 64, tasks=1),
        host=HostInfo(os="Linux", kernel="6", python="3.11", cpu="c", cores=1, memory_bytes=1),
        meter=MeterInfo(name="simulated", interval_s=0.02, channels=(
            ChannelInfo(name="simulated:x", provenance="simulated", source="invented", quantity="energy_j"),
        )),
        versions={}, sessions=(Session(index=0, started_at="2026-01-01T00:00:00Z"),),
    )  # fmt: skip


def sample(i: int, start_s: float, end_s: float, arrivals: Sequence[float], session: int = 0) -> Sample:
    """As a run stores it: arrivals to the millisecond."""
    start_ns, end_ns = round(start_s * SECOND), round(end_s * SECOND)
    steps = np.diff([0, *(round((at - start_s) * 1000) for at in arrivals)])
    return Sample(
        key=f"{i}", task_id=f"t{i}", sample_index=0, order=i, batch_id=session, batch_size=1, seed=0,
        prompt_tokens=10, completion_tokens=len(arrivals), text="", finish_reason="stop", latency_s=end_s - start_s,
        ttft_s=arrivals[0] - start_s, arrivals_ms=tuple(int(step) for step in steps),
        generation=Window(kind="generate", session=session, start_ns=start_ns, end_ns=end_ns, batch_id=session),
    )  # fmt: skip


def test_a_broken_off_session_charges_its_samples_for_their_part_only(manifest: Manifest) -> None:
    # 100 W. Two in flight; the session breaks off with one of them unanswered, which a second session makes again.
    session = manifest.sessions[0]
    manifest = manifest.model_copy(update={"sessions": (session, session.model_copy(update={"index": 1}))})
    steady = [s / 10 for s in range(11, 41)]
    samples = [
        sample(0, 1.0, 2.0, steady[:10]),  # its place is then taken by the one that was lost
        sample(1, 1.0, 4.0, steady),
        sample(2, 1.0, 3.0, steady[:20], session=1),
    ]
    sensor = SimulatedSensor(PROFILES["steady"])
    first, second = (trace_table(sensor, 6.0, session) for session in (0, 1))
    trace = Trace.from_table(pa.concat_tables([first, second]), manifest.meter.channels)
    measured, (total,) = measure(manifest, samples, trace)
    joules = [one.generation_energy["simulated:x"].gross_j for one in measured]
    assert joules == pytest.approx([50.0, 50.0 + 100.0, 200.0], rel=0.02)
    assert total.generation.gross_j == pytest.approx(sum(j for j in joules if j is not None))
    assert total.generation.se_j is not None


def test_a_gap_in_the_readings_is_missing_with_its_reason_in_those_that_were_in_flight(manifest: Manifest) -> None:
    sensor = SimulatedSensor(replace(PROFILES["power"], curve=((0.0, 100.0), (1.0, 100.0))))
    rows = trace_table(sensor, 12.0, 0)
    time_s = rows["time_ns"].to_numpy() / SECOND
    rows = rows.filter(pa.array((time_s < 6.2) | (time_s > 7.8)))
    channel = manifest.meter.channels[0].model_copy(update={"quantity": "power_w"})
    samples = [sample(i, 1.0 + 2 * (i // 2), 3.0 + 2 * (i // 2), [1.1 + 2 * (i // 2)]) for i in range(8)]
    measured, (total,) = measure(manifest, samples, Trace.from_table(rows, [channel]))
    energies = [one.generation_energy["simulated:x"] for one in measured]
    assert [e.gross_j is None for e in energies] == [False] * 4 + [True] * 4
    assert all("readings" in (e.reason or "") for e in energies[4:])
    assert total.generation.gross_j is None


# ---------------------------------------------------------------- steady state and latencies


def test_steady_state_and_percentiles_are_those_of_the_samples(manifest: Manifest) -> None:
    # Two in flight from 1 s to 3 s, 10 tokens/s each, then one alone until 5 s.
    samples = [
        sample(0, 1.0, 3.0, [1 + i / 10 for i in range(1, 21)]),
        sample(1, 1.0, 5.0, [1 + i / 10 for i in range(1, 41)]),
    ]
    trace = Trace.from_table(trace_table(SimulatedSensor(PROFILES["steady"]), 7.0, 0), manifest.meter.channels)
    table = SampleTable.of(samples)
    summary = summarise(manifest, table, attribute(manifest, table, trace).totals, {})
    assert (summary.engine, summary.concurrency) == ("llamacpp", 2)
    assert summary.generation_s == pytest.approx(4.0)
    assert summary.steady_s == pytest.approx(2.0)
    assert summary.steady_tokens_per_s == pytest.approx(20.0)
    assert summary.steady_joules_per_token == pytest.approx(5.0, rel=0.02)
    assert (summary.ttft_p50_s, summary.tpot_p90_s) == (pytest.approx(0.1), pytest.approx(0.1))
    assert (summary.latency_p50_s, summary.latency_p99_s) == (pytest.approx(3.0), pytest.approx(3.98))
    more = manifest.model_copy(update={"spec": manifest.spec.model_copy(update={"concurrency": 3})})
    few = summarise(more, table, attribute(more, table, trace).totals, {})
    assert few.steady_tokens_per_s is few.steady_joules_per_token is None
    assert "never 3 requests in flight" in str(few.steady_reason)


# ---------------------------------------------------------------- real runs


@pytest.fixture(scope="module")
def spec(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """Twelve tasks of a real model in a real server."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the gguf extra")
    return Spec(
        model=str(tiny_gguf), engine="llamacpp", engine_options=OPTIONS, benchmark="humaneval",
        benchmark_options={"data": str(tasks(tmp_path_factory.mktemp("data"), 12))}, max_new_tokens=24,
        meter="simulated", idle_s=0.1,
    )  # fmt: skip


def tasks(folder: Path, number: int) -> Path:
    file = folder / "tasks.jsonl"
    file.write_text(
        "".join(
            json.dumps(
                {"task_id": f"T/{i}", "prompt": f"def f{i}(x):\n", "canonical_solution": "    return x\n",
                 "entry_point": f"f{i}", "test": f"def check(f):\n    assert f({i}) == {i}\n"}
            ) + "\n"
            for i in range(number)
        )
    )  # fmt: skip
    return file


@pytest.fixture(scope="module")
def ladder(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> dict[int, RunFolder]:
    """Runs of a real server with 1, 4 and 8 requests in flight."""
    out = tmp_path_factory.mktemp("ladder")
    return {n: run(plan(spec.model_copy(update={"concurrency": n}), out)) for n in (1, 4, 8)}


@pytest.mark.parametrize("concurrency", [1, 4, 8])
def test_samples_of_a_real_server_add_up_to_the_run(ladder: dict[int, RunFolder], concurrency: int) -> None:
    folder = ladder[concurrency]
    check_run(folder, concurrency, "simulated:steady")
    assert f"n_slots = {concurrency}" in (folder.path / "engine-000.log").read_text()


def finished(folder: RunFolder) -> list[Sample]:
    """As a reader finds them, with energies."""
    return RunFolder.open(folder.path).samples()


def check_run(folder: RunFolder, concurrency: int, channel: str) -> None:
    samples, summary, manifest = finished(folder), folder.summary(), folder.manifest()
    assert len(samples) == len({one.key for one in samples}) == 12
    assert summary.generation_energy_j is not None
    joules = [one.generation_energy[channel].gross_j or 0.0 for one in samples]
    assert min(joules) > 0
    assert sum(joules) == pytest.approx(summary.generation_energy_j, rel=0.005)
    assert (summary.engine, summary.concurrency) == (manifest.model.engine, concurrency)
    assert None not in (summary.ttft_p50_s, summary.tpot_p99_s, summary.latency_p90_s)
    if concurrency == 1:
        assert summary.steady_s is None
        return
    table = SampleTable.of(samples)
    start_ns, end_ns = int(table.generation.start_ns.min()), int(table.generation.end_ns.max())
    whole = Trace.from_table(folder.trace(), manifest.meter.channels).energy(channel, 0, start_ns, end_ns)
    assert sum(joules) == pytest.approx(whole.gross_j, rel=0.005)  # the stretch, measured at once
    assert summary.generation_s == pytest.approx((end_ns - start_ns) / SECOND)
    assert {one.generation.batch_id for one in samples} == {0}
    assert summary.joules_per_prompt_token is None
    # When one ends the next begins: so many begin at once, and each other at the end of one before it.
    ends = {one.generation.end_ns for one in samples}
    begins = [one.generation.start_ns for one in samples]
    assert begins.count(start_ns) == concurrency
    assert all(begin in ends for begin in begins if begin != start_ns)
    for one in samples:
        assert one.arrivals_ms is not None
        assert 0 < len(one.arrivals_ms) <= one.completion_tokens
        assert sum(one.arrivals_ms) <= one.latency_s * 1000 + 1
    assert summary.steady_s is not None
    assert 0 < summary.steady_s <= summary.generation_s
    assert summary.steady_joules_per_token is not None


def test_the_report_names_the_cheapest_within_a_deadline_and_has_no_interval_from_one_stretch(
    ladder: dict[int, RunFolder],
) -> None:
    frames = load([folder.path for folder in ladder.values()])
    summaries = {label_of(n): folder.summary() for n, folder in ladder.items()}
    cost = {label: s.joules_per_token or 0.0 for label, s in summaries.items()}
    slowest_s = max(s.latency_p90_s or 0.0 for s in summaries.values())

    def page(deadline_s: float | None) -> str:
        settings = AnalysisSettings(resamples=100, deadline_s=deadline_s)
        evidence = Evidence(frames, "short", settings)
        sections = {s.id: s for s in assemble([("", evidence)], pictures=False).report.sections}
        return sections["latency"].model_dump_json()

    assert f"the cheapest configuration is tiny-llama.gguf {min(cost, key=cost.__getitem__)}" in page(slowest_s)
    assert "No configuration gives nine of ten answers within" in page(1e-6)
    fastest = min(summaries, key=lambda label: summaries[label].latency_p90_s or 0.0)
    assert f"the cheapest configuration is tiny-llama.gguf {fastest}" in page(None)
    evidence = Evidence(frames, "short", AnalysisSettings(resamples=100))
    for label in evidence.labels:
        estimate = evidence.headline("joules_per_token", label)
        alone = label.endswith(label_of(1))
        assert (estimate.low is None) == (not alone)
        assert alone or "units of measurement" in str(estimate.reason)
    # The sum of the samples' time is the time of the run, so that speeds of pooled runs are those of the runs.
    for position, run_ in enumerate(frames.runs):
        own = frames.samples[frames.samples["run"] == position]
        assert own["generation_s"].sum() == pytest.approx(run_.summary.generation_s)


def label_of(concurrency: int) -> str:
    return f"concurrency={concurrency}"


def test_a_board_takes_runs_with_requests_in_flight_and_finds_what_was_changed(ladder: dict[int, RunFolder]) -> None:
    members = members_of(ladder[4].path)

    def errors(change: Callable[[list[Any]], Any]) -> list[str]:
        lines = [json.loads(unseal(line)) for line in members["samples.jsonl"].splitlines()]
        change(lines)
        changed = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        checked = check_members(Path("pack"), "", {**members, "samples.jsonl": changed})
        return [f"{f.field} {f.seen}" for f in checked.findings if f.severity == "error"]

    assert errors(lambda lines: None) == []
    doubled = errors(lambda lines: lines[3]["generation_energy"]["simulated:steady"].update(gross_j=1e3))
    assert any("generation_energy" in text for text in doubled)
    assert errors(lambda lines: [line["generation"].update(start_ns=line["generation"]["end_ns"]) for line in lines])


def test_a_thread_that_gets_going_late_still_has_its_request(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine, where the first threads have done all before the last ones run."""
    start = threading.Thread.start

    def late(self: threading.Thread) -> None:
        if self.name.startswith("request-"):
            time.sleep(0.15)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", late)
    check_run(run(plan(spec.model_copy(update={"concurrency": 8}), tmp_path)), 8, "simulated:steady")


def test_an_endpoint_is_kept_full_too(tmp_path: Path) -> None:
    from tests.thinking.server import Habits, serving

    with serving(Habits(thinks=False)) as url:
        spec = Spec(
            model=f"openai-chat:{url}#thinker", benchmark="humaneval", concurrency=4, max_new_tokens=16,
            benchmark_options={"data": str(tasks(tmp_path, 12))}, meter="simulated", idle_s=0.1,
        )  # fmt: skip
        check_run(run(plan(spec, tmp_path / "runs")), 4, "simulated:steady")


class StopsAfter:
    """Progress that interrupts the run once so many samples are stored."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def update(self, status: Any) -> None:
        if status.stage == "generating" and status.done >= self.samples:
            raise KeyboardInterrupt


def test_what_was_in_flight_when_a_run_was_interrupted_is_made_again(spec: Spec, tmp_path: Path) -> None:
    planned = plan(spec.model_copy(update={"concurrency": 4}), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(planned, progress=StopsAfter(3))
    kept = {one.key: one.text for one in RunFolder.open(planned.folder).samples()}
    assert 3 <= len(kept) < 12
    folder = run(planned, resume=True)
    samples = finished(folder)
    assert len(samples) == len({one.key for one in samples}) == 12
    assert {key: text for one in samples if (key := one.key) in kept for text in [one.text]} == kept
    assert {one.generation.session for one in samples} == {0, 1}
    # Right, and not more than was drawn in each session, of which a lost request of the first had its part.
    energies = [(one.generation.session, one.generation_energy["simulated:steady"].gross_j or 0.0) for one in samples]
    assert folder.summary().generation_energy_j == pytest.approx(sum(joules for _, joules in energies))
    stretches = SampleTable.of(samples).measured
    trace = Trace.from_table(folder.trace(), folder.manifest().meter.channels)
    drawn_j = trace.energies("simulated:steady", stretches).gross_j
    first, last = (
        (sum(joules for session, joules in energies if session == number), drawn_j[stretches.session == number].sum())
        for number in (0, 1)
    )
    assert first[0] < first[1] * (1 - 1e-6)
    assert last[0] == pytest.approx(last[1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"batch_size": 2}, "--batch-size 2 waits .* give one of them"),
        ({"engine": "transformers"}, "--concurrency 4: engine transformers .*--batch-size 4"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    change: dict[str, Any], reason: str, tiny_gguf: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    model = tiny_llama if "engine" in change else tiny_gguf
    spec = Spec(model=str(model), concurrency=4, limit=1, meter="estimate", **change)
    with pytest.raises(UsageError, match=reason):
        run(plan(spec, tmp_path))
    assert not list(tmp_path.iterdir())


def test_concurrency_is_part_of_what_a_sample_is_only_where_it_is_not_one(manifest: Manifest) -> None:
    one, four = (Spec(model="m", concurrency=n) for n in (1, 4))
    assert spec_identity(one) == spec_identity(Spec(model="m")) != spec_identity(four)
    keys = [sample_key(spec, manifest.model, "t", "p", 0) for spec in (Spec(model="m"), one, four)]
    assert keys[0] == keys[1] != keys[2]
