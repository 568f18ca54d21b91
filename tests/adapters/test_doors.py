"""Engines and quantizations of third parties: registered, they are named, recognised, made and run as ours are."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from passkwh import adapters, registry
from passkwh.adapters import early_exit
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import Completion, Decoding, LoadOptions
from passkwh.adapters.quantization.base import Loading, Progress, Recipe
from passkwh.adapters.quantization.make import read_manifest
from passkwh.errors import UsageError
from passkwh.prompts import Prompt, TextPrompt
from passkwh.records import ModelInfo, Option


class Parrot:
    """A model that answers with its name."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.info = ModelInfo(
            name=checkpoint.name, adapter="parrot", engine="parrot", chat=False, checkpoint=checkpoint.location,
            revision="1", dtype="none", device="none", parameters=0,
        )  # fmt: skip

    def render(self, prompt: Prompt) -> str:
        assert isinstance(prompt, TextPrompt)
        return prompt.text

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        return [Completion(self.info.name, 1, 1, "stop", None) for _ in prompts]

    def close(self) -> None:
        pass


class ParrotEngine:
    """Runs what is named ``toy:...``."""

    summary = "answers with the model's name"

    def resolve(self, name: str, quant: str) -> Checkpoint | None:
        if not name.startswith("toy:"):
            return None
        return Checkpoint(name=name, source="engine", location=name, path=None, revision="1", chat=False)

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        return None if checkpoint.engine == "parrot" else "it has no weights"

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> Parrot:
        return Parrot(checkpoint)


class Copied:
    """A copy of the dense folder, marked as quantized."""

    name, summary, bits, bits_per_weight = "copied", "weights as they are, in a folder of their own", 32, 32.0
    lacking: str | None = None

    def missing(self) -> str | None:
        return self.lacking

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        return packed.get("quant_method") == "copied"

    def load(self, folder: Path, how: Loading) -> Any:
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(folder)
        del config.quantization_config
        return AutoModelForCausalLM.from_pretrained(folder, config=config, **how.arguments())

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        return {"method": "copied", "bits": self.bits}

    def make(self, source: Path, target: Path) -> Recipe:
        import json

        shutil.copytree(source, target, dirs_exist_ok=True)
        config = json.loads((target / "config.json").read_text())
        (target / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "copied"}}))
        return Recipe(method="copied", tool="copied 1.0")


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> Copied:
    monkeypatch.setattr(registry.ENGINES, "_added", {"parrot": ParrotEngine()})
    member = Copied()
    monkeypatch.setattr(registry.QUANTIZATIONS, "_added", {"copied": member})
    return member


def test_an_engine_claims_names_of_its_own_and_runs_them(copied: Copied) -> None:
    checkpoint = adapters.resolve("toy:polly")
    assert (checkpoint.engine, checkpoint.source, adapters.prepare(checkpoint)) == ("parrot", "engine", checkpoint)
    adapters.check(checkpoint)
    assert adapters.memory_needed(checkpoint, 1, 512) == 0
    model = adapters.load(checkpoint)
    assert model.generate([TextPrompt("x")], Decoding(1), [0])[0].text == "toy:polly"


def test_an_engine_that_cannot_run_a_model_says_why(copied: Copied, tiny_llama: Path) -> None:
    toy, weights = adapters.resolve("toy:polly"), adapters.resolve(str(tiny_llama))
    with pytest.raises(UsageError, match=r"engine parrot cannot run .*tiny-llama: it has no weights"):
        adapters.check(weights, "parrot")
    with pytest.raises(UsageError, match="engine transformers cannot run toy:polly: its name is one of engine parrot"):
        adapters.check(toy, "transformers")
    with pytest.raises(UsageError, match=r"engine endpoint cannot run .*: name the model openai:URL#MODEL"):
        adapters.load(weights, engine="endpoint")
    with pytest.raises(UsageError, match="unknown engine 'transformer': did you mean transformers"):
        adapters.load(weights, engine="transformer")
    with pytest.raises(UsageError, match="--exit fixed:4 needs an engine that can leave a model's layers early"):
        adapters.check(toy, exit=early_exit.parse("fixed:4"))


class Counted(Copied):
    """Copies in three layers, and says after each how far it is."""

    def expected_s(self, source: Path) -> float | None:
        return 300.0

    def make(self, source: Path, target: Path, progress: Progress | None = None) -> Recipe:
        assert progress is not None
        for done in range(4):
            progress(done, 3)
        return super().make(source, target)


class Steps:
    """What is told, and counted."""

    def __init__(self) -> None:
        self.told: list[str | tuple[str, int, int]] = []

    def __call__(self, what: str) -> None:
        self.told.append(what)

    def count(self, what: str, done: int, of: int) -> None:
        self.told.append((what, done, of))


def test_layers_are_counted_for_whom_counts_and_told_in_words_else(
    copied: Copied, tiny_llama: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.QUANTIZATIONS, "_added", {"copied": Counted()})
    steps, words = Steps(), list[str]()
    wanted = adapters.resolve(str(tiny_llama), "copied")
    made = adapters.prepare(wanted, steps)
    assert steps.told == [
        "quantize tiny-llama to copied, once: about 5 min here, an estimate",
        *(("quantize tiny-llama to copied: layers", done, 3) for done in range(4)),
    ]
    assert made.path is not None
    shutil.rmtree(made.path)
    adapters.prepare(wanted, words.append)
    assert [line.split(" after")[0] for line in words[1:]] == [
        f"quantize tiny-llama to copied: layer {done} of 3" for done in (1, 2, 3)
    ]


def test_a_quantization_is_made_recognised_and_run(copied: Copied, tiny_llama: Path, own_cache: Path) -> None:
    wanted = adapters.resolve(str(tiny_llama), "copied")
    assert wanted.pending == ("quantize tiny-llama to copied on this machine, into the cache",)
    made = adapters.prepare(wanted)
    assert made.path is not None
    manifest = read_manifest(made.path)
    assert manifest is not None
    assert (manifest.method, manifest.bits, manifest.group_size, manifest.tool) == ("copied", 32, None, "copied 1.0")
    assert adapters.resolve(str(made.path)).quant == "copied"
    assert adapters.resolve(str(tiny_llama), "copied") == made
    packed, dense = adapters.load(made, "cpu"), adapters.load(adapters.resolve(str(tiny_llama)), "cpu")
    assert (packed.info.adapter, packed.info.quant, packed.info.quantization["bits"]) == ("copied", "copied", 32)
    texts = [m.generate([TextPrompt("def f():")], Decoding(12), [0])[0].text for m in (packed, dense)]
    assert texts[0] == texts[1]


def test_a_library_that_is_not_installed_is_named_before_anything_is_loaded(
    copied: Copied, tiny_llama: Path, no_engine_environments: None
) -> None:
    copied.lacking = "copied needs pip install shutil"
    with pytest.raises(UsageError, match=r"no engine runs .*tiny-llama: endpoint: .*; transformers: copied needs pip"):
        adapters.check(adapters.resolve(str(tiny_llama), "copied"))
