"""The HTTP interface: which path speaks which dialect, and how answers, streams and refusals are written."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from passkwh.serve import huggingface_api, ollama_api, openai_api
from passkwh.serve.body import read_body
from passkwh.serve.engine import Finished
from passkwh.serve.exchange import Exchange, Gone, extension, while_connected
from passkwh.serve.limits import Refused, invalid
from passkwh.serve.middleware import ARRIVED_NS, CLIENT_GONE, Front
from passkwh.serve.request import Ask, check_model, read_json
from passkwh.serve.service import Service

Pieces = AsyncIterator[tuple[int, str | Finished]]
Written = AsyncIterator[str]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


def make_app(service: Service) -> FastAPI:
    """The application for a started service."""
    app = FastAPI(title="pass@kWh", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Front, metrics=service.metrics)
    created = int(time.time())

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> Response:
        service.metrics.refused(refused.reason)
        headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
        if refused.status in (408, 413):
            headers["Connection"] = "close"  # the rest of the body is not going to be read
        return JSONResponse(_error(request.url.path, refused), refused.status, headers)

    @app.exception_handler(HTTPException)
    async def no_such_path(request: Request, error: HTTPException) -> Response:
        said = f"{request.method} {request.url.path[:200]}: {error.detail}"
        refused = Refused(error.status_code, said, "invalid")
        service.metrics.refused(refused.reason)
        return JSONResponse(_error(request.url.path, refused), refused.status, error.headers)

    @app.exception_handler(Gone)
    async def gone(request: Request, _: Gone) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "model": service.names[0],
            "waiting": service.engine.waiting(),
            "running": service.engine.running(),
        }

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=METRICS_TYPE)

    def listed() -> dict[str, Any]:
        return {"id": service.names[0], "object": "model", "created": created, "owned_by": "passkwh"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [listed()]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        check_model(model, service.names)
        return listed()

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        data = read_json(await read_body(request, service.limits))
        ask, counts = openai_api.completion(data, service.names, service.limits)
        return await _openai(service, request, ask, counts, is_chat=False)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        data = read_json(await read_body(request, service.limits))
        ask, counts = openai_api.chat(data, service.names, service.limits)
        return await _openai(service, request, ask, counts, is_chat=True)

    @app.post("/api/generate")
    @app.post("/api/generate/")
    async def generate(request: Request) -> Response:
        data = read_json(await read_body(request, service.limits))
        if "inputs" in data and "prompt" in data:
            raise invalid("inputs and prompt: give inputs (Hugging Face's form) or prompt (Ollama's)", "prompt")
        if "inputs" in data:
            return await _huggingface(service, request, data)
        return await _ollama(service, request, ollama_api.generate(data, service.names, service.limits))

    # The paths that llm-ls and huggingface_hub make of a base URL.
    @app.post("/")
    @app.post("/generate")
    @app.post("/models/{model:path}")
    @app.post("/api/generate/models/{model:path}")
    async def inputs(request: Request) -> Response:
        data = read_json(await read_body(request, service.limits))
        return await _huggingface(service, request, data, request.path_params.get("model"))

    return app


def _error(path: str, refused: Refused) -> dict[str, Any]:
    """The refusal in the dialect of the path; ``error_type`` is text-generation-inference's."""
    if path.startswith("/v1/"):
        return openai_api.error(refused)
    kinds = {400: "validation", 422: "validation", 503: "overloaded"}
    return {"error": refused.message, "error_type": kinds.get(refused.status, "generation")}


def _exchange(service: Service, request: Request, ask: Ask) -> Exchange:
    return Exchange(ask, service.adapter, service.rules, service.limits, request.scope[ARRIVED_NS])


async def _finished(service: Service, request: Request, ask: Ask) -> list[Finished]:
    return await while_connected(request, _exchange(service, request, ask).finished(service.engine))


