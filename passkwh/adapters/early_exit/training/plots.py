"""The figures of a training, from its log: GREEN-CODE's figures 3 (weights), 4 (losses), 6 (rewards) and 7 (exits).

Each is a chart with the values that it shows; ``save`` writes those that a training has as SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.adapters.early_exit.training.log import MOVING, TrainingLog, thinned

SIZE = (480, 240)
INK = "#1f2933"
MEAN = "weighted mean, which is minimised"
Plot = tuple[Any, pd.DataFrame]
"""A chart of Altair's, and the values it shows."""


def save(log: TrainingLog, folder: Path) -> list[Path]:
    """Write the figures that a training has into its folder."""
    plots = {
        "exit-weights": exit_weights(log.exits) if log.kind == "lite" else None,
        "loss": loss_curves(log),
        "reward-per-step": reward_curve(log),
        "optimal-exits": optimal_exits(log),
    }
    files = []
    for name, plot in plots.items():
        if plot is not None:
            files.append(folder / f"{name}.svg")
            plot[0].properties(title=log.title).save(str(files[-1]))
    return files


def exit_weights(exits: Sequence[int]) -> Plot:
    """How much each exit weighs in fine-tuning (figure 3); the last of ``exits`` is the model's depth."""
    layout = ExitLayout(exits[-1], tuple(exits))
    halves = ["last layer" if layer == layout.depth else "first half" if 2 * layer <= layout.depth else "second half"
              for layer in exits]  # fmt: skip
    frame = pd.DataFrame({"layer": list(exits), "weight": layout.weights(), "part": halves})
    chart = alt.Chart(frame, width=SIZE[0], height=SIZE[1]).mark_bar()
    return chart.encode(
        alt.X("layer:O", title="exit layer", axis=alt.Axis(labelAngle=0)),
        alt.Y("weight:Q", title="weight of the exit's loss"),
        alt.Color("part:N", title=None, sort=list(dict.fromkeys(halves)), legend=alt.Legend(orient="top")),
    ), frame


def loss_curves(log: TrainingLog) -> Plot | None:
    """The loss of each exit and their weighted mean over the steps of fine-tuning (figure 4)."""
    if not log.losses:
        return None
    names = [f"layer {layer}" for layer in log.exits]
    rows = [
        {"step": step.step, "loss": loss, "of": name}
        for step in thinned(log.losses)
        for name, loss in zip([MEAN, *names], (step.weighted, *step.exits), strict=True)
    ]
    frame = pd.DataFrame(rows)
    # A training of a few steps is points, which a line would not show.
    marks = {"point": len(log.losses) < 20}
    line = alt.Chart(frame).encode(
        alt.X("step:Q", title="step of the optimizer", axis=alt.Axis(tickMinStep=1, format="d")),
        alt.Y("loss:Q", title="loss of the next token", scale=alt.Scale(zero=False)),
    )
    colours = alt.Scale(scheme="viridis", domain=names)
    each = line.mark_line(strokeWidth=1.2, **marks).transform_filter(alt.datum.of != MEAN)
    each = each.encode(alt.Color("of:N", title=None, sort=names, scale=colours))
    mean = line.mark_line(color=INK, strokeWidth=2.2, **marks).transform_filter(alt.datum.of == MEAN)
    legend = alt.Legend(orient="top", symbolStrokeWidth=2.2)
    mean = mean.encode(
        alt.StrokeDash("of:N", title=None, scale=alt.Scale(domain=[MEAN], range=[[5, 3]]), legend=legend)
    )
    return alt.layer(each, mean, width=SIZE[0], height=SIZE[1]), frame


def reward_curve(log: TrainingLog) -> Plot | None:
    """Mean reward per step of each episode, as the mean of the last 50 episodes (figure 6)."""
    if not log.rewards:
        return None
    frame = pd.DataFrame(log.rewards, columns=["episode", "reward"])
    chart = alt.Chart(frame, width=SIZE[0], height=SIZE[1]).mark_line()
    return chart.encode(
        alt.X("episode:Q", title="episode"),
        alt.Y("reward:Q", title=f"reward per step, mean of {MOVING} episodes", scale=alt.Scale(zero=False)),
    ), frame


def optimal_exits(log: TrainingLog) -> Plot | None:
    """How often each exit was the optimal one of a token seen in training (figure 7): all exits, also those never."""
    if not log.optimal_exits:
        return None
    total = sum(log.optimal_exits.values()) or 1
    frame = pd.DataFrame(
        {"layer": list(log.exits), "share": [log.optimal_exits.get(layer, 0) / total for layer in log.exits]}
    )
    chart = alt.Chart(frame, width=SIZE[0], height=SIZE[1]).mark_bar()
    return chart.encode(
        alt.X("layer:O", title="optimal exit layer", axis=alt.Axis(labelAngle=0)),
        alt.Y("share:Q", title="share of tokens", axis=alt.Axis(format="%")),
    ), frame
