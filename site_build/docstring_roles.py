"""Docstrings name things as reStructuredText does (``:func:`run```); on the site they are code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_LITERAL = re.compile(r"``([^`]+)``")


class DocstringRoles(Extension):
    """Turns roles and double backticks of docstrings into Markdown's code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            text = _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", obj.docstring.value)
            text = _EXAMPLE.sub("Examples:", text)  # a section of doctests only in the plural
            obj.docstring.value = _LITERAL.sub(r"`\1`", text)
