"""``training.json``: the course of one training, from which its figures are drawn, by itself and in reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from passkwh.errors import UsageError
from passkwh.records import Record

LOG = "training.json"
MOVING = 50
"""Episodes of the moving average, as in GREEN-CODE's figure 6."""
MOST_POINTS = 2000
"""A curve has at most so many points."""

Value = TypeVar("Value")


class LossStep(Record):
    """One step of fine-tuning."""

    step: int
    weighted: Annotated[float, Field(description="what is minimised (GREEN-CODE, eq. 1)")]
    exits: Annotated[tuple[float, ...], Field(description="loss of each exit")]


class TrainingLog(Record):
    """The course of a fine-tuning (``lite``) or of an agent's training."""

    kind: Literal["lite", "agent"]
    model: str
    languages: tuple[str, ...]
    exits: Annotated[tuple[int, ...], Field(description="layers after which a token may leave, counted from 1")]
    losses: Annotated[tuple[LossStep, ...], Field(description="of fine-tuning")] = ()
    rewards: Annotated[
        tuple[tuple[int, float], ...],
        Field(description="of an agent trained by reward: episode, reward per step as the mean of the last 50"),
    ] = ()
    optimal_exits: Annotated[
        dict[int, int], Field(description="tokens seen in training, by the first exit that predicts what the last does")
    ] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        """What was trained on what."""
        return f"{self.model}, {' and '.join(self.languages)}"

    def write(self, folder: Path) -> None:
        """Write ``training.json`` into a training's folder."""
        (folder / LOG).write_text(self.model_dump_json() + "\n", "utf-8")


def thinned(values: Sequence[Value], most: int = MOST_POINTS) -> Sequence[Value]:
    """At most so many of the values, evenly.

    Example:
        >>> thinned([1, 2, 3, 4, 5], 3)
        [1, 3, 5]
    """
    return values[:: max(-(-len(values) // most), 1)]


def moving_rewards(per_step: Sequence[float]) -> tuple[tuple[int, float], ...]:
    """Episodes, from 1, each with the mean reward per step of the last ``MOVING`` up to it, thinned.

    Example:
        >>> moving_rewards([1.0, 0.0])
        ((1, 1.0), (2, 0.5))
    """
    import pandas as pd

    means = pd.Series(per_step, dtype=float).rolling(MOVING, 1).mean()
    return tuple(thinned(list(enumerate(means.tolist(), start=1))))


def read_logs(folder: Path) -> list[TrainingLog]:
    """The trainings in a folder (``BUNDLE-training`` or one of its folders), sorted by path; none where it has none.

    Raises:
        UsageError: a log that cannot be read, or is none.
    """
    logs = []
    for file in sorted({*folder.glob(LOG), *folder.glob(f"*/{LOG}")}):
        try:
            logs.append(TrainingLog.model_validate_json(file.read_text("utf-8")))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise UsageError(f"{file}: {where}: {problem['msg']}: train again, or leave it out") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from None
    return logs


def apart(paths: Sequence[Path]) -> tuple[list[Path], list[TrainingLog]]:
    """Folders that hold trainings apart from the others, which stay as they are."""
    logs = {path: read_logs(path) for path in paths}
    return [path for path, own in logs.items() if not own], [log for own in logs.values() for log in own]
