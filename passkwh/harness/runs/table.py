"""The one table of a run's samples: what integration, statistics and the board compute with.

The Arrow table (:mod:`columns <passkwh.harness.runs.columns>` has its schema, :mod:`lines <passkwh.harness.runs.lines>`
reads it) with arrays of what is computed from it, each made when it is first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from passkwh.harness.meter.energies import Spans
from passkwh.harness.meter.series import Bools, Floats, Ints
from passkwh.harness.runs import lines
from passkwh.harness.runs.columns import TAKEN_AS_THEY_ARE, table_of, whole
from passkwh.records import Sample, Window
from passkwh.units import NS_PER_MS

SCORED = ("pass", "fail", "timeout", "error")
"""Outcomes that count; a sample that was not evaluated counts neither way."""
KINDS: tuple[str, ...] = tuple(sorted(get_args(Window.model_fields["kind"].annotation)))
"""Kinds of windows; ``generation_kind`` and ``evaluation_kind`` are places in it."""
NO_BATCH = -(2**63)
"""Stands for the batch of a window that names none."""


class StatedEnergy(NamedTuple):
    """Energies of one channel as the samples state them, shape (n,): NaN where a value, or the channel, is missing."""

    is_stated: Bools
    gross_j: Floats
    net_j: Floats
    se_j: Floats
    """Standard error of gross."""


def _integers(name: str) -> cached_property[Ints]:
    """A column of integers as it stands."""
    return cached_property(lambda samples: _ints(samples._column(name)))


def _numbers(name: str) -> cached_property[Floats]:
    """A column of numbers as it stands, NaN where missing."""
    return cached_property(lambda samples: _floats(samples._column(name)))


@dataclass(frozen=True)
class SampleTable:
    """Samples in the order of their ``order``: the Arrow table, and arrays of shape (n,) of what is computed with."""

    table: pa.Table

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> SampleTable:
        """From records, in any order.

        Raises:
            OverflowError: for an integer of more than 64 bits.
        """
        return cls(table_of(samples))

    @classmethod
    def parse(
        cls, content: bytes, bounds: lines.Bounds = lines.UNBOUNDED, counted: Sequence[str] | None = None
    ) -> SampleTable:
        """From JSON lines, one sample a line, in any order.

        With ``counted`` channels only what :meth:`statistics` of these takes is checked, and the rest is not looked at
        unless anything is out of the ordinary: it takes a fifth less time.

        Raises:
            NotASample: for a line that is none, or exceeds ``bounds``.
        """
        return cls(lines.parse(content, bounds, counted))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def keys(self) -> list[str]:
        """Of the samples."""
        return list(self._column("key").to_pylist())

    @property
    def distinct_keys(self) -> int:
        """As many as samples, unless one stands more than once."""
        return int(pc.count_distinct(self._column("key")).as_py())

    @cached_property
    def tasks(self) -> list[str]:
        """Task of each sample, by name."""
        return list(self._column("task_id").to_pylist())

    @cached_property
    def task(self) -> Ints:
        """Number of the task, from 0, in order of appearance."""
        return _numbered(self._column("task_id"))

    @cached_property
    def batch(self) -> Ints:
        """Number of the batch, from 0, in order of appearance."""
        return _numbered(self._column("batch_id"))

    @cached_property
    def firsts(self) -> Ints:
        """Position of the first sample of each batch."""
        return np.asarray(np.unique(self.batch, return_index=True)[1], np.int64)

    order = _integers("order")
    """Place in time within the run."""
    sample_index = _integers("sample_index")
    """Place among the samples of the task."""
    batch_id = _integers("batch_id")
    """The batch as the sample names it."""
    batch_size = _integers("batch_size")
    """Samples that were generated together with this one, itself too."""

    @cached_property
    def measured(self) -> Spans:
        """What was measured at once, shape (batches,): a batch's window, or from the first begin to the last end of
        requests that were in flight together."""
        start_ns, end_ns = self.generation.start_ns[self.firsts], self.generation.end_ns[self.firsts]
        np.minimum.at(start_ns, self.batch, self.generation.start_ns)
        np.maximum.at(end_ns, self.batch, self.generation.end_ns)
        return Spans(self.generation.session[self.firsts], start_ns, end_ns)

    # ------------------------------------------------------------ generation

    prompt_tokens = _numbers("prompt_tokens")
    """Tokens of the prompt; NaN where another tool counted none."""
    completion_tokens = _numbers("completion_tokens")
    """Tokens of the completion; NaN where another tool counted none."""
    cached_tokens = _numbers("cached_tokens")
    """Prompt tokens that a server had from an earlier request; NaN where not known."""
    retries = _integers("retries")
    """How often a server was asked again."""
    latency_s = _numbers("latency_s")
    """Length of the generation window; NaN where another tool timed none."""
    ttft_s = _numbers("ttft_s")
    """Time to the first token; NaN where not known."""

    @cached_property
    def arrivals_ns(self) -> list[Ints]:
        """Of each sample when pieces of its answer came, on its session's clock; empty where that is not known."""
        steps, starts_ns = self._column("arrivals_ms").to_pylist(), self.generation.start_ns
        return [s + NS_PER_MS * np.cumsum(own or [], dtype=np.int64) for s, own in zip(starts_ns, steps, strict=True)]

    @cached_property
    def exit_layers(self) -> Ints:
        """Of all tokens of all samples, where known."""
        return _ints(self._column("exit_layers").flatten())

    @cached_property
    def drafted(self) -> Ints:
        """Tokens that were drafted for each pass of the whole model after the prompts', of all samples, where known."""
        return _ints(pc.struct_field(self._column("drafts"), "drafted").flatten())

    @cached_property
    def accepted(self) -> Ints:
        """Of ``drafted``, pass by pass, those that were right."""
        return _ints(pc.struct_field(self._column("drafts"), "accepted").flatten())

    @cached_property
    def thought(self) -> Bools:
        """Whether the sample has a thinking phase."""
        return _valid(self._column("reasoning"))

    @cached_property
    def reasoning_tokens(self) -> Floats:
        """Tokens of thinking: 0 where there was none, NaN where they were not counted."""
        return np.where(self.thought, _floats(pc.struct_field(self._column("reasoning"), "tokens")), 0.0)

    @cached_property
    def reasoning_end_ns(self) -> Ints:
        """When thinking had ended; that of the sample's window where it did not, and -1 where that is not known."""
        column = self._column("reasoning")
        ended = _valid(pc.struct_field(column, "ended_by"))
        known = _ints(pc.fill_null(pc.struct_field(column, "end_ns"), -1))
        return np.where(ended, known, self.generation.end_ns)

    @cached_property
    def cut_while_thinking(self) -> Bools:
        """Whether the sample ended before its thinking did."""
        return self.thought & ~_valid(pc.struct_field(self._column("reasoning"), "ended_by"))

    @cached_property
    def failures(self) -> list[str]:
        """Why there is no completion; empty where there is one."""
        return [str(failure) for failure in self._column("failure").to_pylist()]

    @cached_property
    def generation(self) -> Spans:
        """Of every sample its window, which members of a batch have in common."""
        return _spans(self._column("generation"))

    @cached_property
    def generation_kind(self) -> Ints:
        """Kind of the generation window, as its place in ``KINDS``."""
        return _kinds(self._column("generation"))

    @cached_property
    def generation_batch(self) -> Ints:
        """The batch that the generation window names, or ``NO_BATCH``."""
        return _ints(pc.fill_null(self._column("generation").field("batch_id"), NO_BATCH))

    # ------------------------------------------------------------ evaluation

    @cached_property
    def is_scored(self) -> Bools:
        """Whether the sample has an evaluation window."""
        return _valid(self._column("evaluation"))

    @cached_property
    def scored(self) -> Ints:
        """Positions of the samples that were scored, shape (m,)."""
        return np.flatnonzero(self.is_scored)

    @cached_property
    def evaluation(self) -> Spans:
        """Of the scored samples, shape (m,)."""
        return _spans(self._column("evaluation").drop_null())

    @cached_property
    def evaluation_kind(self) -> Ints:
        """Of the scored samples, shape (m,): the kind of window, as its place in ``KINDS``."""
        return _kinds(self._column("evaluation").drop_null())

    @cached_property
    def evaluation_cpu_s(self) -> Floats:
        """Of the scored samples, shape (m,); 0 where not known."""
        return np.nan_to_num(_floats(self._column("evaluation_cpu_s"))[self.scored])

    @cached_property
    def status(self) -> list[str | None]:
        """Of the verdict; None where there is none."""
        return list(self._verdict("status").to_pylist())

    @cached_property
    def detail(self) -> list[str]:
        """Of the verdict; empty where there is none."""
        return [text or "" for text in self._verdict("detail").to_pylist()]

    @cached_property
    def judged(self) -> Bools:
        """Whether there is a verdict, be it that nothing was evaluated."""
        return _valid(self._column("verdict"))

    @cached_property
    def evaluated(self) -> Bools:
        """Whether the outcome counts."""
        return _bools(pc.is_in(self._verdict("status"), pa.array(SCORED)))

    @cached_property
    def passed(self) -> Bools:
        """Whether the sample passed."""
        return _bools(pc.fill_null(pc.equal(self._verdict("status"), "pass"), False))

    @cached_property
    def doubted(self) -> Bools:
        """Passes under suspicion."""
        return self.passed & (_ints(pc.fill_null(pc.list_value_length(self._verdict("suspect")), 0)) > 0)

    @property
    def first_silent(self) -> str:
        """Why the first sample that was not evaluated was not; empty where all were."""
        silent = np.flatnonzero(self.judged & ~self.evaluated)
        return self.detail[silent[0]] if len(silent) else ""

    @property
    def first_doubt(self) -> str:
        """Why the first pass under suspicion is; empty where none is."""
        doubted = np.flatnonzero(self.doubted)
        return str(self._verdict("suspect")[int(doubted[0])][0].as_py()) if len(doubted) else ""

    def counts(self, *, trusted: bool = False) -> list[tuple[int, int]]:
        """(evaluated samples, passes) of each task; what was not evaluated counts neither way."""
        passed = self.passed & ~self.doubted if trusted else self.passed
        evaluated = np.bincount(self.task[self.evaluated])
        passes = np.bincount(self.task[passed], minlength=len(evaluated))
        return [(n, c) for n, c in zip(evaluated.tolist(), passes.tolist(), strict=True) if n]

    def windows(self) -> list[tuple[int, str, int, int]]:
        """Session, kind, start and end (ns) of every window of generating and of scoring, each once."""
        both = ((self.generation_kind, self.generation), (self.evaluation_kind, self.evaluation))
        rows = [np.stack([spans.session, kind, spans.start_ns, spans.end_ns], axis=1) for kind, spans in both]
        distinct = np.unique(np.concatenate(rows), axis=0).tolist()
        return [(session, KINDS[kind], start_ns, end_ns) for session, kind, start_ns, end_ns in distinct]

    # ------------------------------------------------------------ energies

    def channels(self, part: str) -> list[str]:
        """Channels of which some sample states an energy; ``part`` is a column of ``ENERGIES``."""
        kind = self.table.schema.field(part).type
        return [kind.field(i).name for i in range(kind.num_fields)]

    def energy(self, part: str, channel: str) -> StatedEnergy | None:
        """Energies of one channel; None where no sample states one."""
        if channel not in self.channels(part):
            return None
        values = self._column(part).field(channel)
        gross_j, net_j, se_j = (_floats(pc.struct_field(values, name)) for name in ("gross_j", "net_j", "se_j"))
        return StatedEnergy(_valid(values), gross_j, net_j, se_j)

    def channels_stated(self, part: str) -> Ints:
        """How many channels each sample states."""
        count = np.zeros(len(self), dtype=np.int64)
        for channel in self.channels(part):
            if (stated := self.energy(part, channel)) is not None:
                count += stated.is_stated
        return count

    def _counted_j(self, part: str, counted: Sequence[str]) -> tuple[Floats, Floats, Floats]:
        """Gross and net energy over the counted channels and the standard error of gross: NaN where one is missing."""
        stated = [one for channel in counted if (one := self.energy(part, channel)) is not None]
        if not counted or len(stated) < len(counted):
            return np.full(len(self), np.nan), np.full(len(self), np.nan), np.full(len(self), np.nan)
        gross_j, net_j = np.sum([[one.gross_j, one.net_j] for one in stated], axis=0)
        return gross_j, net_j, np.sqrt(np.sum([one.se_j**2 for one in stated], axis=0))

    # ------------------------------------------------------------ what statistics use

    def statistics(self, counted: Sequence[str], in_flight_s: float | None = None) -> pa.Table:
        """A row a sample with the columns of :class:`passkwh.analysis.frames.Frames` but ``run``.

        Energies are over the channels in ``counted``, missing where that of any of these is; ``generation_s`` is the
        sample's share of its batch or, of a run with requests in flight for ``in_flight_s``, its share of that, by
        latency; ``passed`` is 1, 0, or missing where there is no verdict that counts.
        """
        generation_s = self.latency_s / self.batch_size
        if in_flight_s is not None:
            generation_s = self.latency_s * (in_flight_s / self.latency_s.sum())
        generation_gross_j, generation_net_j, generation_se_j = self._counted_j("generation_energy", counted)
        evaluation_gross_j, evaluation_net_j, _ = self._counted_j("evaluation_energy", counted)
        columns = {name: self._column(name) for name in TAKEN_AS_THEY_ARE}
        for name in ("sample_index", "batch_size"):
            columns[name] = columns[name].cast(pa.int32())
        return pa.table(
            {
                **columns,
                "generation_s": generation_s,
                "ttft_s": self.ttft_s,
                "reasoning_tokens": self.reasoning_tokens,
                "passed": np.where(self.evaluated, self.passed.astype(np.float64), np.nan),
                "generation_gross_j": generation_gross_j,
                "generation_net_j": generation_net_j,
                "generation_se_j": generation_se_j,
                "evaluation_gross_j": evaluation_gross_j,
                "evaluation_net_j": evaluation_net_j,
                "gross_j": generation_gross_j + np.where(self.is_scored, evaluation_gross_j, 0.0),
                "net_j": generation_net_j + np.where(self.is_scored, evaluation_net_j, 0.0),
            }
        )

    def _column(self, name: str) -> pa.Array:
        return whole(self.table[name])

    def _verdict(self, name: str) -> pa.Array:
        """A field of the verdict, null where there is none."""
        return pc.struct_field(self._column("verdict"), name)


def whole_sum(counts: Floats) -> int | None:
    """Sum of counts; None where one is missing: a sum with a hole in it is not a sum.

    >>> whole_sum(np.array([2.0, 3.0])), whole_sum(np.array([2.0, np.nan]))
    (5, None)
    """
    total = float(counts.sum())
    return None if np.isnan(total) else int(total)


# ---------------------------------------------------------------- arrow to numpy


def _numbered(values: pa.Array) -> Ints:
    """Equal values as equal numbers, from 0 in order of appearance."""
    return _ints(values.dictionary_encode().indices)


def _kinds(windows: pa.Array) -> Ints:
    return _ints(pc.index_in(windows.field("kind"), pa.array(KINDS)))


def _ints(values: pa.Array) -> Ints:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.int64)


def _floats(values: pa.Array) -> Floats:
    """NaN where missing."""
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _bools(values: pa.Array) -> Bools:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)


def _valid(values: pa.Array) -> Bools:
    return _bools(values.is_valid())


def _spans(windows: pa.Array) -> Spans:
    session, start_ns, end_ns = (_ints(windows.field(name)) for name in ("session", "start_ns", "end_ns"))
    return Spans(session, start_ns, end_ns)
