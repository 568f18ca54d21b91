"""The channel on which a sample's process reports: append-only, numbered and authenticated.

Judged code shares its process with the judge, so it can find the descriptor and write to it. Each line therefore
carries its number and a keyed hash: a line that was left out, added or changed is noticed by the reader. What has been
written cannot be taken back, so a suspicion is reported the moment it arises. The key lives in a closure; whatever
digs for it (frames, the garbage collector, ctypes) is itself reported first.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any

DESCRIPTOR = 3
"""On which a sample's process reports; closed in whatever it executes."""
MAX_REPORT_BYTES = 1 << 20
KEY_BYTES = 32
_DIGEST_BYTES = 16


def new_key() -> bytes:
    """A fresh secret for one sample."""
    return secrets.token_bytes(KEY_BYTES)


def sender(descriptor: int, key: bytes) -> Callable[[str, str], bool]:
    """A function ``send(kind, text)`` that appends one line; False when the descriptor is no longer ours.

    Everything it calls is a C function bound here, so that judged code which patches modules does not reach it.
    """
    from _json import encode_basestring_ascii as quote  # the C function: json.encoder's name could be patched

    write, fstat, digest, pid_of = os.write, os.fstat, hashlib.blake2b, os.getpid
    identity = (fstat(descriptor).st_dev, fstat(descriptor).st_ino)
    owner = pid_of()
    number = [0]
    lock = threading.RLock()  # reentrant: a signal handler may report while its thread is reporting

    def send(kind: str, text: str) -> bool:
        if pid_of() != owner:  # a forked copy of the sample speaks for nobody
            return False
        try:
            with lock:
                stat = fstat(descriptor)
                if (stat.st_dev, stat.st_ino) != identity:
                    return False
                body = b"%d %s %s" % (number[0], quote(kind).encode(), quote(text).encode())
                number[0] += 1
                line = digest(body, key=key, digest_size=_DIGEST_BYTES).hexdigest().encode() + b" " + body + b"\n"
                while line:
                    line = line[write(descriptor, line) :]
        except OSError:
            return False
        return True

    return send


def read(data: bytes, key: bytes) -> tuple[list[tuple[str, str]], bool]:
    """The lines of a report as (kind, text), and whether it is whole: every line authentic and in sequence."""
    lines: list[tuple[str, str]] = []
    whole = len(data) <= MAX_REPORT_BYTES and (not data or data.endswith(b"\n"))
    for raw in data[:MAX_REPORT_BYTES].split(b"\n")[:-1]:
        mac, _, body = raw.partition(b" ")
        expected = hashlib.blake2b(body, key=key, digest_size=_DIGEST_BYTES).hexdigest().encode()
        if not secrets.compare_digest(mac, expected):
            whole = False
            continue
        number, kind, text = _parse(body)
        if number != len(lines):
            whole = False
        lines.append((kind, text))
    return lines, whole


def _parse(body: bytes) -> tuple[int, str, str]:
    number, _, rest = body.partition(b" ")
    decoder = json.JSONDecoder()
    text: Any = rest.decode("ascii")
    kind, end = decoder.raw_decode(text)
    message, _ = decoder.raw_decode(text, end + 1)
    return int(number), kind, message
