"""Recordings: what is in them, how they stop and go on, and what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from passkwh.adapters import resolve
from passkwh.adapters.early_exit.training import recorder
from passkwh.adapters.early_exit.training.data import TrainingCorpus, token_files
from passkwh.adapters.early_exit.training.evaluate import EvaluationTokens
from passkwh.adapters.early_exit.training.model import TrainableModel, load_trainable
from passkwh.adapters.early_exit.training.recorder import record
from passkwh.adapters.early_exit.training.recording import Recorded, Recording, bytes_per_token, open_recording
from passkwh.adapters.early_exit.training.rewards import of_language
from passkwh.adapters.early_exit.training.vector import RecordedVecEnv, Standardization
from passkwh.errors import UsageError
from tests.early_exit.training.conftest import EXITS, SETTINGS, words


def test_states_and_predictions_are_those_of_transformers(trainable: TrainableModel, recording: Recording) -> None:
    rows = list(token_files(words(), trainable.tokenizer, 120))
    for file in recording.index.files:
        with torch.inference_mode():
            output = trainable.model(torch.tensor([rows[file.index]]), output_hidden_states=True)
        mine = slice(file.offset, file.offset + file.count)
        window = slice(file.first, file.first + file.count)
        for place, layer in enumerate(EXITS[:-1]):
            expected = output.hidden_states[layer][0, window].numpy()
            np.testing.assert_allclose(recording.states[mine, place], expected, rtol=2e-3, atol=1e-3)
        np.testing.assert_array_equal(recording.predictions[mine, -1], output.logits[0, window].argmax(-1))
        sure = torch.softmax(output.logits[0, window], -1).max(-1).values
        np.testing.assert_allclose(recording.confidences[mine, -1], sure, rtol=1e-4)


def test_a_window_holds_every_episode(recording: Recording) -> None:
    for file in recording.index.files:
        lowest, highest = int(file.tokens * 0.2) - 1, int(file.tokens * 0.6) - 1
        assert file.first == lowest
        assert file.first + file.count == highest + SETTINGS.episode_tokens
        assert file.first + file.count <= file.tokens


def test_files_too_short_for_an_episode_are_passed_over(recording: Recording) -> None:
    assert recording.index.seen == 12
    assert [file.index for file in recording.index.files] == list(range(1, 12))
    assert recording.index.complete


def test_what_the_model_writes_is_one_episode_of_each_context(trainable: TrainableModel, tmp_path: Path) -> None:
    """GREEN-CODE's environment: the context is drawn from 20 to 60 % of a file, and the model writes on."""
    settings = SETTINGS.model_copy(update={"written": True, "rounds": 3})
    found = record(trainable, words(), tmp_path / "whole", settings, max_bytes=10**8)
    rows = list(token_files(words(), trainable.tokenizer, 120))
    assert len(found.index.files) == 3 * 11
    assert len({(file.index, file.first) for file in found.index.files}) > 11  # other contexts in other rounds
    for file in found.index.files[::7]:
        assert file.count == SETTINGS.episode_tokens
        assert int(file.tokens * 0.2) - 1 <= file.first <= int(file.tokens * 0.6) - 1
        tokens = rows[file.index][: file.first + 1]
        for place in range(file.count):  # the paper's way: the whole prefix anew for every token
            with torch.inference_mode():
                output = trainable.model(torch.tensor([tokens]), output_hidden_states=True)
            expected = output.hidden_states[EXITS[0]][0, -1].numpy()
            np.testing.assert_allclose(found.states[file.offset + place, 0], expected, rtol=2e-3, atol=1e-3)
            tokens.append(int(output.logits[0, -1].argmax()))
            assert found.predictions[file.offset + place, -1] == tokens[-1]
    begun = record(trainable, words(), tmp_path / "parts", settings, max_bytes=10**8, limit_files=2)
    assert len(begun.index.files) == 6
    whole = Recorded([found])
    environments = RecordedVecEnv(whole, of_language("python"), 64, Standardization.of(whole), 0)
    environments.reset()
    assert {int(at) for at in environments._at} <= {file.offset for file in found.index.files}
    assert len(set(EvaluationTokens.of(whole, of_language("python")).file)) == 11  # intervals are over files