async def _extension(service: Service, ask: Ask, finished: list[Finished]) -> dict[str, Any] | None:
    return await extension(finished, service.ledger) if ask.usage or service.always_usage else None


async def _huggingface(service: Service, request: Request, data: dict[str, Any], model: str | None = None) -> Response:
    ask, with_prompt = huggingface_api.generate(data, service.names, service.limits, model)
    finished = await _finished(service, request, ask)
    found: dict[str, Any] = {"generated_text": (ask.prompts[0] if with_prompt else "") + finished[0].text}
    cost = await _extension(service, ask, finished)
    return JSONResponse(found if cost is None else {**found, "usage": openai_api.usage(finished, cost)})


async def _ollama(service: Service, request: Request, ask: Ask) -> Response:
    name = service.names[0]

    async def end(text: str, finished: list[Finished]) -> dict[str, Any]:
        cost = await _extension(service, ask, finished)
        return ollama_api.last(name, text, finished, time.monotonic_ns() - request.scope[ARRIVED_NS], cost)

    async def lines(pieces: Pieces) -> Written:
        async for _, piece in pieces:
            if isinstance(piece, Finished):
                yield _ndjson(await end("", [piece]))
            else:
                yield _ndjson(ollama_api.part(name, piece))

    if not ask.stream:
        finished = await _finished(service, request, ask)
        return JSONResponse(await end(finished[0].text, finished))
    exchange = _exchange(service, request, ask)
    written = lines(exchange.events(service.engine))
    return await _stream(
        service, request, exchange, written, NDJSON, lambda refused: _ndjson({"error": refused.message})
    )


async def _openai(service: Service, request: Request, ask: Ask, counts: bool, is_chat: bool) -> Response:
    head: dict[str, Any] = {
        "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{uuid.uuid4().hex}",
        "object": ("chat.completion.chunk" if ask.stream else "chat.completion") if is_chat else "text_completion",
        "created": int(time.time()),
        "model": service.names[0],
    }

    async def parts(pieces: Pieces) -> Written:
        finished: dict[int, Finished] = {}
        async for number, piece in pieces:
            if isinstance(piece, Finished):
                finished[number] = piece
                yield _event(openai_api.part(head, number, "", piece.finish_reason, is_chat))
            else:
                yield _event(openai_api.part(head, number, piece, None, is_chat))
        if counts or ask.usage or service.always_usage:
            rows = [finished[number] for number in sorted(finished)]
            used = openai_api.usage(rows, await _extension(service, ask, rows))
            yield _event({**head, "choices": [], "usage": used})
        yield "data: [DONE]\n\n"

    if not ask.stream:
        finished = await _finished(service, request, ask)
        return JSONResponse(openai_api.answer(head, finished, await _extension(service, ask, finished), is_chat))
    exchange = _exchange(service, request, ask)
    written = parts(exchange.events(service.engine))
    return await _stream(service, request, exchange, written, EVENTS, lambda refused: _event(openai_api.error(refused)))


async def _stream(
    service: Service,
    request: Request,
    exchange: Exchange,
    written: Written,
    media_type: str,
    refusal: Callable[[Refused], str],
) -> Response:
    """A streamed response, begun only when there is something to say: a refusal before that gets its own status."""
    first = await while_connected(request, _next(written))

    async def text() -> Written:
        try:
            yield first
            async for piece in written:
                yield piece
        except Refused as refused:  # the status has gone out: all that can be done is to say so
            service.metrics.refused(refused.reason)
            yield refusal(refused)
        finally:
            exchange.cancel()

    return StreamingResponse(text(), media_type=media_type)


async def _next(written: Written) -> str:
    return await anext(written)


def _ndjson(piece: dict[str, Any]) -> str:
    return json.dumps(piece, ensure_ascii=False) + "\n"


def _event(piece: dict[str, Any]) -> str:
    return f"data: {json.dumps(piece, ensure_ascii=False)}\n\n"
