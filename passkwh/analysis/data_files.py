"""Data that stands beside the code: tables of models, devices, domains, experiments and layouts, each read once."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def data_file(name: str) -> Any:
    """The content of ``analysis/data/NAME``, a .json or .toml file. Shared: read it, do not change it."""
    text = resources.files("passkwh.analysis").joinpath("data", name).read_text("utf-8")
    return json.loads(text) if name.endswith(".json") else tomllib.loads(text)
