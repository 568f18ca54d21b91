"""A tiny real model with enough layers to be left early, a bundle's trainable around it, and files to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from passkwh.adapters import resolve
from passkwh.adapters.early_exit.training.data import TrainingCorpus
from passkwh.adapters.early_exit.training.model import TrainableModel, load_trainable
from passkwh.adapters.early_exit.training.recorder import record
from passkwh.adapters.early_exit.training.recording import Recording, RecordingSettings

EXITS = [2, 4, 6]
SETTINGS = RecordingSettings(corpus="words", language="python", max_tokens=120, episode_tokens=5)


@pytest.fixture(scope="session")
def six_layers(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder like ``tiny_llama`` with six layers, in float32."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "six-layers"
    shutil.copytree(tiny_llama, folder)
    config = LlamaConfig.from_pretrained(tiny_llama)
    config.num_hidden_layers, config.layer_types = 6, None
    torch.manual_seed(1)
    model = LlamaForCausalLM(config)
    for name, weights in model.named_parameters():
        if weights.dim() == 2:  # random weights as they are initialised hardly change a state from layer to layer
            weights.data.mul_(8 if ".layers." in name else 2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trainable(six_layers: Path) -> TrainableModel:
    """The tiny model with nothing trained."""
    return load_trainable(resolve(str(six_layers)), None, EXITS)


def words(count: int = 12, language: str = "python") -> TrainingCorpus:
    """Files of differing lengths, all long enough for an episode but one."""
    ends = "<EOL>" if language == "python" else ";"

    def read() -> list[str]:
        return ["x"] + [" ".join(f"name{i} = call ( {j} ) {ends}" for j in range(2 + i)) for i in range(1, count)]

    return TrainingCorpus("words", language, lambda: iter(read()))


@pytest.fixture(scope="session")
def recording(trainable: TrainableModel, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Eleven files of ``words``, recorded."""
    return record(trainable, words(), tmp_path_factory.mktemp("recording"), SETTINGS, max_bytes=10**8)
