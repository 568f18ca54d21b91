"""``bench train`` as a user calls it: small things end to end, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from passkwh.adapters.early_exit.policy import ExitPolicy
from tests.conftest import Bench, last_json
from tests.early_exit.training.conftest import words


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in CodeXGLUE's form: training and test files."""
    folder = tmp_path_factory.mktemp("corpus")
    for split, count in (("train", 40), ("dev", 30), ("test", 20)):
        lines = [f"<s> {text} </s>\n" for text in words(count).read()]
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


@pytest.mark.slow
def test_from_a_model_to_an_agent(bench: Bench, six_layers: Path, corpus: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    common = ["--model", six_layers, "--bundle", bundle, "--data", corpus, "--meter", "simulated", "--json"]
    plan = ["--rank", "2", "--batch-size", "2", "--accumulation", "1", "--length", "64", "--tokens", "640"]
    lite = last_json(bench("train", "lite", *common, *plan, "--exits", "2,4,6"))
    assert lite["steps"] == 5
    assert lite["energy"]["provenance"] == "simulated"
    heads = last_json(bench("train", "shortcut", *common, "--tokens", "3000", "--length", "100"))
    assert heads["tokens"] == 3000
    many = ["--steps", "1024", "--setting", "small-buffer", "--max-tokens", "100", "--files", "20", "--hidden", "8"]
    agent = last_json(bench("train", "agent", *common, *many))
    assert agent["steps"] == 1024
    assert set(agent["rivals"]["reward_per_token"]) == {"agent", "fixed", "confidence"}
    told = last_json(bench("train", "agent", *common, *many[4:], "--method", "supervised", "--name", "told"))
    assert (told["method"], told["episodes"], told["held_out"]) == ("supervised", 0, agent["held_out"])
    assert ExitPolicy.load(bundle / "agents" / "told")[0].hidden == (8,)
    policy, meta = ExitPolicy.load(bundle / "agents" / "python")
    assert (policy.hidden, meta.exits, meta.head, meta.language) == ((8,), (2, 4, 6), "shortcut", "python")
    asked = ["--rule", "agent,agent=told", "--files", "3", "--new-tokens", "4"]
    refused = bench("train", "calibrate", *common, *asked)  # random weights write nothing that is right
    assert refused.returncode == 2
    assert "scores 0 on each of 3 files" in refused.stderr
    card = json.loads((bundle / "exit.json").read_text())
    assert (card["lora"], card["head"]) == (True, "shortcut")
    assert set(card["notes"]) == {"lite", "shortcut", "agents"}
    work = Path(agent["work"])
    figures = {"training.json", "reward-per-step.svg", "optimal-exits.svg"}
    assert {"training", "report.json"} | figures <= {f.name for f in work.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["agent", "--data", "nowhere"], "no data at nowhere"),
        (["agent", "--data", "CORPUS", "--language", "java"], "is not java"),
        (["agent", "--language", "cobol"], "language is 'cobol': use one of python, java"),
        (["agent", "--data", "CORPUS", "--setting", "medium"], "no setting 'medium'"),
        (["agent", "--data", "CORPUS", "--method", "luck"], "--method is 'luck': use ppo or supervised"),
        (
            ["agent", "--data", "CORPUS", "--method", "supervised", "--steps", "9"],
            "--resume are of --method ppo",
        ),
        (["agent", "--data", "CORPUS", "--method", "supervised", "--hidden", "8,8,8"], r"hidden layers are [8, 8, 8]"),
        (["agent", "--data", "CORPUS", "--hidden", "a"], "--hidden is 'a': give whole numbers"),
        (["agent", "--data", "CORPUS", "--beta", "2"], "the reward's beta is 2.0: give a number from 0 to 1"),
        (["agent", "--data", "CORPUS", "--max-gb", "0"], "--max-gb is 0.0: give a size above 0"),
        (["shortcut", "--data", "CORPUS", "--language", "python", "--language", "java"], "1 --data but 2 --language"),
        (["shortcut", "--data", "CORPUS", "--meter", "nonsense"], "nonsense"),
        (["shortcut", "--data", "CORPUS", "--method", "best"], "--method is 'best': use distilled or ridge"),
        (["calibrate", "--data", "CORPUS"], "is no early-exit bundle: it has no exit.json"),
        (["lite", "--data", "CORPUS", "--method", "half"], "--method is 'half': use full or lora"),
        (["lite", "--data", "CORPUS", "--exits", "9,6"], "exit layers [9, 6] do not fit a model of 6 layers"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], told: str, six_layers: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys
    from unittest import mock

    from passkwh.cli.main import main

    named = [str(corpus) if part == "CORPUS" else part for part in arguments]
    command = ["bench", "train", *named, "--model", str(six_layers), "--bundle", str(tmp_path / "b")]
    with mock.patch.object(sys, "argv", command), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert told in error
