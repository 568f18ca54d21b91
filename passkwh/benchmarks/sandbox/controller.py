"""Running many jobs on zygotes: longest first, as many at a time as there are workers, each outcome streamed."""

from __future__ import annotations

import os
import secrets
import selectors
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from passkwh.benchmarks.sandbox import verdict
from passkwh.benchmarks.sandbox.cgroup import ControlGroups
from passkwh.benchmarks.sandbox.imports import group_of, libraries
from passkwh.benchmarks.sandbox.jobs import STANDARD_LIBRARY, Job, Limits, Outcome, PreloadGroup
from passkwh.benchmarks.sandbox.worker import uses
from passkwh.benchmarks.sandbox.zygote_chain import ZygoteChain
from passkwh.errors import UsageError

MAX_SLEEPERS = 6
_LONG_S = 3.0
_ATTEMPTS = 2
_LATE_S = 15.0
_BYTE_ORDER_MARK = "\ufeff"


def evaluate(
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    python: Path | None = None,
    preload_groups: Sequence[PreloadGroup] = (STANDARD_LIBRARY,),
    limits: Limits | None = None,
    unsafe: bool = False,
) -> Iterator[Outcome]:
    """Judge ``jobs``, yielding each outcome as soon as it is known, every key exactly once, in any order.

    ``python`` is the interpreter of the environment the jobs run in (this one when None), ``workers`` how many run at
    a time (one per core when None). Closing the iterator ends all processes.

    Raises UsageError where the kernel refuses a layer of the isolation, unless ``unsafe`` accepts that, and on other
    systems than Linux.
    """
    if sys.platform != "linux":
        raise UsageError("generated code can be judged on Linux only: score this run there with `bench score`")
    workers = workers or default_workers()
    if len({job.key for job in jobs}) != len(jobs):
        raise ValueError("keys of jobs must be unique")
    work = []
    python = python or Path(sys.executable)
    for job in jobs:
        if job.code.startswith(_BYTE_ORDER_MARK):  # Python skips it in files, not in text
            job = replace(job, code=job.code[len(_BYTE_ORDER_MARK) :])
        broken = None if job.kind == "commands" else _syntax_error(job)
        if broken is None:
            work.append(job)
        else:
            yield broken
    if work:
        controller = _Controller(work, workers, python, preload_groups, limits or default_limits(workers), unsafe)
        try:
            yield from controller.run()
        finally:
            controller.stop()


def default_workers() -> int:
    """One for each core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_limits(workers: int) -> Limits:
    """Three quarters of this machine's memory, shared by the workers, at most the official 30 GiB each."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory_bytes = max(1 << 30, min(30 << 30, total * 3 // 4 // workers >> 28 << 28))
    return Limits(memory_bytes, processes=64 + 4 * default_workers())  # libraries start threads by the number of cores


def _preload_group(job: Job, groups: Sequence[PreloadGroup]) -> int:
    """Index of the group whose zygote runs the job; programs of their own import nothing of ours."""
    return 0 if job.kind in ("stdio", "commands") else group_of(libraries(job.code + "\n" + job.test), groups)


_uses = lru_cache(maxsize=2048)(uses.of)


def _syntax_error(job: Job) -> Outcome | None:
    """The outcome of a job that cannot be compiled, found without a process."""
    start_ns, start_cpu = time.monotonic_ns(), time.thread_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(job.code + "\n" + job.test, "__test__.py", "exec", dont_inherit=True)
        return None
    except (SyntaxError, ValueError) as error:
        detail = f"ALL: {type(error).__name__}: {error}"
    except (RecursionError, MemoryError, OverflowError):
        return None  # the limits of this process, perhaps not those of the other
    return Outcome(job.key, "fail", detail, start_ns, time.monotonic_ns(), time.thread_time() - start_cpu)


