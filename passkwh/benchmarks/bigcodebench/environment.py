"""The environment that BigCodeBench's programs run in: old libraries, kept apart from ours."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from passkwh.benchmarks.bigcodebench import nltk_data
from passkwh.benchmarks.interpreter import Interpreter
from passkwh.cache import cache_dir
from passkwh.errors import UsageError

PINS = Path(__file__).with_name("requirements-py311.txt")
PINNED_VERSION = "3.11"
_MANIFEST = "environment.json"

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


def folder() -> Path:
    """Where the environment is, or would be."""
    return cache_dir() / "bigcodebench" / "environment"


def built() -> Interpreter | None:
    """The environment's interpreter, if ``bench setup bigcodebench`` has built it."""
    python = folder() / "bin" / "python"
    try:
        manifest = json.loads((folder() / _MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return Interpreter(python, manifest["checksum"]) if python.exists() else None


def setup(python: Path | None, progress: Progress) -> EnvironmentManifest:
    """Build the environment with ``python`` (a 3.11 where one is found when None), replacing what is there.

    With Python 3.11 the versions are the pinned ones; with others the newest for which there are wheels, and
    libraries without one are left out. Raises UsageError when it cannot be built.
    """
    base = python or _find_python()
    version = _version(base)
    target = folder()
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    progress(f"creating {target} with Python {version}")
    _run([str(base), "-m", "venv", str(target)], "the virtual environment could not be made")
    own_python = target / "bin" / "python"
    left_out = _install(own_python, version, progress)
    progress("nltk data")
    try:
        nltk_data.build(own_python, target / "nltk_data")
    except subprocess.CalledProcessError as error:
        raise UsageError(f"the nltk data could not be downloaded: {_last_line(error.stderr)}") from error
    progress("matplotlib's fonts")
    fonts = target / "var" / "matplotlib"
    fonts.mkdir(parents=True)
    quiet = {"MPLCONFIGDIR": str(fonts), "MPLBACKEND": "agg"}
    subprocess.run([str(own_python), "-c", "import matplotlib.pyplot"], env=quiet, check=False, capture_output=True)
    progress("checksum")
    manifest = EnvironmentManifest(version, _packages(target), tuple(left_out), _checksum(target))
    draft = target / (_MANIFEST + ".part")
    draft.write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")
    draft.rename(target / _MANIFEST)
    return manifest


def check(progress: Progress) -> tuple[EnvironmentManifest, list[str]]:
    """The manifest, and what is wrong with the files it stands for. Raises UsageError when nothing was built."""
    target = folder()
    try:
        manifest = EnvironmentManifest(**json.loads((target / _MANIFEST).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"no complete environment in {target}: run `bench setup bigcodebench`") from error
    progress(f"comparing the files of {len(manifest.packages)} packages with their hashes")
    wrong = list(_damaged(target))
    if not wrong and _checksum(target) != manifest.checksum:
        wrong.append("packages or nltk data were added, removed or replaced since it was built")
    return manifest, wrong


def _find_python() -> Path:
    if sys.version_info[:2] == (3, 11):
        return Path(sys.executable)
    return Path(shutil.which("python" + PINNED_VERSION) or sys.executable)


def _version(python: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return _run([str(python), "-I", "-c", code], f"{python} does not run as a Python interpreter").strip()


def _install(python: Path, version: str, progress: Progress) -> list[str]:
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if version == PINNED_VERSION:
        _pip([*pip, "-r", str(PINS)], progress)
        return []
    requirements = [line.partition("#")[0].strip() for line in PINS.read_text().splitlines()]
    left_out = []
    for name in [line.partition("==")[0] for line in requirements if line]:
        try:
            _pip([*pip, "--only-binary", ":all:", name], progress)
        except UsageError:
            left_out.append(name)
            progress(f"{name} has no wheel for Python {version}: left out")
    return left_out


def _pip(command: list[str], progress: Progress) -> None:
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
        raise UsageError(f"pip could not install the benchmark's libraries: {last or f'exit code {code}'}")


def _run(command: list[str], what: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as error:
        raise UsageError(f"{what}: {_last_line(error.stderr or error.stdout)}") from error
    except OSError as error:
        raise UsageError(f"{what}: {error}") from error


def _last_line(text: str | None) -> str:
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def _site_packages(target: Path) -> Path:
    return next(iter(sorted(target.glob("lib/python*/site-packages"))), target)


def _records(target: Path) -> list[Path]:
    return sorted(_site_packages(target).glob("*.dist-info/RECORD"))


def _packages(target: Path) -> dict[str, str]:
    pairs = (record.parent.name[: -len(".dist-info")].rpartition("-") for record in _records(target))
    return {name: version for name, _, version in pairs}


def _checksum(target: Path) -> str:
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


def _damaged(target: Path) -> Iterable[str]:
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
