"""Foreign text for pages and scripts: escaped, so that it is shown and never run."""

from __future__ import annotations

import html
import json
import re
from functools import lru_cache
from typing import Any

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What is not text, or changes how the text around it is read."""


@lru_cache(maxsize=10_000)
def clean(text: str) -> str:
    """Foreign text for HTML: escaped, and control characters made visible. Tasks and verdicts come again and again."""
    return html.escape(CONTROLS.sub("\ufffd", text))


def script_json(value: Any) -> str:
    """JSON that may stand in a script: no text in it can end the script or begin a line that JavaScript would see."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
