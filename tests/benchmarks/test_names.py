"""What other tools and the hub call the benchmarks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from passkwh.exchange.hub_results import dataset_of
from passkwh.exchange.task_names import benchmark_named
from passkwh.registry import BENCHMARKS


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("inspect_evals/humaneval", "humaneval"), ("humaneval_plus", "humaneval"), ("mbpp_plus", "mbpp"),
        ("livecodebench_v6", "livecodebench"), ("humanevalpack", "humanevalpack"), ("humaneval-fix", "humanevalpack"),
        ("humanevalsynthesize-java", "humanevalpack"), ("human_eval_infilling", "humaneval-infilling"), ("gsm8k", None),
    ],
)  # fmt: skip
def test_names_of_other_tools_lead_to_ours(theirs: str, ours: str | None) -> None:
    assert benchmark_named(theirs) == ours


def test_our_own_names_are_taken_as_they_are() -> None:
    assert {name: benchmark_named(name) for name in BENCHMARKS.names()} == {name: name for name in BENCHMARKS.names()}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("humanevalplus", {}, ("evalplus/humanevalplus", "default")),
        ("mbppplus", {}, ("evalplus/mbppplus", "default")),
        ("humanevalpack", {"language": "java"}, ("bigcode/humanevalpack", "java")),
        ("humanevalpack", {}, ("bigcode/humanevalpack", "python")),
    ],
)  # fmt: skip
def test_results_name_the_hubs_data_set(name: str, options: dict[str, Any], expected: tuple[str, str]) -> None:
    manifest = SimpleNamespace(
        spec=SimpleNamespace(benchmark=name), benchmark=SimpleNamespace(name=name, options=options, source="file.jsonl")
    )
    assert dataset_of(SimpleNamespace(manifest=manifest)) == expected  # type: ignore[arg-type]
