"""JSON lines over a stream socket, both ways."""

from __future__ import annotations

import json
import socket
from typing import Any


class Lines:
    """One end of a connection that carries one JSON object a line."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one object; raises OSError when the other end is gone."""
        self.socket.sendall(json.dumps(message).encode("ascii") + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """What has arrived, after waiting for something to arrive; None at the end of the stream."""
        try:
            data = self.socket.recv(1 << 20)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            data = b""
        if not data:
            return None
        self._buffer += data
        end = self._buffer.rfind(b"\n")
        if end < 0:
            return []
        whole = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return [json.loads(line) for line in whole.split(b"\n")]

    def forget(self) -> None:
        """Drop what has arrived of a line that is not whole."""
        self._buffer.clear()

    def close(self) -> None:
        self.socket.close()
