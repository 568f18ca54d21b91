"""Kinds of jobs: how a program is run in the process that was forked for it, each kind in a file of its own.

A new kind is one file here, one entry below, and its rule in ``verdict.RULES`` outside. Its module has ``GRACE_S`` (how
long after a job's deadline its process is killed), ``CAPTURED`` (which of stdout and stderr are read; the others go to
/dev/null), and ``run(job, send)``, which ``send``s what there is to report. One whose programs reserve more memory than
they use says so with ``ADDRESS_SPACE_BYTES``, which come on top of the limit of address space.
"""

from __future__ import annotations

from . import calls_job, commands_job, script_job, stdio_job, unittest_job

KINDS = {
    "unittest": unittest_job, "script": script_job, "stdio": stdio_job, "calls": calls_job, "commands": commands_job,
}  # fmt: skip
