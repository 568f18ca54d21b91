"""One pass of a model over source files, kept: states and predictions at every exit, to be walked again and again.

A recording is a folder:

    recording.json     what was recorded of which model, and where each file's tokens are (rewritten after each file)
    states.f16         [tokens, exits, d] raw states
    predictions.i32    [tokens, exits] the token that each exit predicts
    confidences.f32    [tokens, exits] the probability it gives that token

Two kinds (``RecordingSettings.written``). Of a file's own text, an episode may begin anywhere in a window, and one
pass reads them all. Of what the model writes, as in GREEN-CODE's environment (IV-F): the context is cut at a random
place, the model continues it greedily through all layers, and these tokens are one episode; each costs a pass of its
own, and files are gone through again, with other contexts, as often as ``rounds`` says.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError

from passkwh.adapters.early_exit.bundle import ExitCard
from passkwh.adapters.early_exit.training.data import TrainingCorpus, token_files
from passkwh.adapters.early_exit.training.job import check_same
from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.errors import UsageError
from passkwh.records import Record

INDEX = "recording.json"
CONTEXT = (0.2, 0.6)
"""Share of a file's tokens that is context, drawn anew for each episode (IV-F)."""
EPISODE_TOKENS = 15
"""Tokens of an episode. The paper does not say; its code has 15, as many as are generated in its evaluation."""
MAX_TOKENS = 1024
"""A file's tokens beyond these are not read: the longest context of the paper's code."""
_F16_MAX = 65504.0
_CHUNK = 128


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


def bytes_per_token(exits: int, width: int) -> int:
    """Of all three arrays."""
    return exits * (2 * width + 4 + 4)


def window(tokens: int, context: tuple[float, float], episode_tokens: int) -> tuple[int, int] | None:
    """First position and number of positions that episodes of a file of so many tokens can visit; None where it is too
    short for the longest context and a whole episode. The state at position p predicts token p + 1.
    """
    first, last = int(tokens * context[0]), int(tokens * context[1])
    if first < 1 or last + episode_tokens > tokens:
        return None
    return first - 1, last - first + episode_tokens


