"""HumanEval infilling: gaps are asked in the tokens that a model's tokenizer has for them, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from passkwh import api, benchmarks
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.infill import FAMILIES, InfillTokens, infill_tokens
from passkwh.benchmarks.base import Candidate
from passkwh.benchmarks.infilling import HumanEvalInfilling
from passkwh.benchmarks.samples import SAMPLES
from passkwh.cli.score import score
from passkwh.cli.verify import verify
from passkwh.errors import UsageError
from passkwh.harness.plan import plan
from passkwh.harness.runs.folder import RunFolder
from passkwh.prompts import InfillPrompt, Request, TextPrompt
from passkwh.records import Spec

ROWS = [json.loads(line) for line in (SAMPLES / "humaneval-infilling.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


# ---------------------------------------------------------------- the benchmark


def test_references_are_verified_and_what_is_written_is_put_into_the_gap(capsys: pytest.CaptureFixture[str]) -> None:
    verify("humaneval-infilling", as_json=True)
    result = printed(capsys)
    assert (result["tasks"], result["pass"], result["failures"]) == (3, 3, [])
    benchmark = HumanEvalInfilling({})
    candidates = [
        Candidate(f"{row['task_id']} {what}", row["task_id"], text, continues)
        for row in ROWS
        for what, text, continues in (
            ("right", row["canonical_solution"], True), ("of a chat model", row["canonical_solution"], True),
            ("nothing", "", True), ("another", "    pass\n", True),
        )
    ]  # fmt: skip
    found = {one.key: one.verdict.status for one in benchmark.score(candidates) if one.verdict}
    assert {key: status for key, status in found.items() if key.endswith(("right", "model"))} == {
        f"{row['task_id']} {what}": "pass" for row in ROWS for what in ("right", "of a chat model")
    }
    assert {status for key, status in found.items() if key.endswith(("nothing", "another"))} == {"fail"}


def test_completions_of_other_harnesses_fill_the_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tmp_path / "samples.jsonl"
    lines = [{"task_id": row["task_id"], "completion": row["canonical_solution"]} for row in ROWS]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    score(samples, benchmark="humaneval-infilling", as_json=True)
    assert printed(capsys)["pass_at_k"] == {"1": 1.0}


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps({**ROWS[0], "suffix": None}) + "\n")
    with pytest.raises(UsageError, match="not a task of HumanEval infilling: the text 'suffix' is missing"):
        benchmarks.open("humaneval-infilling", {"data": str(tmp_path / "data.jsonl")})


# ---------------------------------------------------------------- tokens


def checkpoint(folder: Path | None, file: Path | None = None) -> Checkpoint:
    return Checkpoint("m", "local", "m", folder, None, False, files=folder, file=file)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.prefix)
@pytest.mark.parametrize("place", ["added_tokens_decoder", "extra_special_tokens", "added_tokens.json", "map"])
def test_tokens_are_found_wherever_a_tokenizer_names_them(family: InfillTokens, place: str, tmp_path: Path) -> None:
    texts = [family.prefix, family.suffix, family.middle]
    content: dict[str, Any] = {"tokenizer_class": "X"}
    if place == "added_tokens_decoder":
        content[place] = {str(n): {"content": text} for n, text in enumerate(texts)}
    elif place == "extra_special_tokens":
        content[place] = texts
    elif place == "map":
        names = ("prefix_token", "suffix_token", "middle_token")
        (tmp_path / "special_tokens_map.json").write_text(json.dumps(dict(zip(names, texts, strict=True))))
    else:
        (tmp_path / place).write_text(json.dumps({text: n for n, text in enumerate(texts)}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(content))
    tokens = infill_tokens(checkpoint(tmp_path))
    assert tokens == family
    written = tokens.render(InfillPrompt("a\n", "b")).text
    assert written == f"{family.prefix}a\n{family.suffix}b{family.middle}"


def test_a_model_without_such_tokens_is_refused_in_one_line(tmp_path: Path, tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match=r"^m cannot be asked to fill in the middle: its tokenizer has no tokens"):
        infill_tokens(checkpoint(tiny_llama))
    with pytest.raises(UsageError, match=r"^m is a GGUF file"):
        infill_tokens(checkpoint(None, tmp_path / "m.gguf"))
    with pytest.raises(UsageError, match=r"^m is a server"):
        infill_tokens(checkpoint(None))
    asked = Spec(model=str(tiny_llama), benchmark="humaneval-infilling", meter="simulated:steady")
    (problem,) = plan(asked, tmp_path).report.problems
    assert "cannot be asked to fill in the middle" in problem.text
    assert "\n" not in problem.text


def test_a_gap_is_a_prompt_of_its_own_for_chat_models_too() -> None:
    request = Request("a", "", suffix="b", raw=True)
    assert request.prompt(chat=True) == request.prompt(chat=False) == InfillPrompt("a", "b")
    assert Request("a", "").prompt(chat=False) == TextPrompt("a")
    assert (request.characters, request.continued("x")) == (2, "axb")


# ---------------------------------------------------------------- a run


@pytest.fixture
def filler(tiny_llama: Path, tmp_path: Path) -> Path:
    """The tiny Llama with StarCoder's tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_llama), AutoModelForCausalLM.from_pretrained(tiny_llama)
    family = FAMILIES[1]
    tokenizer.add_special_tokens({"additional_special_tokens": [family.prefix, family.suffix, family.middle]})
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    folder = tmp_path / "filler"
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def test_a_run_asks_for_the_gaps(filler: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoTokenizer

    api.run(
        model=str(filler), benchmark="humaneval-infilling", max_new_tokens=4, meter="simulated:steady", idle_s=0.1,
        out=tmp_path / "runs",
    )  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    samples = {sample.task_id: sample for sample in RunFolder.open(folder).samples()}
    tokenizer, family = AutoTokenizer.from_pretrained(filler), FAMILIES[1]
    for row in ROWS:
        text = family.render(InfillPrompt(row["prompt"], row["suffix"])).text
        assert samples[row["task_id"]].prompt_tokens == len(tokenizer(text)["input_ids"])
        apart = sum(len(tokenizer(part)["input_ids"]) for part in (row["prompt"], row["suffix"]))
        assert samples[row["task_id"]].prompt_tokens == apart + 3  # each of the three is one token
    score(folder, as_json=True)
    assert printed(capsys)["samples"] == 3
