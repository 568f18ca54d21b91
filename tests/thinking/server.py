"""An OpenAI-compatible server with a reasoning parser, or one without, on a port of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

THOUGHTS = [f"hm{number} " for number in range(6)]
PROGRAM = "import math\ndef task_func(x):\n    return math.sqrt(x)"
ANSWER = ["Here:\n```python\n", PROGRAM, "\n```\n", "Hope it helps."]


@dataclass
class Habits:
    """What the server does with a chat, and what it was asked."""

    key: str = "reasoning_content"
    """The field of a delta that holds thinking; empty: no parser, and the thinking stands between tags."""
    counts: bool = True
    """``usage`` says how many tokens were thinking."""
    streams: bool = True
    stops: int = 16
    """Most stop strings of a request."""
    refusal: str = "stop: at most 4 sequences"
    """Said where there are more."""
    finish: str = "stop"
    thinks: bool = True
    """Unless a request says that it should not."""
    opens: bool = False
    """The template has opened the thinking, so that there is no start tag."""
    context: int = 10_000
    """Characters of the longest prompt."""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def pieces(self, body: dict[str, Any]) -> Sequence[dict[str, str]]:
        """The deltas that answer a request, as if every piece were a token."""
        thinks = body.get("chat_template_kwargs", {}).get("enable_thinking", self.thinks)
        start = [] if self.opens else ["<think>"]
        thought = [] if not thinks else THOUGHTS if self.key else [*start, *THOUGHTS, "</think>", "\n\n"]
        pieces = [*({self.key or "content": text} for text in thought), *({"content": text} for text in ANSWER)]
        return pieces[: body["max_tokens"]]


@contextmanager
def serving(habits: Habits) -> Iterator[str]:
    """The server's URL for as long as it runs."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, "application/json", json.dumps({"data": [{"id": "thinker"}]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            habits.asked.append(body)
            if len(body.get("stop", [])) > habits.stops:
                return self._refuse(habits.refusal)
            if len(body["messages"][-1]["content"]) > habits.context:
                return self._refuse("This model's maximum context length is 2048 tokens.")
            pieces = habits.pieces(body)
            thought = sum("content" not in piece or not habits.key for piece in pieces)
            cut = len(pieces) == body["max_tokens"]
            usage: dict[str, Any] = {"prompt_tokens": 9, "completion_tokens": len(pieces)}
            if habits.counts:
                usage["completion_tokens_details"] = {"reasoning_tokens": thought}
            reason = "length" if cut else habits.finish
            if not (body.get("stream") and habits.streams):
                whole: dict[str, str] = {}
                for piece in pieces:
                    whole |= {name: whole.get(name, "") + text for name, text in piece.items()}
                choices = [{"index": 0, "message": whole, "finish_reason": reason}]
                return self._send(200, "application/json", json.dumps({"choices": choices, "usage": usage}))
            events = [{"choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
            events += [{"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}]
            events += [{"choices": [], "usage": usage}]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            return self._send(200, "text/event-stream", text + "data: [DONE]\n\n")

        def _refuse(self, message: str) -> None:
            self._send(400, "application/json", json.dumps({"error": {"message": message}}))

        def _send(self, status: int, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
