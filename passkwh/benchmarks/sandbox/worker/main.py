"""Entry of the environment's process: isolates itself, then forks the chain of zygotes and looks after them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterable
from typing import Any

from . import preload, tree, zygote
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
    init = os.fork()
    if init == 0:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            _init(config, isolation)
        os._exit(0)
    _close(tier["descriptor"] for tier in config["tiers"])
    os.waitpid(init, 0)


def _init(config: dict[str, Any], isolation: Isolation) -> None:
    """Process 1 of the namespace: when it ends, the kernel ends all that is left in there."""
    isolation.enter_init()
    if os.fork() == 0:
        _chain(config, isolation)
        os._exit(0)
    _close(tier["descriptor"] for tier in config["tiers"])
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _chain(config: dict[str, Any], isolation: Isolation) -> None:
    """Preload tier after tier; each tier's zygote forks the next one before it starts to serve."""
    tiers = config["tiers"]
    isolation.try_out({**config["limits"], "base_bytes": tree.address_space()})
    missing: list[str] = []
    for index, tier in enumerate(tiers):
        missing += preload.preload(tier["preload"])
        if tier["warm"]:
            preload.warm()
        if index + 1 < len(tiers) and os.fork() == 0:
            _close([tier["descriptor"]])
            continue
        if tier["descriptor"] is None:
            return
        _close(later["descriptor"] for later in tiers[index + 1 :])
        lines = Lines(socket.socket(fileno=tier["descriptor"]))
        isolation.enter_zygote()
        zygote.Zygote(lines, isolation, config["limits"]).serve({"layers": isolation.missing, "missing": missing})
        return


def _close(descriptors: Iterable[int | None]) -> None:
    for descriptor in descriptors:
        if descriptor is not None:
            os.close(descriptor)
