"""Where a board will stand: the address that its feed and its citations name."""

from __future__ import annotations

import re

from passkwh.errors import UsageError

_URL = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]{0,500})?")
"""Letters, digits and what needs no escape anywhere: not in a page, a feed, BibTeX or a shell."""


def board_url(text: str) -> str:
    """An address without the slash and the ``index.html`` at its end; empty stays empty.

    Raises:
        UsageError: for anything but a plain http or https address.

    >>> board_url("https://lab.example/board/index.html"), board_url("https://lab.example/")
    ('https://lab.example/board', 'https://lab.example')
    """
    if not text:
        return ""
    if not _URL.fullmatch(text):
        raise UsageError(
            f"--url {text[:200]!r} is no plain address: give the board's as https://HOST/FOLDER, without ?, # or %"
        )
    return text.removesuffix("index.html").rstrip("/")


def page_url(url: str, row_id: str) -> str:
    """The address of a configuration's page on a board at ``url``."""
    return f"{url}/c/{row_id}.html"
