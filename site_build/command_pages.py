"""The reference of the command line: what ``--help`` of every command says, from the commands themselves."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from passkwh.cli import main as program


def markdown() -> str:
    """A list of the commands and groups, then a section for each command with its usage, arguments and options."""
    commands = list(_commands())
    lines = [f"- [`{name}`](#{_anchor(name)}): {_first_sentence(command.help)}" for name, command in commands]
    return "\n\n".join(["\n".join(lines), *(_section(name, command) for name, command in commands)])


def _commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its whole name, in the order of ``bench --help``."""
    program._add_commands()
    root: Any = get_command(program.app)
    for name, command in root.commands.items():
        for sub, leaf in getattr(command, "commands", {"": command}).items():
            yield f"bench {name} {sub}".strip(), leaf


def _section(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=name)
    records = [(parameter, parameter.get_help_record(context)) for parameter in command.params]
    arguments = [record for parameter, record in records if parameter.param_type_name == "argument" and record]
    options = [record for parameter, record in records if parameter.param_type_name == "option" and record]
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"## {name} {{#{_anchor(name)}}}", _prose(command.help), f"```text\n{' '.join(usage.split())}\n```"]
    parts += [_definition(*record) for record in [*arguments, *options]]
    return "\n\n".join(parts)


def _definition(names: str, text: str) -> str:
    """One option: its names and what it takes as the term, what it means below it."""
    return f"`{names}`\n:   {_prose(text) or 'See above.'}"


def _prose(text: str | None) -> str:
    """Help as one paragraph for each paragraph; what stands in backticks stays code, all else is no Markdown."""
    paragraphs = re.split(r"\n\s*\n", (text or "").replace("\b", "").strip())
    return "\n\n".join(_escaped(" ".join(paragraph.split())) for paragraph in paragraphs)


def _escaped(text: str) -> str:
    pieces = text.split("`")
    for index in range(0, len(pieces), 2):  # outside of backticks
        pieces[index] = re.sub(r"([\\*_\[\]#])", r"\\\1", html.escape(pieces[index], quote=False))
    return "`".join(pieces)


def _first_sentence(text: str | None) -> str:
    return _escaped(re.split(r"(?<=[.;:]) |\n\n", " ".join((text or "").split()) + " ", maxsplit=1)[0].rstrip(" .;:"))


def _anchor(name: str) -> str:
    return name.replace(" ", "-")
