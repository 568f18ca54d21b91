"""What a reader of a run's numbers must be warned of, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from passkwh.harness.meter.condition import drift
from passkwh.harness.meter.energies import add
from passkwh.harness.meter.visibility import visibility_notes
from passkwh.harness.runs.table import SampleTable
from passkwh.measures import pass_at_k
from passkwh.records import ChannelTotal, Energy, Manifest

SHORT_WINDOW_S = 10.0
"""Below so much metered time, a counter's steps and clock edges are a visible part of the result."""
BUSY = 0.10
"""CPU use during the idle windows above which the machine was not ours alone."""
KS = (1, 5, 10, 25, 100)
"""The k of pass@k that a summary has, where all tasks have so many samples."""


def _server_notes(manifest: Manifest, samples: SampleTable) -> Iterator[str]:
    """What a server did to the run: asked again, prompts that it had already, fields that it does not take."""
    again = int(samples.retries.sum())
    cached, prompts = (float(np.nansum(tokens)) for tokens in (samples.cached_tokens, samples.prompt_tokens))
    if again:
        yield (
            f"the server was asked again {again} time(s), for {int((samples.retries > 0).sum())} samples: it was busy, "
            "not reached or broke off its answer; what that drew is part of the energy of these samples"
        )
    if cached:
        yield (
            f"{cached / max(1.0, prompts):.0%} of the prompts' tokens were not computed but "
            "taken from the server's cache of earlier requests: their energy is less than that of samples on their own"
        )
    if "temperature" in manifest.model.engine_info:
        yield (
            f"the server does not take temperature {manifest.spec.temperature:g}, so it was left out: "
            + ("decoding is not greedy, " if manifest.spec.temperature == 0 else "")
            + "it is as the server does it by itself"
        )


def run_warnings(
    manifest: Manifest, samples: SampleTable, totals: Sequence[ChannelTotal], metered_s: float, total: Energy
) -> Iterator[str]:
    """What a reader must know before using the numbers of a run; ``metered_s`` and ``total`` are of its summary."""
    for channel in manifest.meter.channels:
        if channel.counted and channel.provenance != "measured":
            note = f" ({channel.note})" if channel.note else ""
            yield (
                f"{channel.name} is {channel.provenance}, not measured: {channel.source}{note}; "
                "`bench doctor` says what would be measured here"
            )
    yield from visibility_notes(manifest.meter, manifest.model)
    if imported := manifest.imported:
        yield f"imported from {imported.origin} ({imported.file}): generated there, and judged here"
    if manifest.model.early_exit.get("hindsight"):
        yield (
            "exit layers are those that would have sufficed, known after the last layer: every token ran through all "
            "layers and every exit was read, so the energy is more than the full model's and not that of early exit"
        )
    if (early_exit := manifest.model.early_exit) and "calibrated_loss" in early_exit:
        yield (
            f"--exit {early_exit['rule']} took the threshold {early_exit['threshold']}, which lost "
            f"{float(early_exit['calibrated_loss']):.1%} of ROUGE-L on {early_exit['calibrated_on']}: a mean over "
            "those files, not a promise for these"
        )
    if metered_s < SHORT_WINDOW_S and not manifest.imported:
        yield (
            f"metered for {metered_s:.1f} s, less than {SHORT_WINDOW_S:.0f} s: the energy is uncertain; "
            "run more tasks (--limit) or more samples (--samples)"
        )
    if total.reason:
        lacking = [(e.channel, add([e.generation, e.evaluation]).reason) for e in totals if e.counted]
        missing_of = [f"{channel} ({reason})" for channel, reason in lacking if reason]
        yield f"the run's energy is missing, for want of {'; '.join(missing_of) or total.reason}"
    busiest = max((session.busy or 0.0 for session in manifest.sessions), default=0.0)
    if busiest > BUSY:
        yield (
            f"the CPUs were {busiest:.0%} busy while idle was measured, more than {BUSY:.0%}: something else ran on "
            "this machine and slowed or heated what was measured; end it and run again with another --out"
        )
    for entry in totals:
        gross_j = add([entry.generation, entry.evaluation]).gross_j
        moved = drift(entry.idle_before, entry.idle_after)
        if entry.counted and gross_j is not None and moved and (warning := moved.warning(metered_s, gross_j)):
            yield warning
    yield from _server_notes(manifest, samples)
    yield from _thinking_warnings(manifest, samples)
    if failures := [failure for failure in samples.failures if failure]:
        yield (
            f"{len(failures)} of {len(samples)} samples failed without a completion (first: {failures[0]}): they count "
            "as failed; choose a model with a longer context, or leave those tasks out"
        )
    missing = int((samples.judged & ~samples.evaluated).sum())
    if missing:
        yield f"{missing} of {len(samples)} samples were not evaluated and count neither way: {samples.first_silent}"
    for k in KS:
        _, reason = pass_at_k(samples.counts(), k)
        if missing and samples.judged.all() and k <= manifest.spec.samples and reason:
            yield f"pass@{k} is missing: {reason}"
    doubted = int(samples.doubted.sum())
    if doubted:
        yield (
            f"{doubted} passes are under suspicion (first: {samples.first_doubt}): pass_at_k counts them, "
            "pass_at_k_trusted does not; look at them in samples.jsonl"
        )
    if len(manifest.sessions) > 1:
        ends = "; ".join(dict.fromkeys(session.ended[:100] for session in manifest.sessions if session.ended))
        why = f" ({ends})" if ends else ""
        times = len(manifest.sessions) - 1
        lost = "; requests lost with a session are charged an equal share" if manifest.spec.concurrency > 1 else ""
        yield f"the run was interrupted and resumed {times} time(s){why}; each session has its own idle{lost}"


def _thinking_warnings(manifest: Manifest, samples: SampleTable) -> Iterator[str]:
    """Of a run with thinking: what was cut, and where it did not go as asked."""
    thought, cut = int(samples.thought.sum()), int(samples.cut_while_thinking.sum())
    if cut:
        limit = manifest.spec.max_new_tokens
        yield (
            f"{cut} of {len(samples)} samples ended while thinking and have no answer, most often for the limit of "
            f"{limit} new tokens: raise --max-new-tokens, or bound the thinking with --thinking TOKENS"
        )
    asked = manifest.spec.thinking
    if asked == "off" and samples.reasoning_tokens[samples.thought].any():
        yield f"--thinking off was asked for, and {thought} of {len(samples)} samples thought all the same"
    elif asked not in ("auto", "off") and not thought:
        yield f"--thinking {asked} was asked for, and no sample thought: the energy is that of answers alone"
