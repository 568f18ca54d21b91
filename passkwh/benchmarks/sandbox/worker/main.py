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

    ``preload_groups`` is a list of {name, preload, warm, descriptor}; one whose descriptor is None is only passed
    through.
    """
    config: dict[str, Any] = json.loads(argument)
    sys.argv = ["evaluate"]
    isolation = Isolation(config["isolation"])
    isolation.enter_chain()
    init = os.fork()
    if init == 0:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            _init(config, isolation)
        os._exit(0)
    _close(group["descriptor"] for group in config["preload_groups"])
    os.waitpid(init, 0)


def _init(config: dict[str, Any], isolation: Isolation) -> None:
    """Process 1 of the namespace: when it ends, the kernel ends all that is left in there."""
    isolation.enter_init()
    if os.fork() == 0:
        _chain(config, isolation)
        os._exit(0)
    _close(group["descriptor"] for group in config["preload_groups"])
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _chain(config: dict[str, Any], isolation: Isolation) -> None:
    """Preload group after group; each group's zygote forks the next one before it starts to serve."""
    groups = config["preload_groups"]
    isolation.try_out({**config["limits"], "base_bytes": tree.address_space()})
    missing: list[str] = []
    for index, group in enumerate(groups):
        missing += preload.preload(group["preload"])
        if group["warm"]:
            preload.warm()
        if index + 1 < len(groups) and os.fork() == 0:
            _close([group["descriptor"]])
            continue
        if group["descriptor"] is None:
            return
        _close(later["descriptor"] for later in groups[index + 1 :])
        lines = Lines(socket.socket(fileno=group["descriptor"]))
        isolation.enter_zygote()
        zygote.Zygote(lines, isolation, config["limits"]).serve({"layers": isolation.missing, "missing": missing})
        return


def _close(descriptors: Iterable[int | None]) -> None:
    for descriptor in descriptors:
        if descriptor is not None:
            os.close(descriptor)
