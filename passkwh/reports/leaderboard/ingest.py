"""From files to packs: each is checked once, and what checking found out is kept by the content of the file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from passkwh.analysis.conventions import OURS, Convention, applied
from passkwh.analysis.frames import Run, generation_only
from passkwh.clean import one_line
from passkwh.errors import UsageError
from passkwh.harness.runs.table import SampleTable
from passkwh.records import Manifest, Summary, content_hash
from passkwh.reports.leaderboard.cache import Cache
from passkwh.reports.leaderboard.duplicates import NO_FINGERPRINT, Fingerprint, duplicates
from passkwh.reports.leaderboard.escape import escaped
from passkwh.reports.leaderboard.findings import Finding
from passkwh.reports.leaderboard.pack import Problem, read_file
from passkwh.reports.leaderboard.parse import Submission, short
from passkwh.reports.leaderboard.picture import power_picture
from passkwh.reports.leaderboard.validate import validate
from passkwh.reports.leaderboard.workers import Workers

MESSAGE_CHARACTERS = 160
"""So much of a failure's message is shown."""


@dataclass(frozen=True)
class Pack:
    """A pack as it was inspected: refused with errors, or a run to be shown."""

    path: Path
    sha256: str
    findings: tuple[Finding, ...]
    fingerprint: Fingerprint
    run: Run | None = None
    picture: str = ""
    """Of its power over time: SVG, escaped."""


def inspect(given: Sequence[Path], cache: Cache, workers: Workers, by: Convention = OURS) -> list[Pack]:
    """Check packs, those that were checked before by looking up; a run that stands in two is refused in the later.

    Energies of what is valid are ``by`` a convention, and kept by it.
    """
    paths = sorted(dict.fromkeys(given), key=lambda path: (path.name, str(path)))
    with ThreadPoolExecutor(workers.count) as threads:  # hashing needs no interpreter
        read = dict(zip(paths, threads.map(_sum, paths), strict=True))
    unread = [Pack(path, "", (it,), NO_FINGERPRINT) for path, it in read.items() if isinstance(it, Finding)]
    sums = [key for key in read.values() if isinstance(key, str)]
    paths = [path for path, key in read.items() if isinstance(key, str)]
    known = {key: value for key in set(sums) if (value := cache.get("packs", _key(key, by))) is not None}
    todo = {key: path for key, path in zip(sums, paths, strict=True) if key not in known}
    jobs = [(path, key) for key, path in todo.items()]
    known |= zip(todo, workers.map(partial(_inspect, cache, by), jobs, "check packs"), strict=True)
    packs = [_pack(path, key, known[key], by) for path, key in zip(paths, sums, strict=True)]
    again = duplicates([(pack.path, pack.fingerprint) for pack in packs if pack.run is not None])
    return [
        replace(pack, findings=(*pack.findings, again[pack.path]), run=None) if pack.path in again else pack
        for pack in [*packs, *unread]
    ]


def statistics(cache: Cache, pack: Pack) -> pa.Table:
    """What the board needs of a pack's samples: see ``_statistics``."""
    by = OURS if pack.run is None else pack.run.convention
    table = cache.get_table("columns", _key(pack.sha256, by))
    if table is None:  # the cache was tidied by hand
        _inspect(cache, by, (pack.path, pack.sha256))
        table = cache.get_table("columns", _key(pack.sha256, by))
    return table


def _key(sha256: str, by: Convention) -> str:
    return sha256 if by == OURS else content_hash(sha256, by.name)


def _sum(path: Path) -> str | Finding:
    """SHA-256 of a pack, or why it is none."""
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except Problem as problem:
        return problem.finding


def _inspect(cache: Cache, by: Convention, job: tuple[Path, str]) -> dict[str, Any]:
    """What checking a pack finds out, put into the cache with the statistics of its samples."""
    path, sha256 = job
    checked = validate(path)
    if checked.sha256 and checked.sha256 != sha256:
        raise UsageError(f"{path} changed while the board was built: build again")
    facts: dict[str, Any] = {
        "findings": [finding.model_dump() for finding in checked.findings],
        "fingerprint": checked.fingerprint.model_dump(),
    }
    if checked.submission is not None and checked.valid:
        manifest, samples = checked.submission.manifest, checked.submission.samples
        facts["picture"] = _picture(checked.submission)
        manifest, summary, stand_in = applied(manifest, checked.submission.summary, by)
        facts |= {"manifest": manifest.model_dump(mode="json"), "summary": summary.model_dump(mode="json")}
        facts["stand_in"] = stand_in
        cache.put_table("columns", _key(sha256, by), _statistics(manifest, samples, by))
    cache.put("packs", _key(sha256, by), facts)
    return facts


def _picture(submission: Submission) -> str:
    """Power over time as SVG, or a sentence that says why there is none."""
    try:
        return power_picture(submission.manifest, submission.samples, submission.trace_table)
    except (ArithmeticError, ValueError, LookupError) as problem:
        return f"<p>The power over time could not be drawn ({escaped(short(problem))}).</p>"


def _statistics(manifest: Manifest, samples: SampleTable, by: Convention) -> pa.Table:
    """A row a sample, in order: what statistics of a board need, and the verdict in words.

    Where a convention takes net energy, that stands in the columns of gross: a board ranks by one energy.
    """
    counted = [channel.name for channel in manifest.meter.channels if channel.counted]
    columns = ["task_id", "order", "batch_id", "batch_size", "completion_tokens", "generation_s", "passed",
               "generation_gross_j", "generation_se_j", "gross_j"]  # fmt: skip
    messages = [one_line(text[: 4 * MESSAGE_CHARACTERS], MESSAGE_CHARACTERS) for text in samples.detail]
    in_flight_s = samples.measured.length_s() if manifest.spec.concurrency > 1 else None
    table = samples.statistics(counted, in_flight_s)
    table = table if by.scoring else generation_only(table)
    if by.energy == "net":
        for name in ("generation_gross_j", "gross_j"):
            table = table.set_column(table.schema.get_field_index(name), name, table[name.replace("gross", "net")])
    table = table.select(columns)
    return table.append_column("status", pa.array(samples.status, pa.string())).append_column(
        "message", pa.array(messages, pa.string())
    )


def _pack(path: Path, sha256: str, facts: dict[str, Any], by: Convention) -> Pack:
    findings = tuple(Finding.model_validate(finding) for finding in facts["findings"])
    fingerprint = Fingerprint.model_validate(facts["fingerprint"])
    if "manifest" not in facts:
        return Pack(path, sha256, findings, fingerprint)
    manifest, summary = Manifest.model_validate(facts["manifest"]), Summary.model_validate(facts["summary"])
    run = Run(path, manifest, summary, convention=by, convention_note=facts.get("stand_in"))
    return Pack(path, sha256, findings, fingerprint, run, facts["picture"])
