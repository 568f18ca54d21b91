"""What the service has done, in Prometheus's text form: requests, refusals, tokens, joules, queue, latency."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)

from passkwh.records import ChannelInfo, Energy, ModelInfo

LATENCY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one service; safe to use from any thread."""

    def __init__(self, model: str, info: ModelInfo, waiting: Callable[[], int], queue_limit: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each that nobody asks for
        registry = CollectorRegistry()
        self._registry = registry
        served = Info("passkwh_model", "The model that is served", registry=registry)
        served.info({"name": model, "adapter": info.adapter, "quant": info.quant, "device": info.device})
        queue = Gauge("passkwh_queue_length", "Completions that wait for the model", registry=registry)
        queue.set_function(waiting)
        limit = Gauge("passkwh_queue_limit", "Completions that may wait", registry=registry)
        limit.set(queue_limit)
        self._requests = Counter(
            "passkwh_requests", "Requests answered, by path and HTTP status", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "passkwh_request_seconds", "From a request's arrival to the end of its answer", ["path"],
            buckets=LATENCY_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "passkwh_refused", "Requests refused or failed, by reason", ["reason"], registry=registry
        )
        self._prompt_tokens = Counter("passkwh_prompt_tokens", "Prompt tokens processed", registry=registry)
        self._completion_tokens = Counter("passkwh_completion_tokens", "Tokens generated", registry=registry)
        self._batch_size = Histogram(
            "passkwh_batch_size", "Completions generated together", buckets=BATCH_BUCKETS, registry=registry
        )
        self._joules = Counter(
            "passkwh_energy_joules",
            "Gross energy while completions were generated; add up the channels with counted=true",
            ["channel", "provenance", "counted"],
            registry=registry,
        )
        self._missing = Counter(
            "passkwh_energy_missing", "Batches whose energy could not be known", ["channel"], registry=registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """A request was answered in full, or its client had gone (499)."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def refused(self, reason: str) -> None:
        """A request was not carried out."""
        self._refused.labels(reason).inc()

    def generated(self, rows: int, prompt_tokens: int, completion_tokens: int) -> None:
        """A batch was generated, also for clients that had gone by then."""
        self._batch_size.observe(rows)
        self._prompt_tokens.inc(prompt_tokens)
        self._completion_tokens.inc(completion_tokens)

    def energy(self, channel: ChannelInfo, energy: Energy) -> None:
        """What a batch drew on a channel."""
        if energy.gross_j is None:
            self._missing.labels(channel.name).inc()
        else:
            # A reconstruction may come out a hair below zero; a counter cannot fall.
            counted = "true" if channel.counted else "false"
            self._joules.labels(channel.name, channel.provenance, counted).inc(max(energy.gross_j, 0.0))

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)
