"""llama.cpp's server in a process of its own: ``python llamacpp_server.py PARAMETERS``, one JSON object.

Its keys are attributes of xllamacpp's ``CommonParams``, a dot for those of parts (``model.path``,
``cpuparams.n_threads``). The key that clients must send is taken from ``PASSKWH_SERVER_KEY``. Imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any


def main(parameters: dict[str, Any]) -> None:
    """Serve until SIGTERM."""
    import xllamacpp

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    gpus = [device["description"] for device in xllamacpp.get_device_info() if device["type"] != cpu]
    print(f"xllamacpp {xllamacpp.__version__}: {xllamacpp.get_system_info()}")
    print(f"gpus {json.dumps(gpus)}", flush=True)
    common = xllamacpp.CommonParams()
    for name, value in parameters.items():
        owner: Any = common
        *parts, attribute = name.split(".")
        for part in parts:
            owner = getattr(owner, part)
        setattr(owner, attribute, value)
    common.api_keys = [os.environ["PASSKWH_SERVER_KEY"]]
    server = xllamacpp.Server(common)
    print(f"listening on {server.listening_address}", flush=True)
    ended.wait()
    os._exit(0)  # the library has nothing to save, and taking it down takes seconds


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
