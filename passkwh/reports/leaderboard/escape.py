"""Foreign text for pages and scripts: escaped, so that it is shown and never run."""

from __future__ import annotations

import html
import json
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=10_000)
def escaped(text: str) -> str:
    """Foreign text for HTML. Tasks and verdicts come again and again."""
    return html.escape(text)


def script_json(value: Any) -> str:
    """JSON that may stand in a script: no text in it can end the script or begin a line that JavaScript would see."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
