"""The environment that BigCodeBench's programs run in: old libraries, kept apart from ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from passkwh import environments
from passkwh.benchmarks.bigcodebench import nltk_data
from passkwh.benchmarks.interpreter import Interpreter
from passkwh.cache import CountsSteps, cache_dir
from passkwh.environments import EnvironmentManifest, Progress
from passkwh.errors import UsageError

PINS = Path(__file__).with_name("requirements-py311.txt")
PINNED_VERSION = "3.11"


def folder() -> Path:
    """Where the environment is, or would be."""
    return cache_dir() / "bigcodebench" / "environment"


def built() -> Interpreter | None:
    """The environment's interpreter, if ``bench setup bigcodebench`` has built it."""
    python, manifest = folder() / "bin" / "python", environments.read_manifest(folder())
    return Interpreter(python, manifest.checksum) if manifest is not None and python.exists() else None


def setup(python: Path | None, progress: Progress) -> EnvironmentManifest:
    """Build the environment with ``python`` (a 3.11 where one is found when None), replacing what is there.

    With Python 3.11 the versions are the pinned ones; with others the newest for which there are wheels, and
    libraries without one are left out. Raises UsageError when it cannot be built.
    """
    base = python or _find_python()
    version = environments.python_version(base)
    target = folder()
    own_python = environments.create(target, base, progress)
    left_out = _install(own_python, version, progress)
    progress("nltk data")
    try:
        nltk_data.build(own_python, target / "nltk_data")
    except subprocess.CalledProcessError as error:
        raise UsageError(f"the nltk data could not be downloaded: {environments.last_line(error.stderr)}") from error
    progress("matplotlib's fonts")
    fonts = target / "var" / "matplotlib"
    fonts.mkdir(parents=True)
    quiet = {"MPLCONFIGDIR": str(fonts), "MPLBACKEND": "agg"}
    subprocess.run([str(own_python), "-c", "import matplotlib.pyplot"], env=quiet, check=False, capture_output=True)
    return environments.complete(target, version, left_out, progress)


def check(progress: Progress) -> tuple[EnvironmentManifest, list[str]]:
    """The manifest, and what is wrong with the files it stands for. Raises UsageError when nothing was built."""
    return environments.check(folder(), "bench setup bigcodebench", progress)


def _find_python() -> Path:
    if sys.version_info[:2] == (3, 11):
        return Path(sys.executable)
    return Path(shutil.which("python" + PINNED_VERSION) or sys.executable)


def _install(python: Path, version: str, progress: Progress) -> list[str]:
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    lines = [line.partition("#")[0].strip() for line in PINS.read_text().splitlines()]
    requirements = [line for line in lines if line]
    if version == PINNED_VERSION:
        environments.pip_install([*pip, "-r", str(PINS)], progress)
        return []
    left_out = []
    for done, name in enumerate(line.partition("==")[0] for line in requirements):
        if isinstance(progress, CountsSteps):
            progress.count("install libraries", done, len(requirements))
        try:
            environments.pip_install([*pip, "--only-binary", ":all:", name], _unless_counted(progress))
        except UsageError:
            left_out.append(name)
            progress(f"{name} has no wheel for Python {version}: left out")
    return left_out


def _unless_counted(progress: Progress) -> Progress:
    """What pip says of each of many installations, for whom does not count these."""
    return (lambda line: None) if isinstance(progress, CountsSteps) else progress
