"""What typer says of a wrong command line, in the voice of our own errors: one line, what was given, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def in_our_voice(error: Any, words: Sequence[str]) -> str:
    """The message of typer's complaint about a command line.

    Args:
        error: an exception with ``format_message``, and where it has them ``ctx``, the command, and ``param``, the
            option.
        words: the command line after the program's name.
    """
    context = getattr(error, "ctx", None)
    if context is None:
        return f"{_begun_small(error.format_message()).rstrip('.')}; `--help` says what it takes"
    see = f"see `{context.command_path} --help`"
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        commands = ", ".join(context.command.list_commands(context))
        return f"{context.command_path} needs a command, one of {commands}; {see}"
    message = _begun_small(error.format_message()).rstrip(".")
    options = list(getattr(getattr(error, "param", None), "opts", ()))
    given = _given(options, words)
    if given is not None:
        wrong = str(getattr(error, "message", "")).replace("Input should be", "it should be")
        message = f"{given}: {_begun_small(wrong).rstrip('.')}"
    return f"{message}; {see}"


def _given(options: Sequence[str], words: Sequence[str]) -> str | None:
    """An option with the value that stands on the command line; None where it has none, or several."""
    given = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            given.append(f"{name} {value if equals else following}")
    return given[0] if len(given) == 1 else None


def _begun_small(message: str) -> str:
    """A sentence as it goes on after ``error:``."""
    return message[:1].lower() + message[1:]
