"""Samples read straight from their lines are those that records give; anything out of the ordinary is left to these."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from passkwh.harness.runs.lines import NotASample, read_strictly
from passkwh.harness.runs.table import SampleTable
from passkwh.records import Sample
from passkwh.reports.leaderboard.pack import members_of
from passkwh.reports.leaderboard.parse import BOUNDS, HUGE
from passkwh.stored import unseal
from tests.leaderboard.synthetic import write_run

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """Samples of a run; some were not evaluated, some are doubted, some hold exit layers or text beyond ASCII."""
    run = write_run(tmp_path_factory.mktemp("samples") / "run", tasks=5, samples=2, batch_size=3, period_s=0.5)
    found = [json.loads(unseal(line)) for line in members_of(run)["samples.jsonl"].splitlines()]
    found[1]["verdict"] = {"status": "pass", "detail": "", "suspect": ["exits early", "prints"]}
    found[2]["verdict"] = {"status": "not_evaluated", "detail": "no sandbox", "suspect": []}
    found[3]["text"], found[3]["verdict"]["detail"] = 'é😀\n\t"\\', "Übergabe"
    found[4]["exit_layers"], found[5]["exit_layers"] = [4, 8, 30], []
    found[6]["verdict"], found[7]["ttft_s"] = None, None
    found[8]["evaluation"] = found[8]["evaluation_cpu_s"] = None
    return [found[i] for i in (3, 0, 1, 2, 9, 8, 7, 6, 5, 4)]


def joined(lines: Lines) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def strictly(content: bytes) -> SampleTable | None:
    found = read_strictly(content, BOUNDS)
    return None if found is None else SampleTable(found)


def by_records(content: bytes) -> SampleTable:
    return SampleTable.of([Sample.model_validate_json(line) for line in content.removesuffix(b"\n").split(b"\n")])


def assert_equal(a: SampleTable, b: SampleTable) -> None:
    assert a.table.schema == b.table.schema
    assert a.table.to_pylist() == b.table.to_pylist()
    assert a.doubted.tolist() == b.doubted.tolist()


def test_what_a_run_writes_is_read_at_once_as_records_have_it(lines: Lines) -> None:
    found = strictly(joined(lines))
    assert found is not None
    assert_equal(by_records(joined(lines)), found)
    assert found.order.tolist() == list(range(10))
    assert found.first_doubt == "exits early"
    assert found.first_silent == "no sandbox"
    assert found.exit_layers.tolist() == [4, 8, 30]


def test_other_ways_of_writing_the_same_are_left_to_records(lines: Lines) -> None:
    whole = joined(lines)
    first, second, rest = *whole.split(b"\n")[:2], b"\n".join(whole.split(b"\n")[2:])
    for content in (
        first + second + b"\n\n" + rest,  # two on a line, then none
        first.replace(b', "task_id"', b',\n"task_id"') + second + b"\n" + rest,  # one on two lines, two on the next
        first + b"\n\n" + second + b"\n" + rest,
        b"\xef\xbb\xbf" + whole,
        whole.replace(b'"seed": 0', b'"seed": 0.0', 1),
        whole.replace(b'"seed": 0', b'"seed": "0"', 1),
        whole.replace(b'"seed": 0', b'"seed": 0, "seed": 0', 1),
        whole.replace(b'"reason": null}}, "prefill', b'"reason": null}, "cpu:0": null}, "prefill', 1),
        whole.replace(b'"schema_version": 2', b'"schema_version": null', 1),
        whole[:-1],
        b"",
        b"\n",
    ):
        assert content != whole
        assert strictly(content) is None


def test_what_is_left_out_has_its_default(lines: Lines) -> None:
    """As older programs and other hands write: a field that has a default is in some lines, or in none."""
    for left_out in (
        ("schema_version",), ("ttft_s",), ("exit_layers",), ("prefill_energy",), ("scores",), ("verdict",),
        ("verdict", "detail"), ("verdict", "suspect"), ("generation", "batch_id"), ("evaluation_energy",),
        ("generation_energy", "gpu:GPU-synthetic"), ("evaluation_energy", "gpu:GPU-synthetic", "se_j"),
    ):  # fmt: skip
        for some in (lines[::3], lines[1:3], lines):
            changed = json.loads(json.dumps(lines))
            for line in (changed[lines.index(one)] for one in some):
                holder = at(line, left_out[:-1])
                if holder is not None:
                    holder.pop(left_out[-1], None)
            table = strictly(joined(changed))
            assert table is not None, left_out
            assert_equal(by_records(joined(changed)), table)


def test_statistics_are_the_same_read_from_their_own_columns(lines: Lines) -> None:
    changed = json.loads(json.dumps(lines))
    changed[1]["evaluation_energy"] = {}
    del changed[2]["generation_energy"], changed[3]["verdict"], changed[4]["evaluation"]
    content = joined(changed)
    for counted in (["gpu:GPU-synthetic"], ["gpu:GPU-synthetic", "cpu:0"], []):
        table = SampleTable.parse(content, counted=counted)
        assert "text" not in table.table.column_names
        assert table.statistics(counted).to_pandas().equals(SampleTable.parse(content).statistics(counted).to_pandas())
    for bad in ('"order": "first"', '"order": -1'):
        with pytest.raises(NotASample, match="line 2: not a sample"):
            SampleTable.parse(re.sub('"order": 0', bad, content.decode()).encode(), counted=[])


def test_channels_and_metrics_may_be_of_later_lines_only(lines: Lines) -> None:
    changed = json.loads(json.dumps(lines))
    changed[0]["evaluation_energy"], changed[0]["generation_energy"] = {}, {}
    changed[3]["scores"] = {"codebleu": 0.5}
    table = strictly(joined(changed))
    assert table is not None
    assert_equal(by_records(joined(changed)), table)


def test_a_missing_energy_is_null_and_says_why(lines: Lines) -> None:
    missing = {"gross_j": None, "net_j": None, "se_j": None, "reason": "the meter was gone"}
    for energy in (missing, {**missing, "reason": ""}, {**missing, "reason": None}, {"reason": "gone", "net_j": None}):
        changed = json.loads(json.dumps(lines))
        for line in changed[:4]:
            line["generation_energy"] = dict.fromkeys(line["generation_energy"], energy)
        table = strictly(joined(changed))
        assert (table is not None) == (energy is missing)
        if table is not None:
            assert_equal(by_records(joined(changed)), table)


NUMBERS = [1e300, -1e300, 2.0**63, float("nan"), float("inf"), 10**30, -1, -0.5, 4.7e18]


@pytest.mark.parametrize("value", NUMBERS)
def test_no_number_that_is_impossible_gets_through(lines: Lines, value: float) -> None:
    """Every number of a sample, one after the other: none is taken that a record or the bound on sizes refuses."""
    for path in [p for p in paths_in(lines[0], ()) if isinstance(at(lines[0], p), (int, float))]:
        changed = json.loads(json.dumps(lines))
        put(changed[0], path, value)
        content = joined(changed)
        found = strictly(content)
        try:
            expected = by_records(content)
        except (ValidationError, OverflowError):
            assert found is None, path
        else:
            if not abs(value) <= HUGE:
                assert found is None, path
            elif found is not None:
                assert_equal(expected, found)


ANYTHING = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["pass", "stop", "length", "generate", "timeout", "x" * (BOUNDS.longest + 1)])
    | st.lists(st.integers(0, 3) | st.text(max_size=3), max_size=2)
    | st.dictionaries(st.sampled_from(["gpu:GPU-synthetic", "x"]), st.none() | st.floats(0, 9), max_size=2)
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_read_strictly_is_what_records_give(lines: Lines, data: st.DataObject) -> None:
    changed = json.loads(json.dumps(lines))
    for _ in range(data.draw(st.integers(1, 2))):
        line = data.draw(st.sampled_from(changed))
        path = data.draw(st.sampled_from(paths_in(line, ())))
        if data.draw(st.booleans()):
            put(line, path, data.draw(ANYTHING))
        elif isinstance(at(line, path[:-1]), dict):
            del at(line, path[:-1])[path[-1]]
    content = joined(changed)
    found = strictly(content)
    if found is not None:
        assert_equal(by_records(content), found)


def paths_in(content: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [p for key, value in entries for p in [(*path, key), *paths_in(value, (*path, key))]]


def at(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def put(content: Any, path: tuple[Any, ...], value: Any) -> None:
    at(content, path[:-1])[path[-1]] = value
