"""Completions of a run in batches, each between two marks, and the short ones before them that settle the machine."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from passkwh.adapters.engines.base import Completion, Decoding, SupportsTeacherForcing
from passkwh.benchmarks.base import Benchmark
from passkwh.harness.items import Item
from passkwh.harness.sessions import RunSession
from passkwh.prompts import ChatPrompt, TextPrompt
from passkwh.records import Sample, Window
from passkwh.units import ns_to_s

WARMUP_CV = 0.05
"""Warm-up ends when the last three batch latencies vary by less than this (standard deviation / mean) ..."""
WARMUP_BATCHES = 10
"""... or after so many batches."""
WARMUP_TOKENS = 16
"""Warm-up completions are short: they exist to settle clocks, caches and lazy kernels, not to be scored."""


def decoding_of(session: RunSession) -> Decoding:
    """How the completions of a run are drawn."""
    spec = session.spec
    assert spec.max_new_tokens is not None  # filled in by plan()
    stops = stop_strings(session.benchmark, session.model.info.chat)
    return Decoding(spec.max_new_tokens, spec.temperature, spec.top_p, stops)


def stop_strings(benchmark: Benchmark, chat: bool) -> tuple[str, ...]:
    """What ends a completion of any of the benchmark's tasks, in order, each once."""
    return tuple({text: None for task in benchmark.tasks for text in task.request.stops(chat)})


def warm_up(session: RunSession, batch: Sequence[Item], decoding: Decoding) -> None:
    """Short batches until their latency settles; recorded as windows, never counted.

    Their prompts begin otherwise than the run's, so that an engine that keeps what it has computed of a prompt (a
    prefix cache) does not know those of the run.
    """
    short = replace(decoding, max_new_tokens=WARMUP_TOKENS)
    latencies_s: list[float] = []
    while len(latencies_s) < WARMUP_BATCHES:
        session.report_progress("warming up", len(latencies_s), WARMUP_BATCHES)
        start_ns = session.recorder.mark()
        run_batch(session, [_other_prompt(item, len(latencies_s)) for item in batch], short)
        window = session.window("warmup", start_ns)
        session.recorder.flush()
        session.note(window)
        latencies_s.append(ns_to_s(window.end_ns - window.start_ns))
        recent = latencies_s[-3:]
        if len(recent) == 3 and statistics.stdev(recent) < WARMUP_CV * statistics.mean(recent):
            return


def _other_prompt(item: Item, number: int) -> Item:
    """The item with another prompt, of about the same length and never more tokens."""
    mark = f"# warm-up {number}:\n"

    def other(text: str) -> str:
        return mark + text[4 * len(mark) :]  # no tokenizer makes more of the mark than of four times as many characters

    prompt = item.prompt
    if isinstance(prompt, ChatPrompt):
        return replace(item, prompt=replace(prompt, user=other(prompt.user)))
    request = replace(item.task.request, text=other(item.task.request.text))
    return replace(item, prompt=TextPrompt(other(prompt.text)), task=replace(item.task, request=request))


def run_batch(session: RunSession, batch: Sequence[Item], decoding: Decoding) -> list[Completion]:
    """What the model makes of a batch: completions, or the answers of teacher forcing where tasks ask for that."""
    if all(item.task.request.forced for item in batch):
        assert isinstance(session.model, SupportsTeacherForcing)  # checked when the model was loaded
        return session.model.teacher_force([item.task.request.text for item in batch])
    return session.model.generate([item.prompt for item in batch], decoding, [item.seed for item in batch])


def generate_batches(
    session: RunSession, items: Sequence[Item], done: Collection[str], decoding: Decoding
) -> Iterator[Sample]:
    """Samples of the batches that are not whole in ``done`` (keys), as they are stored, after warming up."""
    size = session.spec.batch_size
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    # A batch is made whole or not at all: a half-written one would come back with other padding.
    pending = [number for number, batch in enumerate(batches) if any(item.key not in done for item in batch)]
    if pending:
        warm_up(session, batches[pending[0]], decoding)
    for count, number in enumerate(pending):
        session.report_progress("generating", len(items) - sum(len(batches[n]) for n in pending[count:]), len(items))
        yield from _generate_batch(session, number, batches[number], decoding)


def _generate_batch(session: RunSession, number: int, batch: Sequence[Item], decoding: Decoding) -> list[Sample]:
    """Complete a batch between two marks and append its samples."""
    start_ns = session.recorder.mark()
    completions = run_batch(session, batch, decoding)
    window = session.window("generate", start_ns).model_copy(update={"batch_id": number})
    samples = [
        sample_of(item, completion, window, len(batch)) for item, completion in zip(batch, completions, strict=True)
    ]
    session.recorder.flush()  # the trace reaches the disk before the samples whose energy is in it
    return session.folder.append(samples)


def sample_of(item: Item, completion: Completion, window: Window, batch_size: int) -> Sample:
    """A completion as it is stored, still without score and energies."""
    first_ns = completion.first_token_ns
    assert window.batch_id is not None
    return Sample(
        key=item.key,
        task_id=item.task.task_id,
        sample_index=item.sample_index,
        order=item.order,
        batch_id=window.batch_id,
        batch_size=batch_size,
        seed=item.seed,
        prompt_tokens=completion.prompt_tokens,
        cached_tokens=completion.cached_tokens,
        retries=completion.retries,
        completion_tokens=completion.completion_tokens,
        text=completion.text,
        reasoning=completion.reasoning,
        finish_reason=completion.finish_reason,
        failure=completion.failure,
        latency_s=ns_to_s(window.end_ns - window.start_ns),
        ttft_s=None if first_ns is None else ns_to_s(first_ns - window.start_ns),
        exit_layers=completion.exit_layers,
        drafts=completion.drafts,
        generation=window,
    )