class _Controller:
    """State of one call of :func:`evaluate`."""

    def __init__(
        self,
        jobs: Sequence[Job],
        workers: int,
        python: Path,
        preload_groups: Sequence[PreloadGroup],
        limits: Limits,
        unsafe: bool,
    ) -> None:
        self._unsafe = unsafe
        self._workers = workers
        self._python = python
        self._preload_groups = preload_groups
        self._limits = limits
        self._group = {job.key: _preload_group(job, preload_groups) for job in jobs}
        self._waiting = sorted(
            jobs, key=lambda job: (-job.expected_s if job.expected_s > _LONG_S else 0.0, self._group[job.key])
        )
        self._control = ControlGroups(workers + MAX_SLEEPERS, limits.memory_bytes + limits.tmp_bytes * 5 // 4)
        self._free_groups = list(range(len(self._control.groups)))
        self._group_of: dict[str, tuple[int, float | None]] = {}
        """By job: its control group, and the CPU seconds that this had counted before."""
        self._starved: list[Job] = []
        """Jobs that ran out of time waiting for a processor: each is judged again with nothing beside it."""
        self._secrets = {job.key: secrets.token_hex(16) for job in jobs if job.commands}
        """What the judge of a commands job prints when its tests have passed."""
        self._spent_s: dict[str, float] = {}
        """CPU seconds of their first run."""
        self._running: dict[str, tuple[Job, float]] = {}
        self._attempts: dict[str, int] = {}
        self._failed_starts: dict[int, int] = {}
        self._asleep: set[str] = set()
        self._so_far: dict[str, Outcome] = {}
        self._ready: set[int] = set()
        self._chain_of: dict[int, ZygoteChain] = {}
        self._chains: list[ZygoteChain] = []
        self._selector = selectors.DefaultSelector()

    def run(self) -> Iterator[Outcome]:
        self._start(set(self._group.values()))
        while self._waiting or self._running or self._starved:
            if self._starved and not (self._waiting or self._running):
                self._waiting.append(self._starved.pop(0))
            self._dispatch()
            for key, _ in self._selector.select(timeout=1.0):
                group: int = key.data
                messages = self._chain_of[group].lines[group].receive()
                if messages is None:
                    yield from self._lost(group)
                    continue
                for message in messages:
                    if message["event"] == "ready":
                        self._check_layers(message["layers"])
                        self._ready.add(group)
                    elif message["event"] == "asleep":
                        self._asleep.add(message["key"])
                    else:
                        message["cpu_s"] = max(message["cpu_s"], self._counted_cpu_s(message["key"]))
                        job = self._ended(message["key"])
                        yield from self._judged(job, message)
            self._end_stuck()

    def stop(self) -> None:
        for chain in self._chains:
            chain.stop()
        self._control.close()
        self._selector.close()

    def _start(self, serving: set[int]) -> None:
        chain = ZygoteChain(
            self._python,
            self._preload_groups,
            serving,
            self._limits,
            [group.descriptors for group in self._control.groups],
        )
        self._chains.append(chain)
        for group, lines in chain.lines.items():
            self._chain_of[group] = chain
            self._selector.register(lines, selectors.EVENT_READ, group)

    def _check_layers(self, missing: dict[str, str]) -> None:
        if missing and not self._unsafe:
            what = "; ".join(f"{layer} ({reason})" for layer, reason in missing.items())
            raise UsageError(
                f"generated code cannot be isolated here, the kernel refuses: {what}. In a container, allow user "
                "namespaces; or accept the risk with --unsafe-evaluation (bench run: --option unsafe_evaluation=true)"
            )

    def _dispatch(self) -> None:
        """Give waiting jobs to ready zygotes while workers are free; sleepers need no worker."""
        sleepers = sum(job.sleeps or key in self._asleep for key, (job, _) in self._running.items())
        busy = len(self._running) - sleepers
        left = []
        for job in self._waiting:
            group = self._group[job.key]
            room = busy + sleepers < self._workers + MAX_SLEEPERS
            free = room and (sleepers < MAX_SLEEPERS if job.sleeps else busy < self._workers)
            if not free or group not in self._ready or not self._send(job, group):
                left.append(job)
            elif job.sleeps:
                sleepers += 1
            else:
                busy += 1
        self._waiting = left

    def _send(self, job: Job, group: int) -> bool:
        message: dict[str, Any] = {
            "key": job.key,
            "code": job.code,
            "test": job.test,
            "input": self._secrets[job.key] if job.commands else job.cases[job.case].input if job.cases else "",
            "files": job.files,
            "commands": job.commands,
            "kind": job.kind,
            "timeout_s": job.timeout_s,
            "network": job.network,
            "group": self._free_groups[-1] if self._free_groups else None,
            "look": job.look,
            "uses": _uses(job.test) if job.look == "apart" else None,
        }
        try:
            self._chain_of[group].lines[group].send(message)
        except OSError:  # the zygote is gone; its end of stream is noticed next
            return False
        if self._free_groups:
            index = self._free_groups.pop()
            self._group_of[job.key] = index, self._control.groups[index].read_cpu_s()
        self._running[job.key] = (job, time.monotonic() + job.timeout_s + _LATE_S)
        return True

    def _lost(self, group: int) -> Iterator[Outcome]:
        """A zygote has died: put its jobs back, or give up on those that were there twice, and start another."""
        self._selector.unregister(self._chain_of[group].lines[group])
        now = time.monotonic_ns()
        if group not in self._ready:
            self._failed_starts[group] = self._failed_starts.get(group, 0) + 1
            if self._failed_starts[group] >= _ATTEMPTS:
                hopeless = [job for job in self._waiting if self._group[job.key] == group]
                self._waiting = [job for job in self._waiting if self._group[job.key] != group]
                for job in hopeless:
                    yield Outcome(job.key, "error", f"{self._python} could not be started as an evaluator", now, now, 0)
        self._ready.discard(group)
        for job, _ in list(self._running.values()):
            if self._group[job.key] != group:
                continue
            self._ended(job.key)
            self._attempts[job.key] = self._attempts.get(job.key, 0) + 1
            if self._attempts[job.key] < _ATTEMPTS:
                self._waiting.insert(0, job)
            else:
                yield Outcome(job.key, "error", "the evaluator's process died twice while it ran", now, now, 0.0)
        if any(self._group[job.key] == group for job in self._waiting):
            self._start({group})

    def _ended(self, key: str) -> Job:
        """Take note that a job's process is gone."""
        self._asleep.discard(key)
        if key in self._group_of:
            self._free_groups.append(self._group_of.pop(key)[0])
        job, _ = self._running.pop(key)
        return job

    def _counted_cpu_s(self, key: str) -> float:
        """CPU seconds that a job's control group has counted; 0 where there is none that counts."""
        index, before = self._group_of.get(key, (0, None))
        after = self._control.groups[index].read_cpu_s() if before is not None else None
        return after - before if before is not None and after is not None else 0.0

    def _judged(self, job: Job, done: dict[str, Any]) -> Iterator[Outcome]:
        """Yield the outcome; or run the next case first, or look again at a pass, or judge alone what was starved."""
        outcome = verdict.outcome(job, done | {"secret": self._secrets.get(job.key)})
        if job.key not in self._spent_s and verdict.starved(job, outcome, done):
            self._spent_s[job.key] = outcome.cpu_s
            self._starved.append(job)
            return
        earlier = self._so_far.pop(job.key, None)
        so_far = outcome if earlier is None else verdict.together(job, earlier, outcome)
        following = verdict.next_run(job, so_far, outcome)
        if following is None:
            yield replace(so_far, cpu_s=so_far.cpu_s + self._spent_s.get(job.key, 0.0))
        else:
            self._so_far[job.key] = so_far
            self._waiting.insert(0, following)

    def _end_stuck(self) -> None:
        """Kill the zygote of a job that is long overdue; its end of stream starts the recovery."""
        now = time.monotonic()
        for job, overdue in self._running.values():
            if now > overdue:
                self._chain_of[self._group[job.key]].stop()
