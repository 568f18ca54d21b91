"""The one exception for a user's mistake; the command line turns it into a line on stderr and exit code 2."""

from __future__ import annotations


class UsageError(Exception):
    """Wrong use or bad input. The message is one line, says what was seen and names the fix."""


class MissingExtra(UsageError):
    """A library of an optional extra is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part that is not installed: pip install 'passkwh[{extra}]'")
        self.extra = extra