def test_it_never_grows_beyond_the_space_allowed(trainable: TrainableModel, tmp_path: Path) -> None:
    allowed = 40 * bytes_per_token(len(EXITS), trainable.card.base.hidden_size)
    small = record(trainable, words(), tmp_path, SETTINGS, max_bytes=allowed)
    on_disk = sum(file.stat().st_size for file in tmp_path.iterdir() if file.suffix != ".json")
    assert 0 < on_disk <= allowed
    assert 0 < small.tokens <= 40


def test_an_interrupted_recording_goes_on_where_it_was(
    trainable: TrainableModel, recording: Recording, tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(looked_at: int, tokens: int) -> None:
        if looked_at == 5:
            raise Killed

    with pytest.raises(Killed):
        record(trainable, words(), tmp_path, SETTINGS, 10**8, progress=kill)
    with (tmp_path / "states.f16").open("ab") as file:  # half a file, as a kill in the middle of writing leaves it
        file.write(b"half")
    seen: list[int] = []
    again = record(trainable, words(), tmp_path, SETTINGS, 10**8, progress=lambda looked_at, _: seen.append(looked_at))
    assert seen[0] == 6
    np.testing.assert_array_equal(again.states, recording.states)
    np.testing.assert_array_equal(again.predictions, recording.predictions)
    assert again.index.files == recording.index.files


def test_a_complete_recording_is_opened_without_the_model(
    trainable: TrainableModel, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_read", None)
    again = record(trainable, words(), recording.folder, SETTINGS, 10**8)
    assert again.index == recording.index


def test_other_settings_are_refused(trainable: TrainableModel, recording: Recording) -> None:
    other = SETTINGS.model_copy(update={"max_tokens": 60})
    with pytest.raises(UsageError, match="was begun with max_tokens 120, not 60: record again, in another folder"):
        record(trainable, words(), recording.folder, other, 10**8)


def test_another_model_is_named(tiny_llama: Path, recording: Recording) -> None:
    other = load_trainable(resolve(str(tiny_llama)), None, [1, 2])
    with pytest.raises(UsageError, match=r"is a recording of six-layers .* not of tiny-llama"):
        record(other, words(), recording.folder, SETTINGS, 10**8)


def test_another_layout_is_named(six_layers: Path, recording: Recording) -> None:
    other = load_trainable(resolve(str(six_layers)), None, [3, 6])
    with pytest.raises(UsageError, match=r"begun with exits \(2, 4, 6\), not \(3, 6\)"):
        record(other, words(), recording.folder, SETTINGS, 10**8)


def test_a_shortened_file_is_noticed(recording: Recording, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(recording.folder, folder)
    with (folder / "predictions.i32").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(UsageError, match=r"predictions\.i32 is shorter than recording\.json says"):
        open_recording(folder)


def test_a_damaged_index_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "recording.json").write_text("{}")
    with pytest.raises(UsageError, match="is not a recording's index"):
        open_recording(tmp_path)


def test_nothing_long_enough_is_told(trainable: TrainableModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 files are shorter than an episode"):
        record(trainable, TrainingCorpus("tiny", "python", lambda: iter(["x", "y"])), tmp_path, SETTINGS, 10**8)


def test_recordings_of_two_languages_are_not_mixed(
    trainable: TrainableModel, recording: Recording, tmp_path: Path
) -> None:
    java = SETTINGS.model_copy(update={"language": "java"})
    other = record(trainable, words(language="java"), tmp_path, java, 10**8)
    with pytest.raises(UsageError, match=r"is python and .* is java: an agent is trained on one language"):
        Recorded([recording, other])


def test_data_of_another_language_is_refused() -> None:
    with pytest.raises(UsageError, match="words is not python: it has no <EOL> marks"):
        TrainingCorpus("words", "python", words(language="java").read).check()
    with pytest.raises(UsageError, match=r"words is not java: it has 1\d of 1\d files with <EOL> marks"):
        TrainingCorpus("words", "java", words().read).check()
    with pytest.raises(UsageError, match="has no files"):
        TrainingCorpus("nothing", "java", lambda: iter([])).check()
