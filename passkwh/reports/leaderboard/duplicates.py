"""One run in several packs: a copy counts once, and a copy that says something else than the other is held with it.

A run is known by what cannot be the same in another one: how long each of its batches took, to the nanosecond, and how
many tokens it wrote meanwhile. Names, labels, keys and the clock can be changed in a copy; whoever changes the length
of most windows has to make up a trace for them.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from passkwh.harness.runs.folder import MANIFEST, SAMPLES
from passkwh.harness.runs.table import SampleTable
from passkwh.records import Record, content_hash
from passkwh.reports.leaderboard.findings import Finding, error

MARKS = 64
"""So many batches of a run stand for all: those with the smallest hashes, which are the same ones in every copy."""
SAME = 0.25
"""Two packs hold one run when they share this part of the marks of the one that has fewer."""


class Fingerprint(Record):
    """What a pack's run is known by."""

    content: str = ""
    """Hash of all parts of the pack: equal for equal packs."""
    marks: tuple[str, ...] = ()
    """Hashes of some of its batches."""


NO_FINGERPRINT = Fingerprint()
"""Of a pack that cannot be read."""


def fingerprint_of(members: Mapping[str, bytes], samples: SampleTable) -> Fingerprint:
    """The fingerprint of a pack's parts."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    spans = samples.generation
    tokens = np.nan_to_num(samples.completion_tokens, nan=-1).astype(np.int64)
    rows = np.stack([samples.batch, spans.end_ns - spans.start_ns, tokens], axis=1)
    rows = rows[np.lexsort(rows.T[::-1])]
    batches = np.split(rows[:, 1:], np.flatnonzero(np.diff(rows[:, 0])) + 1)
    marks = sorted({hashlib.sha256(batch.tobytes()).hexdigest()[:16] for batch in batches})[:MARKS]
    return Fingerprint(content=content_hash(sums), marks=tuple(marks))


def duplicates(valid: Sequence[tuple[Path, Fingerprint]]) -> dict[Path, Finding]:
    """Of packs those that do not count because another one holds their run, each with a finding.

    Of equal packs the first by name counts. Of packs that hold one run and differ none does: which of them is the
    original cannot be seen from them, and the one that is not must not take the other's place.
    """
    packs = sorted(valid, key=lambda pack: (pack[0].name, str(pack[0])))
    refused: dict[Path, Finding] = {}
    for run in _of_one_run([fingerprint for _, fingerprint in packs]):
        paths = [packs[place][0] for place in run]
        differ = len({packs[place][1].content for place in run}) > 1
        for path in paths[0 if differ else 1 :]:
            others = ", ".join(other.name for other in paths if other != path)[:200] or paths[0].name
            if differ:
                fix = "withdraw all but the original: packs of one run that say different things are all held"
                refused[path] = error(MANIFEST, "", f"holds the same generations as {others}, and differs from it", fix)
            else:
                seen = f"holds the same generations as {paths[0].name}"
                refused[path] = error(SAMPLES, "", seen, "submit a run once; make repeats with --repeats")
    return refused


def same_run(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether two packs hold one run."""
    return _enough(len(set(a.marks) & set(b.marks)), a, b)


def _enough(shared: int, a: Fingerprint, b: Fingerprint) -> bool:
    return shared > 0 and shared >= SAME * min(len(a.marks), len(b.marks))


def _of_one_run(fingerprints: Sequence[Fingerprint]) -> list[list[int]]:
    """Places of packs that hold one run, of every run that stands in several."""
    run_of = list(range(len(fingerprints)))
    having: defaultdict[str, list[int]] = defaultdict(list)
    for place, fingerprint in enumerate(fingerprints):
        shared = Counter(other for mark in fingerprint.marks for other in having[mark])
        joined = {run_of[other] for other, count in shared.items() if _enough(count, fingerprint, fingerprints[other])}
        if joined:
            run_of = [min(joined) if run in joined or run == place else run for run in run_of]
        for mark in fingerprint.marks:
            having[mark].append(place)
    runs: defaultdict[int, list[int]] = defaultdict(list)
    for place, run in enumerate(run_of):
        runs[run].append(place)
    return [run for run in runs.values() if len(run) > 1]
