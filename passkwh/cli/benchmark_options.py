"""Options of a benchmark on a command line: the common ones by name, any other as ``--option KEY=VALUE``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from passkwh.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from passkwh.records import Option

OPTION_HELP = "Another option of the benchmark, KEY=VALUE; repeat for several."


def benchmark_options(pairs: Sequence[str] | None, **named: str | int | bool | Path | None) -> dict[str, Option]:
    """A benchmark's options from ``KEY=VALUE`` texts and those that have an option of their own (None: not given).

    Raises UsageError for a text without ``=``, or an option that is given twice.
    """
    from pathlib import Path

    options: dict[str, Option] = {
        key: str(value) if isinstance(value, Path) else value for key, value in named.items() if value is not None
    }
    for text in pairs or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {text}: write KEY=VALUE")
        if key in options:
            raise UsageError(f"--option {key} is given twice")
        options[key] = value
    return options
