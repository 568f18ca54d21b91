"""Mistakes in ``bench serve``: one line, exit code 2, before anything heavy is done."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

import passkwh.serve.server
from passkwh.cli import main as program


def mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that is wrong use."""
    monkeypatch.setattr(sys, "argv", ["bench", "serve", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        program.main()
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    (line,) = lines
    return line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--meter", "simulatd"], "simulated"),
        (["--exit-bundle", "folder"], "add the rule"),
        (["--exit", "fixed:1,bundle=a", "--exit-bundle", "b"], "give one of them"),
        (["--exit", "fixd:1"], "did you mean fixed"),
        (["--quant", "gptq-int5"], "gptq-int4"),
        (["--engine", "transformer"], "did you mean transformers"),
        (["--engine", "endpoint"], "engine endpoint cannot run"),
        (["--host", "192.0.2.7"], "cannot be bound"),
        (["--max-queue", "0"], "--max-queue"),
    ],
)
def test_mistakes(
    options: list[str],
    expected: str,
    letters: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert expected in mistake(monkeypatch, capsys, "--model", letters, "--port", 0, *options)


def test_a_port_that_is_taken(
    letters: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "choose another --port" in mistake(monkeypatch, capsys, "--model", letters, "--port", port)


def test_without_the_extra(letters: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "passkwh.serve.server")
    monkeypatch.delattr(passkwh.serve, "server")
    assert "pip install 'passkwh[serve]'" in mistake(monkeypatch, capsys, "--model", letters)


def test_an_address_that_others_reach_asks_for_a_key(
    letters: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PASSKWH_API_KEY", raising=False)
    everywhere = ("--model", letters, "--host", "0.0.0.0", "--port", 0)
    assert "with --api-key or in PASSKWH_API_KEY" in mistake(monkeypatch, capsys, *everywhere)
    monkeypatch.setenv("PASSKWH_API_KEY", "too short")
    assert "at least 16 printable characters" in mistake(monkeypatch, capsys, *everywhere)
