"""A training's log: what its figures are drawn from, read back from folders as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from passkwh.adapters.early_exit.training import plots
from passkwh.adapters.early_exit.training.log import LOG, LossStep, TrainingLog, apart, moving_rewards, read_logs
from passkwh.errors import UsageError

EXITS = (4, 6, 8, 12)
LITE = TrainingLog(
    kind="lite", model="a model", languages=("python",), exits=EXITS,
    losses=(LossStep(step=1, weighted=2.0, exits=(4.0, 3.0, 2.0, 1.0)),),
)  # fmt: skip
AGENT = TrainingLog(
    kind="agent", model="a model", languages=("java",), exits=EXITS, rewards=moving_rewards([0.0, 1.0]),
    optimal_exits={4: 3, 12: 1},
)  # fmt: skip


def test_logs_are_found_beside_each_other_and_apart_from_runs(tmp_path: Path) -> None:
    for name, log in (("lite", LITE), ("java", AGENT)):
        (tmp_path / "b-training" / name).mkdir(parents=True)
        log.write(tmp_path / "b-training" / name)
    assert read_logs(tmp_path / "b-training") == [AGENT, LITE]
    assert read_logs(tmp_path / "b-training" / "lite") == [LITE]
    runs = tmp_path / "runs"
    runs.mkdir()
    assert apart([runs, tmp_path / "b-training"]) == ([runs], [AGENT, LITE])
    (tmp_path / "b-training" / "lite" / LOG).write_text('{"kind": "lite"}')
    with pytest.raises(UsageError, match=r"training\.json: model: Field required"):
        read_logs(tmp_path / "b-training")


def test_rewards_are_the_mean_of_fifty_episodes() -> None:
    found = moving_rewards([float(n) for n in range(1, 101)])
    assert (found[0], found[49], found[99]) == ((1, 1.0), (50, 25.5), (100, 75.5))
    assert len(moving_rewards([0.5] * 9999)) <= 2000


def test_each_training_has_its_figures(tmp_path: Path) -> None:
    assert [file.stem for file in plots.save(LITE, tmp_path)] == ["exit-weights", "loss"]
    assert [file.stem for file in plots.save(AGENT, tmp_path)] == ["reward-per-step", "optimal-exits"]
    for name, texts in {
        "exit-weights": ("4", "6", "8", "12", "last layer"), "loss": ("layer 6", "weighted mean, which is minimised"),
        "reward-per-step": ("reward per step, mean of 50 episodes",), "optimal-exits": ("4", "6", "8", "12"),
    }.items():  # fmt: skip
        svg = (tmp_path / f"{name}.svg").read_text("utf-8")
        assert "a model" in svg
        for text in texts:  # exits that were never used are on the axis, too
            assert f">{text}</text>" in svg, (name, text)


def test_the_weights_of_figure_3_are_those_of_the_loss() -> None:
    _, frame = plots.exit_weights((4, 6, 8, 10, 12, 18, 22, 26, 28))
    by_part = frame.groupby("part")["weight"].sum()
    assert by_part["first half"] == pytest.approx(0.7)
    assert by_part["second half"] == pytest.approx(0.2)
    assert by_part["last layer"] == pytest.approx(0.1)
