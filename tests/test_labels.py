"""What configurations and runs are called."""

from __future__ import annotations

from typing import Any

from passkwh.harness.runs.labels import describe, identity, labels, run_labels
from passkwh.records import BenchmarkInfo, HostInfo, Manifest, MeterInfo, ModelInfo, Spec


def manifest(model: str = "family/tiny-1B-Instruct", quant: str = "none", run_id: str = "r", **spec: Any) -> Manifest:
    return Manifest(
        run_id=run_id, status="complete", spec=Spec(model=model, quant=quant, **spec),
        model=ModelInfo(
            name=model, adapter="instruct", engine="transformers", chat=True, checkpoint=model, revision="r" * 40,
            quant=quant, dtype="bfloat16", device="cuda:1", parameters=None,
        ),
        benchmark=BenchmarkInfo(name="b", version="1", source="s", sha256="0", tasks=1),
        host=HostInfo(os="Linux", kernel="6", python="3.11", cpu="cpu", cores=2, memory_bytes=1),
        meter=MeterInfo(name="auto", interval_s=0.02, channels=()), versions={},
    )  # fmt: skip


def test_a_label_says_what_tells_configurations_apart_and_nothing_else() -> None:
    assert labels([]) == []
    assert labels([manifest(batch_size=4)]) == ["tiny-1B-Instruct"]
    assert labels([manifest(), manifest(quant="awq")]) == ["tiny-1B-Instruct", "tiny-1B-Instruct awq"]
    assert labels([manifest(), manifest(batch_size=4)]) == [
        "tiny-1B-Instruct batch-size=1",
        "tiny-1B-Instruct batch-size=4",
    ]
    assert labels([manifest(), manifest(model="lab/tiny-1B-Instruct")]) == [
        "family/tiny-1B-Instruct",
        "lab/tiny-1B-Instruct",
    ]
    assert labels([manifest(model="x/big-AWQ", quant="awq"), manifest()])[0] == "big-AWQ"


def test_an_engine_that_was_chosen_for_the_user_is_the_one_that_was_asked_for_by_name() -> None:
    assert identity(manifest(engine="auto")) == identity(manifest(engine="transformers"))
    assert identity(manifest()) == identity(manifest(seed=3, repeat=2))
    assert identity(manifest()) != identity(manifest(exit="fixed:4"))


def test_runs_of_one_exit_rule_with_different_agents_are_different_configurations() -> None:
    def leaving(agent: str, sha256: str = "0" * 64) -> Manifest:
        about: dict[str, Any] = {"rule": "agent:0.9", "agent": agent, "bundle": "tiny", "bundle_sha256": sha256}
        run = manifest(exit="agent:0.9")
        return run.model_copy(update={"model": run.model.model_copy(update={"early_exit": about})})

    first, second, retrained = leaving("java"), leaving("python"), leaving("java", "1" * 64)
    assert len({identity(run) for run in (first, second, retrained)}) == 3
    assert identity(first) == identity(leaving("java"))
    assert labels([first]) == ["tiny-1B-Instruct"]
    assert labels([first, second]) == ["tiny-1B-Instruct agent=java", "tiny-1B-Instruct agent=python"]
    one, other = labels([first, retrained])
    assert one.startswith("tiny-1B-Instruct early-exit=")
    assert one != other
    assert labels([manifest(), first]) == ["tiny-1B-Instruct exit=none", "tiny-1B-Instruct exit=agent:0.9"]


def test_runs_are_called_after_their_configuration_and_repetition() -> None:
    runs = [manifest(), manifest(repeat=1), manifest(quant="awq", run_id="a"), manifest(quant="awq", run_id="b")]
    assert run_labels(runs) == [
        "tiny-1B-Instruct run 1",
        "tiny-1B-Instruct run 2",
        "tiny-1B-Instruct awq run 1 (a)",
        "tiny-1B-Instruct awq run 1 (b)",
    ]
    assert run_labels(runs[1:2]) == ["tiny-1B-Instruct"]


def test_a_configuration_in_words_repeats_nothing() -> None:
    assert describe("Alpha-Instruct", tuning="instruct", quant="gptq-int4", exit="fixed:4", batch_size=8) == (
        "Alpha-Instruct gptq-int4 fixed:4 batch 8"
    )
    assert describe("Alpha", tuning="base") == "Alpha base"
