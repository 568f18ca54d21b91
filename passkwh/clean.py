"""Foreign text before people see it: the one door for terminals, charts, pages and tables that are downloaded.

Names, task ids, failures and warnings of a run are whatever somebody wrote. A control character, an ANSI sequence, a
mark that turns the direction of the text around, or one that has no width makes a reader see something else than what
is there. Every such character is shown as U+FFFD instead. Files of data (run folders, ``--json``) keep the text as it
is. Imports nothing of ours.
"""

from __future__ import annotations

import re
import unicodedata

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters (newline and tab apart), marks of direction, characters without width, halves of characters."""
FORMULA = ("=", "+", "-", "@")


def clean(text: str) -> str:
    """The text with every unsafe character shown as U+FFFD; newlines and tabs stay.

    >>> clean("lab/model\\x1b[31m")
    'lab/model\ufffd[31m'
    """
    return UNSAFE.sub("\ufffd", text)


def one_line(text: str, most: int | None = None) -> str:
    """``clean`` on one line, runs of white space as one space; at most so many characters."""
    line = " ".join(clean(text).split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def cell(text: str) -> str:
    """A text for a spreadsheet: on one line, and with an apostrophe before whatever would begin a formula.

    A formula may begin the text, or stand behind a semicolon, which many countries' spreadsheets take as the separator
    of a comma-separated file. Full-width signs are taken for their plain forms by some.

    >>> cell("\\n=1+1"), cell("a;=1+1"), cell("a-b")
    ("'=1+1", "a;'=1+1", 'a-b')
    """
    return ";".join(f"'{part}" if _begins_formula(part) else part for part in one_line(text).split(";"))


def _begins_formula(part: str) -> bool:
    return unicodedata.normalize("NFKC", part.lstrip(' "\ufffd'))[:1] in FORMULA
