"""The training's two figures, as SVG: reward per step (GREEN-CODE's figure 6) and optimal exits (figure 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import altair as alt
import pandas as pd

from passkwh.adapters.early_exit.training.agent import Episode

MOVING = 50
"""Episodes of the moving average, as in figure 6."""
_POINTS = 2000


def reward_curve(episodes: Sequence[Episode], title: str, file: Path) -> None:
    """Mean reward per step of each episode, moving average over 50 episodes."""
    rewards = pd.Series([episode.reward / episode.length for episode in episodes])
    frame = pd.DataFrame({"episode": range(1, len(rewards) + 1), "reward": rewards.rolling(MOVING, 1).mean()})
    frame = frame.iloc[:: max(1, len(frame) // _POINTS)]
    chart = alt.Chart(frame, title=title, width=480, height=240).mark_line()
    chart.encode(
        alt.X("episode", title="episode"),
        alt.Y("reward", title=f"reward per step, mean of {MOVING} episodes", scale=alt.Scale(zero=False)),
    ).save(str(file))


def optimal_exits(counts: Mapping[int, int], title: str, file: Path) -> None:
    """How often each layer was the optimal exit of a token visited in training."""
    total = max(sum(counts.values()), 1)
    frame = pd.DataFrame({"layer": list(counts), "share": [count / total for count in counts.values()]})
    chart = alt.Chart(frame, title=title, width=480, height=240).mark_bar()
    chart.encode(
        alt.X("layer:O", title="optimal exit layer", axis=alt.Axis(labelAngle=0)),
        alt.Y("share", title="share of tokens", axis=alt.Axis(format="%")),
    ).save(str(file))
