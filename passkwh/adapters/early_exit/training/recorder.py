"""Makes recordings: one pass of a model over source files, with what every exit predicts.

Two kinds (``RecordingSettings.written``). Of a file's own text, an episode may begin anywhere in a window, and one
pass reads them all. Of what the model writes, as in GREEN-CODE's environment (IV-F): the context is cut at a random
place, the model continues it greedily through all layers, and these tokens are one episode; each costs a pass of its
own, and files are gone through again, with other contexts, as often as ``rounds`` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from passkwh.adapters.early_exit.training.data import TrainingCorpus, token_files
from passkwh.adapters.early_exit.training.job import check_same
from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.early_exit.training.recording import (
    Index,
    RecordedFile,
    Recording,
    RecordingSettings,
    arrays_of_a_token,
    bytes_of,
    bytes_per_token,
    open_recording,
    read_index,
    window,
    write_index,
)
from passkwh.adapters.early_exit.training.states import HALF_MAX, StateReader
from passkwh.errors import UsageError

_CHUNK = 128


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
            write_index(folder, index)
            if progress:
                progress(index.seen, used)
    if not index.files:
        raise UsageError(
            f"nothing of {corpus.description} was recorded: {index.seen} files are shorter than an episode, or "
            f"{max_bytes / 1e9:.3g} GB hold none of them; give other --data or a greater --max-gb"
        )
    write_index(folder, index.model_copy(update={"complete": True}))
    return open_recording(folder)


def _begin(trainable: TrainableModel, folder: Path, settings: RecordingSettings) -> Index:
    index = read_index(folder)
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
        self._files = []
        for name, (part, kind) in arrays_of_a_token(exits, width).items():
            file = (folder / name).open("r+b" if (folder / name).exists() else "w+b")
            file.truncate(bytes_of(part, kind) * tokens)
            file.seek(0, os.SEEK_END)
            self._files.append(file)

    def add(self, parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> int:
        states, predicted, sure = parts
        kept = states.clamp(-HALF_MAX, HALF_MAX)
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
