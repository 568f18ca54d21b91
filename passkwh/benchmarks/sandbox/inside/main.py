"""Entry of the environment's process: isolates itself, then forks the chain of zygotes and looks after them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from typing import Any

from . import preload, zygote
from .isolate import Isolation
from .lines import Lines


def main(argument: str) -> None:
    """Start the zygotes that ``argument`` (JSON) describes; returns when all of them have gone.

    ``tiers`` is a list of {name, preload, warm, descriptor}; a tier whose descriptor is None is only passed through.
    """
    config: dict[str, Any] = json.loads(argument)
    sys.argv = ["evaluate"]
    isolation = Isolation(config["isolation"])
    isolation.enter_host()
    if os.fork() == 0:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            _chain(config, isolation)
        os._exit(0)
    for tier in config["tiers"]:
        if tier["descriptor"] is not None:
            os.close(tier["descriptor"])
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _chain(config: dict[str, Any], isolation: Isolation) -> None:
    """Preload tier after tier; each tier's zygote forks the next one before it starts to serve."""
    tiers = config["tiers"]
    missing: list[str] = []
    for index, tier in enumerate(tiers):
        missing += preload.preload(tier["preload"])
        if tier["warm"]:
            preload.warm()
        if index + 1 < len(tiers) and os.fork() == 0:
            if tier["descriptor"] is not None:
                os.close(tier["descriptor"])
            continue
        if tier["descriptor"] is None:
            return
        for later in tiers[index + 1 :]:
            if later["descriptor"] is not None:
                os.close(later["descriptor"])
        lines = Lines(socket.socket(fileno=tier["descriptor"]))
        isolation.enter_zygote()
        zygote.Zygote(lines, isolation, config["limits"]).serve({"tier": tier["name"], "missing": missing})
        return
