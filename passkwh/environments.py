"""Virtual environments that are built once, into the cache, for programs whose libraries clash with ours.

What is in one stands in ``environment.json``, written last, so that its presence means complete.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from passkwh.errors import UsageError

MANIFEST = "environment.json"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class EnvironmentManifest:
    """``environment.json``: written last, so that its presence means complete."""

    python: str
    packages: dict[str, str]
    """Name and version of each distribution."""
    left_out: tuple[str, ...]
    """Requirements without a wheel for this Python."""
    checksum: str
    """Hash over the hashes of all installed files."""


class BuiltEnvironment(Protocol):
    """What was installed: a dataclass whose fields are shown."""

    @property
    def packages(self) -> dict[str, str]:
        """Name and version of each distribution."""
        ...


class EnvironmentBuilder(Protocol):
    """How an environment is built; a module may be one."""

    def folder(self) -> Path:
        """Where the environment is, or would be."""
        ...

    def setup(self, python: Path | None, progress: Callable[[str], None]) -> BuiltEnvironment:
        """Build it with ``python`` (None: the builder's choice), replacing what is there; UsageError if it fails."""
        ...

    def check(self, progress: Callable[[str], None]) -> tuple[BuiltEnvironment, list[str]]:
        """What was built and what is wrong with its files; UsageError when nothing was built."""
        ...


@runtime_checkable
class HasEnvironment(Protocol):
    """A benchmark's class or an engine whose programs run in an environment of their own (``bench setup``)."""

    environment: EnvironmentBuilder


def read_manifest(target: Path) -> EnvironmentManifest | None:
    """The manifest of a complete environment; None where there is none."""
    try:
        return EnvironmentManifest(**json.loads((target / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def create(target: Path, base: Path, progress: Progress) -> Path:
    """Make an empty environment with the interpreter ``base``, in place of what is there; returns its interpreter."""
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    progress(f"creating {target} with Python {python_version(base)}")
    run([str(base), "-m", "venv", str(target)], "the virtual environment could not be made")
    return target / "bin" / "python"


def complete(target: Path, version: str, left_out: Iterable[str], progress: Progress) -> EnvironmentManifest:
    """Write the manifest of an environment that has all it is to have."""
    progress("checksum")
    manifest = EnvironmentManifest(version, installed_packages(target), tuple(left_out), checksum(target))
    draft = target / (MANIFEST + ".part")
    draft.write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")
    draft.rename(target / MANIFEST)
    return manifest


def check(target: Path, fix: str, progress: Progress) -> tuple[EnvironmentManifest, list[str]]:
    """The manifest, and what is wrong with the files it stands for; UsageError, naming ``fix``, without one."""
    manifest = read_manifest(target)
    if manifest is None:
        raise UsageError(f"no complete environment in {target}: run `{fix}`")
    progress(f"comparing the files of {len(manifest.packages)} packages with their hashes")
    wrong = list(damaged_files(target))
    if not wrong and checksum(target) != manifest.checksum:
        wrong.append("packages or data were added, removed or replaced since it was built")
    return manifest, wrong


def python_version(python: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    what = f"{python} does not run as a Python interpreter, give one with --python"
    return run([str(python), "-I", "-c", code], what).strip()


def pip_install(command: list[str], progress: Progress) -> None:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    last = ""
    try:
        for line in process.stdout or ():
            if line.startswith(("Collecting", "Installing", "Building")):
                progress(line.strip()[:100])
            if line.startswith("ERROR"):
                last = line.strip()
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if code:
        raise UsageError(f"pip could not install the libraries: {last or f'exit code {code}'}")


def run(command: list[str], what: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as error:
        raise UsageError(f"{what}: {last_line(error.stderr or error.stdout)}") from error
    except OSError as error:
        raise UsageError(f"{what}: {error.strerror}") from error


def last_line(text: str | None) -> str:
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def _site_packages(target: Path) -> Path:
    return next(iter(sorted(target.glob("lib/python*/site-packages"))), target)


def _records(target: Path) -> list[Path]:
    return sorted(_site_packages(target).glob("*.dist-info/RECORD"))


def installed_packages(target: Path) -> dict[str, str]:
    pairs = (record.parent.name[: -len(".dist-info")].rpartition("-") for record in _records(target))
    return {name: version for name, _, version in pairs}


def checksum(target: Path) -> str:
    """Hash over what each package says of its files (name and hash) and over the nltk data."""
    digest = hashlib.sha256()
    for record in _records(target):
        # Launchers in bin/ name the interpreter's path and INSTALLER and the like differ between installers.
        own = [row for row in _recorded(record) if not row[0].startswith("..") and ".dist-info/" not in row[0]]
        digest.update("".join(sorted(f"{path},{hashed}\n" for path, hashed in own)).encode())
    for file in sorted(path for path in (target / "nltk_data").rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(target)).encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _recorded(record: Path) -> Iterable[tuple[str, str]]:
    """Path and hash of each file of a package that has a hash."""
    with record.open(newline="") as rows:
        yield from ((row[0], row[1]) for row in csv.reader(rows) if len(row) > 1 and row[1])


def damaged_files(target: Path) -> Iterable[str]:
    site_packages = _site_packages(target)
    for record in _records(target):
        for path, hashed in _recorded(record):
            if not (site_packages / path).is_file():
                yield f"{path} is gone"
            elif hashed.startswith("sha256=") and f"sha256={_base64_sha256(site_packages / path)}" != hashed:
                yield f"{path} was changed"


def _base64_sha256(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
