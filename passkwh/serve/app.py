"""The HTTP interface: which path speaks which dialect, and how answers, streams and refusals are sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from passkwh.serve import huggingface_api, ollama_api, openai_api
from passkwh.serve.access import Access
from passkwh.serve.answer import Answer, Cost, error_object
from passkwh.serve.batcher import Finished
from passkwh.serve.body import read_body
from passkwh.serve.limits import Refused, invalid
from passkwh.serve.middleware import ARRIVED_NS, CLIENT_GONE, MetricsMiddleware
from passkwh.serve.request import GenerationRequest, read_json
from passkwh.serve.request_rows import ClientDisconnected, RequestRows, while_connected
from passkwh.serve.service import Service
from passkwh.serve.usage import usage_extension

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNREAD = frozenset({"timeout", "too_large", "host", "origin", "key", "content_type"})
"""Why a request is refused before its body was read to the end: the rest is not going to be read."""


def make_app(service: Service, access: Access) -> FastAPI:
    """The application for a started service, to those that may use it."""
    app = FastAPI(
        title="pass@kWh",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect would name whatever host the request named
        dependencies=[Depends(access.check)],
    )
    app.add_middleware(MetricsMiddleware, metrics=service.metrics)
    served, model_name = service.served, service.served.names[0]
    listed = {"id": model_name, "object": "model", "created": int(time.time()), "owned_by": "passkwh"}

    def refuse(request: Request, refused: Refused, headers: dict[str, str]) -> Response:
        service.metrics.refused(refused.reason)
        body = openai_api.error(refused) if request.scope["path"].startswith("/v1/") else error_object(refused)
        return JSONResponse(body, refused.status, headers)

    @app.exception_handler(Refused)
    async def refused_request(request: Request, refused: Refused) -> Response:
        headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
        if refused.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if refused.reason in UNREAD:
            headers["Connection"] = "close"
        return refuse(request, refused, headers)

    @app.exception_handler(HTTPException)
    async def no_such_path(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.scope['path'][:200]}: {error.detail}"
        return refuse(request, Refused(error.status_code, message, "invalid"), dict(error.headers or {}))

    @app.exception_handler(ClientDisconnected)
    async def client_disconnected(request: Request, _: ClientDisconnected) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        batcher = service.batcher
        return {"status": "ok", "model": model_name, "waiting": batcher.waiting(), "running": batcher.running()}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=METRICS_TYPE)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [listed]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        served.check_name(model)
        return listed

    async def body_of(request: Request) -> dict[str, Any]:
        return read_json(await read_body(request, served.limits))

    async def huggingface(request: Request, data: dict[str, Any], model: str | None = None) -> Response:
        wanted = huggingface_api.generate(data, served, model)
        return await _respond(service, request, wanted, huggingface_api.HuggingFaceAnswer(wanted))

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        wanted = openai_api.completion(await body_of(request), served)
        return await _respond(service, request, wanted, openai_api.OpenAiAnswer(model_name, wanted, is_chat=False))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        wanted = openai_api.chat(await body_of(request), served)
        return await _respond(service, request, wanted, openai_api.OpenAiAnswer(model_name, wanted, is_chat=True))

    @app.post("/api/generate")
    @app.post("/api/generate/")
    async def generate(request: Request) -> Response:
        data = await body_of(request)
        if "inputs" in data and "prompt" in data:
            raise invalid("inputs and prompt: give inputs (Hugging Face's form) or prompt (Ollama's)", "prompt")
        if "inputs" in data:
            return await huggingface(request, data)
        wanted = ollama_api.generate(data, served)
        return await _respond(service, request, wanted, ollama_api.OllamaAnswer(model_name, request.scope[ARRIVED_NS]))

    # The paths that llm-ls and huggingface_hub make of a base URL.
    @app.post("/")
    @app.post("/generate")
    @app.post("/models/{model:path}")
    @app.post("/api/generate/models/{model:path}")
    async def inputs(request: Request) -> Response:
        return await huggingface(request, await body_of(request), request.path_params.get("model"))

    return app


async def _respond(service: Service, request: Request, wanted: GenerationRequest, answer: Answer) -> Response:
    """Generate and answer, at once or as a stream.

    A stream begins when its first piece is ready: a refusal before that gets an HTTP status of its own.
    """
    # Reading code takes time: not on the thread that answers everybody.
    forms = await asyncio.to_thread(service.text_form.read_all, wanted, service.served.limits)
    request_rows = RequestRows(wanted, forms, service, request.scope[ARRIVED_NS])

    async def cost(rows: Sequence[Finished]) -> Cost:
        return await usage_extension(rows, service.energy) if wanted.usage or service.always_usage else None

    async def pieces() -> AsyncIterator[str]:
        finished: dict[int, Finished] = {}
        async for index, piece in request_rows.events():
            if isinstance(piece, Finished):
                finished[index] = piece
            if (data := answer.piece(index, piece)) is not None:
                yield answer.frame(data)
        rows = [finished[index] for index in sorted(finished)]
        if (data := answer.last(rows, await cost(rows))) is not None:
            yield answer.frame(data)
        if answer.terminator:
            yield answer.terminator

    if not wanted.stream:
        rows = await while_connected(request, request_rows.finished())
        return JSONResponse(answer.whole(rows, await cost(rows)))
    stream = pieces()
    first = await while_connected(request, _next(stream))

    async def text() -> AsyncIterator[str]:
        try:
            yield first
            async for piece in stream:
                yield piece
        except Refused as refused:  # the status has gone out: all that can be done is to say so
            service.metrics.refused(refused.reason)
            yield answer.frame(answer.error(refused))
        finally:
            request_rows.cancel()

    return StreamingResponse(text(), media_type=answer.media_type)


async def _next(stream: AsyncIterator[str]) -> str:
    return await anext(stream)
