"""Recordings: states and predictions of a model at every exit, on disk, to be walked again and again.

A recording is a folder, made by :func:`~passkwh.adapters.early_exit.training.recorder.record`:

    recording.json     what was recorded of which model, and where each file's tokens are (rewritten after each file)
    states.f16         [tokens, exits, d] raw states
    predictions.i32    [tokens, exits] the token that each exit predicts
    confidences.f32    [tokens, exits] the probability it gives that token
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError

from passkwh.adapters.early_exit.bundle import ExitCard
from passkwh.errors import UsageError
from passkwh.records import Record

INDEX = "recording.json"
CONTEXT = (0.2, 0.6)
"""Share of a file's tokens that is context, drawn anew for each episode (IV-F)."""
EPISODE_TOKENS = 15
"""Tokens of an episode. The paper does not say; its code has 15, as many as are generated in its evaluation."""
MAX_TOKENS = 1024
"""A file's tokens beyond these are not read: the longest context of the paper's code."""


class RecordedFile(Record):
    """One file of a recording."""

    index: int
    """Its place in the corpus."""
    tokens: int
    """Of the file, as far as it was read."""
    first: int
    """Position in the file of the first token recorded here."""
    offset: int
    """Where its tokens begin in the arrays."""
    count: int
    written: bool = False
    """One episode that the model wrote after the file's first tokens: it begins with the first one recorded."""


class RecordingSettings(Record):
    """What decides a recording's content beside the model; a recording is only gone on with under the same."""

    corpus: str
    language: str
    max_tokens: Annotated[int, Field(ge=40)] = MAX_TOKENS
    context: tuple[float, float] = CONTEXT
    episode_tokens: Annotated[int, Field(ge=1)] = EPISODE_TOKENS
    written: Annotated[bool, Field(description="episodes are what the model writes, not the file's text")] = False
    rounds: Annotated[int, Field(ge=1, description="contexts of each file, where the model writes")] = 1
    seed: Annotated[int, Field(ge=0, description="of these contexts")] = 0


class Index(Record):
    """``recording.json``."""

    model_config = ConfigDict(populate_by_name=True)  # recordings keep the hash under the name "taught"

    format: int = 1
    card: ExitCard
    weights_hash: Annotated[str, Field(alias="taught")]
    settings: RecordingSettings
    files: tuple[RecordedFile, ...] = ()
    seen: int = 0
    """Files of the corpus that were looked at, too short ones included."""
    clipped: int = 0
    """Numbers beyond what 16 bits hold, cut to the largest they do."""
    complete: bool = False
    """The corpus, or the space allowed, was used up."""

    @property
    def of_model(self) -> tuple[object, ...]:
        """Model, layout and weights: equal where recordings can be used together."""
        return self.card.base, self.card.exits, self.weights_hash


@dataclass(frozen=True)
class Recording:
    """A recording, memory-mapped."""

    folder: Path
    index: Index
    states: NDArray[np.float16]
    predictions: NDArray[np.int32]
    confidences: NDArray[np.float32]

    @property
    def tokens(self) -> int:
        """Recorded positions."""
        return len(self.predictions)


def arrays_of_a_token(exits: int, width: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Each array's file, and the shape and type of one token's part of it."""
    return {
        "states.f16": ((exits, width), np.float16),
        "predictions.i32": ((exits,), np.int32),
        "confidences.f32": ((exits,), np.float32),
    }


def bytes_of(shape: tuple[int, ...], kind: type[np.generic]) -> int:
    """Of an array."""
    return math.prod(shape) * np.dtype(kind).itemsize


def bytes_per_token(exits: int, width: int) -> int:
    """Of all arrays."""
    return sum(bytes_of(shape, kind) for shape, kind in arrays_of_a_token(exits, width).values())


def window(tokens: int, context: tuple[float, float], episode_tokens: int) -> tuple[int, int] | None:
    """First position and number of positions that episodes of a file of so many tokens can visit; None where it is too
    short for the longest context and a whole episode. The state at position p predicts token p + 1.
    """
    first, last = int(tokens * context[0]), int(tokens * context[1])
    if first < 1 or last + episode_tokens > tokens:
        return None
    return first - 1, last - first + episode_tokens


def open_recording(folder: Path) -> Recording:
    """A recording, memory-mapped; UsageError when the folder holds none, or a damaged one."""
    index = read_index(folder)
    if index is None:
        raise UsageError(f"{folder} holds no recording: make one with `bench train agent`")
    count, exits, width = sum(file.count for file in index.files), len(index.card.exits), index.card.base.hidden_size
    arrays = []
    for name, (part, kind) in arrays_of_a_token(exits, width).items():
        file, shape = folder / name, (count, *part)
        if not file.is_file() or file.stat().st_size < count * bytes_of(part, kind):
            raise UsageError(f"{file} is shorter than {INDEX} says: delete {folder} and record again")
        arrays.append(np.memmap(file, dtype=kind, mode="r", shape=shape))
    return Recording(folder, index, *arrays)


class Recorded:
    """Recordings of one model and one language, to train on together; UsageError where they are not."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        first, *others = [recording.index for recording in recordings]
        for recording, index in zip(recordings[1:], others, strict=True):
            if index.of_model != first.of_model:
                raise UsageError(
                    f"{recordings[0].folder} and {recording.folder} are recordings of different models or layouts: "
                    f"{first.card.base.model} at {list(first.card.exits)} and {index.card.base.model} at "
                    f"{list(index.card.exits)}"
                )
            if index.settings.language != first.settings.language:
                raise UsageError(
                    f"{recordings[0].folder} is {first.settings.language} and {recording.folder} is "
                    f"{index.settings.language}: an agent is trained on one language"
                )
        self.recordings = tuple(recordings)
        self.files = [(recording, file) for recording in recordings for file in recording.index.files]

    @property
    def exits(self) -> tuple[int, ...]:
        """Layers that a token may leave after."""
        return self.recordings[0].index.card.exits

    @property
    def width(self) -> int:
        """Of a state."""
        return self.recordings[0].index.card.base.hidden_size


def read_index(folder: Path) -> Index | None:
    """What a folder has recorded so far, None where it holds no recording; UsageError when it is damaged."""
    file = folder / INDEX
    try:
        return Index.model_validate_json(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        problem = str(error).splitlines()[0]
        raise UsageError(f"{file} is not a recording's index ({problem}): delete {folder} and record again") from None


def write_index(folder: Path, index: Index) -> None:
    """Replace a recording's index, whole or not at all."""
    draft = folder / f".{INDEX}"
    draft.write_text(json.dumps(index.model_dump(mode="json", by_alias=True)) + "\n", "utf-8")
    draft.replace(folder / INDEX)
