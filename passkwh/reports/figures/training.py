"""Figures of how an early-exit model was trained: GREEN-CODE's figures 3, 4, 6, and 7 over training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passkwh.adapters.early_exit.training import plots
from passkwh.adapters.early_exit.training.log import TrainingLog
from passkwh.analysis.exits.study import ExitStudy
from passkwh.reports.document.content import FigureBlock, NotAvailable
from passkwh.reports.document.section import Drawing
from passkwh.reports.figures.theme import LOOK, WIDTH


def loss_weights(study: ExitStudy, logs: Sequence[TrainingLog]) -> Iterator[Drawing | NotAvailable]:
    """How much each exit's loss weighs, for each layout among trainings and runs."""
    what, after = "Weights of the exits' losses in fine-tuning", "GREEN-CODE, figure 3"
    layouts = {log.exits: log.model for log in logs} | {c.exits: c.model for c in study.configurations if c.exits}
    for place, (exits, model) in enumerate(layouts.items(), start=1):
        caption = f"{model}. Follows from the exits alone: 0.7 for the first half of the layers, 0.2 for the second, "
        yield _drawing(
            plots.exit_weights(exits), f"exits_weights{_suffix(place)}", what, after,
            caption + "0.1 for the last; 0.9 from one exit to the next.",
        )  # fmt: skip


def of_trainings(logs: Sequence[TrainingLog]) -> Iterator[Drawing | NotAvailable]:
    """Losses, rewards and optimal exits of the trainings that are given; of what is missing, how it is added."""
    drawn: set[str] = set()
    for place, log in enumerate(logs, start=1):
        for name, plot, what, after in (
            ("loss", plots.loss_curves(log), "Loss while the model is fine-tuned", "GREEN-CODE, figure 4"),
            ("reward", plots.reward_curve(log), "Reward while the agent is trained", "GREEN-CODE, figure 6"),
            ("optimal", plots.optimal_exits(log), "Optimal exits of tokens seen in training", "GREEN-CODE, figure 7"),
        ):
            if plot is not None:
                drawn.add(after)
                yield _drawing(plot, f"training_{name}{_suffix(place)}", what, after, f"{log.title}.")
    for what, after, folder in (
        ("Loss while the model is fine-tuned", "GREEN-CODE, figure 4", "lite"),
        ("Reward while the agent is trained", "GREEN-CODE, figure 6", "AGENT"),
    ):
        if after not in drawn:
            yield NotAvailable(
                what=what, after=after,
                reason=f"it stands in the training's folder: give it beside the runs, as BUNDLE-training/{folder}",
            )  # fmt: skip


def _drawing(plot: plots.Plot, name: str, what: str, after: str, caption: str) -> Drawing:
    chart, data = plot
    specification = chart.properties(width=WIDTH - 320, height=220).to_dict(validate=False)
    block = FigureBlock(name=name, title=what, after=after, caption=caption)
    return Drawing(block, {**specification, "config": LOOK}, data)


def _suffix(place: int) -> str:
    return "" if place == 1 else f"_{place}"
