"""The shell completes commands, options and values, other packages' among them, and imports nothing heavy for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from passkwh import registry
from passkwh.cli import complete
from passkwh.cli import main as program


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What bash is offered for the last word of a line."""

    def offers(line: str) -> list[str]:
        words = line.split(" ")
        for name, value in {
            "_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["bench"])
        with pytest.raises(SystemExit):
            program.main()
        return capsys.readouterr().out.split()

    return offers


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bench qua", ["quantize"]),
        ("bench leaderboard v", ["validate"]),
        ("bench run --max", ["--max-new-tokens"]),
        ("bench run --model smollm2", ["smollm2-135m-instruct"]),
        ("bench serve -m smollm2", ["smollm2-135m-instruct"]),
        ("bench train agent -m smollm2", ["smollm2-135m-instruct"]),
        ("bench quantize smollm2", ["smollm2-135m-instruct"]),
        ("bench run -m x --quant gptq-int4 --quant bnb-i", ["bnb-int8"]),
        ("bench run --benchmark human", ["humaneval", "humaneval-infilling", "humanevalpack", "humanevalplus"]),
        ("bench run --meter sim", ["simulated"]),
        ("bench doctor sim", ["simulated"]),
        ("bench run --exit fi", ["fixed"]),
        ("bench run --engine lla", ["llamacpp"]),
        ("bench verify m", ["mbpp", "mbppplus"]),
        ("bench setup v", ["vllm"]),
        ("bench export --format csv --convention gr", ["green-code"]),
        ("bench import --format ev", ["evalplus"]),
        ("bench sweep run thesis-g", ["thesis-gptq"]),
        ("bench report runs --experiment model", ["model-size"]),
        ("bench analyze runs --energy n", ["net"]),
        ("bench run --model ./a/folder", []),
    ],
)
def test_what_is_offered(completed, line: str, expected: list[str]) -> None:
    assert completed(line) == expected


def test_another_package_s_names_are_offered(completed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.METERS, "_added", {"toy-watts": object()})
    assert completed("bench run --meter toy") == ["toy-watts"]


def test_lists_that_are_written_down_are_those_of_the_program() -> None:
    from passkwh.analysis.conventions import CONVENTIONS
    from passkwh.environments import HasEnvironment
    from passkwh.reports.document.section import EXPERIMENTS

    members = [registry.ENGINES.get(name) for name in ("endpoint", "transformers", "llamacpp", "vllm", "sglang")]
    assert [isinstance(member, HasEnvironment) for member in members] == [False, False, False, True, True]
    assert complete.environments("") == ["bigcodebench", "sglang", "vllm"]
    assert isinstance(registry.BENCHMARKS.get("bigcodebench"), HasEnvironment)
    assert complete.conventions("") == list(CONVENTIONS)
    assert complete.experiments("") == list(EXPERIMENTS)


def test_models_are_those_of_the_registry() -> None:
    from passkwh.adapters.models import registry as named

    assert complete.models("") == list(named())


def test_completing_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "pandas", "numpy", "pyarrow", "scipy", "passkwh.records", "passkwh.adapters"]
    code = (
        "import os, sys; sys.argv = ['bench']\n"
        "os.environ |= {'_BENCH_COMPLETE': 'complete_bash', 'COMP_WORDS': 'bench run --model ', 'COMP_CWORD': '3'}\n"
        "from passkwh.cli.main import main\n"
        "try: main()\n"
        f"finally: assert not [m for m in {heavy!r} if m in sys.modules], [m for m in {heavy!r} if m in sys.modules]"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "qwen2.5-0.5b" in result.stdout.split()