def record(
    trainable: TrainableModel,
    corpus: TrainingCorpus,
    folder: Path,
    settings: RecordingSettings,
    max_bytes: int,
    limit_files: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Record files of a corpus until it ends, ``limit_files`` are recorded or the next would exceed ``max_bytes``.

    A recording that was interrupted in the same folder goes on after its last whole file; one that is complete is
    opened. ``progress`` gets files looked at and tokens recorded.

    Raises:
        UsageError: the folder has a recording of another model, layout, head or data, or nothing fits.
    """
    index = _begin(trainable, folder, settings)
    if index.complete:
        return open_recording(folder)
    exits, width = index.card.exits, index.card.base.hidden_size
    room = max_bytes // bytes_per_token(len(exits), width)
    reader = StateReader(trainable.model, exits)
    used = sum(file.count for file in index.files)
    writer = _Writer(folder, len(exits), width, used)
    with writer:
        for place, (number, row) in enumerate(_rows(trainable, corpus, settings)):
            if place < index.seen:
                continue
            span = window(len(row), settings.context, settings.episode_tokens)
            files = index.files
            if span is not None:
                first, count = _cut(row, settings, place) if settings.written else span
                most = None if limit_files is None else limit_files * settings.rounds
                if used + count > room or (most is not None and len(files) >= most):
                    break
                whole = _continued(trainable, row[: first + 1], count) if settings.written else row
                clipped = writer.add(_read(trainable, reader, whole, first, count))
                files = (
                    *files,
                    RecordedFile(
                        index=number, tokens=len(row), first=first, offset=used, count=count, written=settings.written
                    ),
                )
                used += count
                index = index.model_copy(update={"clipped": index.clipped + clipped})
            index = index.model_copy(update={"files": files, "seen": place + 1})
            writer.flush()
            _write_index(folder, index)
            if progress:
                progress(index.seen, used)
    if not index.files:
        raise UsageError(
            f"nothing of {corpus.description} was recorded: {index.seen} files are shorter than an episode, or "
            f"{max_bytes / 1e9:.3g} GB hold none of them; give other --data or a greater --max-gb"
        )
    _write_index(folder, index.model_copy(update={"complete": True}))
    return open_recording(folder)


def open_recording(folder: Path) -> Recording:
    """A recording, memory-mapped; UsageError when the folder holds none, or a damaged one."""
    index = _read_index(folder)
    if index is None:
        raise UsageError(f"{folder} holds no recording: make one with `bench train agent`")
    count, exits, width = sum(file.count for file in index.files), len(index.card.exits), index.card.base.hidden_size
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "states.f16": ((count, exits, width), np.float16),
        "predictions.i32": ((count, exits), np.int32),
        "confidences.f32": ((count, exits), np.float32),
    }
    arrays = []
    for name, (shape, kind) in shapes.items():
        file = folder / name
        wanted = math.prod(shape) * np.dtype(kind).itemsize
        if not file.is_file() or file.stat().st_size < wanted:
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


def _begin(trainable: TrainableModel, folder: Path, settings: RecordingSettings) -> Index:
    index = _read_index(folder)
    if index is None:
        folder.mkdir(parents=True, exist_ok=True)
        card = trainable.card.model_copy(update={"notes": {}})
        return Index(card=card, weights_hash=trainable.weights_hash, settings=settings)
    have, want = index.card, trainable.card
    if have.base.revision != want.base.revision:
        raise UsageError(
            f"{folder} is a recording of {have.base.model} ({have.base.revision[:19]}), not of {want.base.model} "
            f"({want.base.revision[:19]}): give another folder"
        )
    begun = {"exits": have.exits, "head": have.head, "weights": index.weights_hash[:8] or "untrained"}
    wanted = {"exits": want.exits, "head": want.head, "weights": trainable.weights_hash[:8] or "untrained"}
    where = f"the recording in {folder}"
    check_same(where, begun | vars(index.settings), wanted | vars(settings), "record again, in another folder")
    return index


def _rows(
    trainable: TrainableModel, corpus: TrainingCorpus, settings: RecordingSettings
) -> Iterator[tuple[int, list[int]]]:
    """Each file's place in the corpus and tokens, as often as files are to be gone through."""
    for _ in range(settings.rounds):
        yield from enumerate(token_files(corpus, trainable.tokenizer, settings.max_tokens))


def _cut(row: list[int], settings: RecordingSettings, place: int) -> tuple[int, int]:
    """Where the model goes on from: the position of the context's last token, and how many tokens it writes."""
    low, high = settings.context
    share = low + float(np.random.default_rng([settings.seed, place]).random()) * (high - low)
    return int(len(row) * share) - 1, settings.episode_tokens


def _continued(trainable: TrainableModel, context: list[int], count: int) -> list[int]:
    """The context with ``count`` tokens that the model writes, greedily and through all layers."""
    tokens, past, read = list(context), None, list(context)
    with torch.inference_mode():
        for _ in range(count):
            ids = torch.tensor([read], device=trainable.device)
            step = trainable.model(input_ids=ids, past_key_values=past, use_cache=True)
            past, read = step.past_key_values, [int(step.logits[0, -1].argmax())]
            tokens += read
    return tokens


def _read(
    trainable: TrainableModel, reader: StateReader, row: list[int], first: int, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States [count, exits, d], predictions and confidences [count, exits] of a file's window."""
    with torch.inference_mode():
        ids = torch.tensor([row[: first + count]], device=trainable.device)  # earlier states do not see what follows
        states = [state[0, first : first + count] for state in reader(ids)]
        predicted, sure = [], []
        for layer, state in zip(trainable.card.exits, states, strict=True):
            parts = [_most_likely(trainable.heads.logits(layer, chunk)) for chunk in torch.split(state, _CHUNK)]
            predicted.append(torch.cat([token for token, _ in parts]))
            sure.append(torch.cat([probability for _, probability in parts]))
        return torch.stack(states, 1).float().cpu(), torch.stack(predicted, 1).cpu(), torch.stack(sure, 1).cpu()


def _most_likely(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest token and its probability, [n] each."""
    wide = logits.float()
    best, token = wide.max(dim=-1)
    return token, torch.exp(best - torch.logsumexp(wide, dim=-1))


class _Writer:
    """Appends to the three arrays; what an interrupted process left behind its last whole file is cut off."""

    def __init__(self, folder: Path, exits: int, width: int, tokens: int) -> None:
        sizes = {"states.f16": exits * width * 2, "predictions.i32": exits * 4, "confidences.f32": exits * 4}
        self._files = []
        for name, size in sizes.items():
            file = (folder / name).open("r+b" if (folder / name).exists() else "w+b")
            file.truncate(size * tokens)
            file.seek(0, os.SEEK_END)
            self._files.append(file)

    def add(self, parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> int:
        states, predicted, sure = parts
        kept = states.clamp(-_F16_MAX, _F16_MAX)
        clipped = int((kept != states).sum())
        for file, array in zip(
            self._files, (kept.half().numpy(), predicted.int().numpy(), sure.float().numpy()), strict=True
        ):
            file.write(array.tobytes())
        return clipped

    def flush(self) -> None:
        for file in self._files:
            file.flush()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()


def _read_index(folder: Path) -> Index | None:
    file = folder / INDEX
    try:
        return Index.model_validate_json(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        problem = str(error).splitlines()[0]
        raise UsageError(f"{file} is not a recording's index ({problem}): delete {folder} and record again") from None


def _write_index(folder: Path, index: Index) -> None:
    draft = folder / f".{INDEX}"
    draft.write_text(json.dumps(index.model_dump(mode="json", by_alias=True)) + "\n", "utf-8")
    draft.replace(folder / INDEX)
