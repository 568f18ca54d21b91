"""What is installed without any extra reads, analyses and shows runs, scores, and says what a model would need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = sorted((REPOSITORY / "tests" / "golden" / "schema-1").glob("*-bigcodebench-*c*-r0"))


def closure(name: str, extras: frozenset[str] = frozenset(), seen: set[str] | None = None) -> Iterator[Distribution]:
    """A distribution and all that it requires, each once."""
    seen = set() if seen is None else seen
    if name.lower() in seen:
        return
    seen.add(name.lower())
    package = distribution(name)
    yield package
    for text in package.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield from closure(requirement.name, frozenset(requirement.extras), seen)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with what ``pip install passkwh`` brings, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    for package in closure("passkwh"):
        for file in package.files or ():
            top = file.parts[0]
            if top != ".." and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(package.locate_file(top))))
    if not (folder / "passkwh").exists():  # an editable install has only a pointer
        (folder / "passkwh").symlink_to(REPOSITORY / "passkwh")
    return folder


def bench(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-m", "passkwh.cli.main", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_torch_is_not_among_it(site: Path) -> None:
    names = {path.name for path in site.iterdir()}
    assert {"pandas", "scipy", "altair", "passkwh"} <= names
    assert not {"torch", "transformers", "accelerate", "gptqmodel", "fastapi", "ray"} & names


@pytest.mark.slow
def test_runs_are_analysed_reported_and_put_on_a_board(site: Path, tmp_path: Path) -> None:
    assert len(RUNS) == 2
    page, packs, board = tmp_path / "report.html", tmp_path / "packs", tmp_path / "board"
    for arguments in (
        ("analyze", *RUNS, "--json"),
        ("report", *RUNS, "--out", page),
        ("leaderboard", "pack", *RUNS, "--out", packs),
        ("leaderboard", "build", packs, "--out", board, "--cache", tmp_path / "cache"),
    ):
        done = bench(site, *arguments)
        assert done.returncode == 0, f"{arguments[0]}: {done.stderr}"
    assert "pass@kWh" in page.read_text(encoding="utf-8")
    assert (board / "index.html").is_file()


def test_what_needs_a_model_names_the_extra(site: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "model"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    vocabulary = '{"type": "BPE", "vocab": {"a": 0}, "merges": []}'
    (checkpoint / "tokenizer.json").write_text(f'{{"version": "1.0", "added_tokens": [], "model": {vocabulary}}}')
    (checkpoint / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    done = bench(site, "run", "--model", checkpoint, "--subset", "sample", "--limit", 1, "--out", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stderr.count("\n") <= 3
    assert "pip install 'passkwh[run]'" in done.stderr


def test_the_demo_names_what_it_needs(site: Path, tmp_path: Path) -> None:
    done = bench(site, "demo", "--out", tmp_path / "demo")
    assert done.returncode == 2
    assert done.stderr == (
        "error: the demo needs an optional part that is not installed: pip install 'passkwh[run,quant,gguf]'\n"
    )
    assert not (tmp_path / "demo").exists()


def test_the_program_alone_says_what_to_do_first(site: Path) -> None:
    done = bench(site)
    assert done.returncode == 0
    for command in ("bench demo", "bench doctor", "bench run", "bench report", "bench --help"):
        assert command in done.stdout
