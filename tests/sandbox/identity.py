"""Running the evaluator as root or as an ordinary user, with whatever interpreter that user can read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import passkwh
from passkwh.benchmarks.sandbox import Job, Limits, Outcome, evaluate

USER = 61_234
"""A user that does not exist: it owns nothing."""

_DRIVER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from dataclasses import asdict
from passkwh.benchmarks.sandbox import Case, Job, Limits, evaluate
asked = json.load(sys.stdin)
jobs = [
    Job(**{**job, "usual": frozenset(job["usual"]), "cases": tuple(Case(**case) for case in job["cases"])})
    for job in asked["jobs"]
]
for outcome in evaluate(jobs, workers=asked["workers"], python=Path(sys.executable), limits=Limits(**asked["limits"])):
    print(json.dumps(asdict(outcome)), flush=True)
"""


def evaluate_as(identity: str, jobs: list[Job], workers: int, limits: Limits, folder: Path) -> dict[str, Outcome]:
    """Outcomes by key; ``identity`` is "root" or "user". ``folder`` is for what the other user must be able to read."""
    if identity == "root":
        assert os.geteuid() == 0
    if identity == "root" or os.geteuid() != 0:
        return {outcome.key: outcome for outcome in evaluate(jobs, workers=workers, limits=limits)}
    asked = json.dumps(
        {
            "jobs": [{**asdict(job), "usual": sorted(job.usual)} for job in jobs],
            "workers": workers,
            "limits": asdict(limits),
        }
    )
    answer = subprocess.run(
        [readable_python(), "-c", _DRIVER, str(readable_copy(folder))],
        input=asked, capture_output=True, text=True, user=USER, group=USER, extra_groups=[], cwd="/",
        env={**os.environ, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    return {row["key"]: Outcome(**{**row, "suspect": tuple(row["suspect"])}) for row in rows}


def identities() -> list[str]:
    """Those that can be tried here."""
    if os.geteuid() != 0:
        return ["user"]
    return ["root", "user"] if readable_python() else ["root"]


def readable_python() -> str | None:
    """An interpreter, recent enough for the evaluator, that an ordinary user can run."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        command = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(command, user=USER, group=USER, extra_groups=[], cwd="/", check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    return None


def readable_copy(folder: Path) -> Path:
    """The evaluator's sources where everybody can read them; it needs nothing else of the project."""
    source, target = Path(passkwh.__file__).parent, folder / "sources"
    if not target.exists():
        shutil.copytree(source / "benchmarks" / "sandbox", target / "passkwh" / "benchmarks" / "sandbox")
        for name in ("__init__.py", "errors.py", "registry.py", "benchmarks/__init__.py"):
            shutil.copy(source / name, target / "passkwh" / name)
        for path in [target, *target.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in [target, *target.parents]:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001 and str(parent) != "/root":
            parent.chmod(parent.stat().st_mode | 0o011)
    return target
