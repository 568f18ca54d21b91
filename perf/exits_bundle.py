"""Make the early-exit bundle of the embedded model: data, heads of the model as it was, agents, what thresholds lose.

    python perf/exits_bundle.py data --work DIR     # Python of installed packages, Java of Debian's source packages
    python perf/exits_bundle.py train --work DIR [--method frozen|held|lite] [--tokens 200000] [--threads 2]
    python perf/exits_bundle.py calibrate --work DIR [--method frozen] [--files 100]

Every step is a `bench data` or `bench train` command, which is printed, and goes on where it was stopped. The bundle is
DIR/METHOD. Training and held-out files are of different packages (a quarter of the held-out files is the dev split, for
calibration), near copies of test files are left out, and DIR/licences.json says whose they are. Packages that are not
installed are left out and named. Debian's sources need apt-get and its network. Prints one JSON line last: the files
and tokens of the data, or the bundle's card.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

MODEL = "smollm2-135m-instruct"
LANGUAGES = ("python", "java")
PYTHON_TRAIN = (
    "altair", "anyio", "attrs", "click", "datasets", "docstring_parser", "fastapi", "fonttools", "formulaic",
    "fsspec", "gymnasium", "httpx", "huggingface_hub", "jedi", "Jinja2", "joblib", "jsonschema", "mpmath", "mypy",
    "narwhals", "networkx", "numpy", "openai", "packaging", "pandas", "peft", "psutil", "pydantic", "pyparsing",
    "referencing", "requests", "rich", "scikit-learn", "seaborn", "stable_baselines3", "starlette", "statsmodels",
    "sympy", "transformers", "typer", "uvicorn",
)  # fmt: skip
PYTHON_HELD_OUT = ("Markdown", "Pygments", "Werkzeug", "matplotlib", "nltk", "prompt_toolkit", "scipy", "tornado")
# Debian's source packages, all under the Apache licence 2.0, and the folder of each whose Java is taken.
JAVA_TRAIN = {
    "guava-libraries": "guava/src", "libcommons-lang3-java": "src/main", "commons-math3": "src/main",
    "commons-csv": "src/main", "jackson-core": "src/main",
}  # fmt: skip
JAVA_HELD_OUT = {
    "commons-io": "src/main", "libcommons-collections4-java": "src/main", "libcommons-codec-java": "src/main",
}  # fmt: skip
SMALLEST_BYTES, LARGEST_BYTES = 1_500, 60_000
MOST_FILES = {".py": 60, ".java": 150}  # of a package, so that none is most of the data
AGENTS = (("{}", ("--resume",)), ("{}-supervised", ("--method", "supervised")))
RULES = ("agent,agent={}", "agent,agent={}-supervised", "confidence,candidates=1024")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("data", "train", "calibrate"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--method", choices=("frozen", "held", "lite"), default="frozen")
    parser.add_argument("--tokens", type=int, default=200_000, help="of fine-tuning and of heads")
    parser.add_argument("--files", type=int, default=100, help="held-out files a language, for calibrate")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.step == "data":
        result = make_data(options.work)
    else:
        bundle = options.work / options.method
        train(options.work, bundle, options.method, options.tokens) if options.step == "train" else calibrate(
            options.work, bundle, options.files
        )
        result = json.loads((bundle / "exit.json").read_text("utf-8"))
    print(json.dumps(result))


def make_data(work: Path) -> dict[str, object]:
    """Data in CodeXGLUE's token form, LANGUAGE-train and LANGUAGE-test, and whose files they are."""
    licences: dict[str, str] = {}
    for part, packages in (("python-test", PYTHON_HELD_OUT), ("python-train", PYTHON_TRAIN)):
        for package in packages:
            try:
                licences[package] = licence_of(package)
            except importlib.metadata.PackageNotFoundError:
                print(f"{package} is not installed: left out", file=sys.stderr)
                continue
            copy(sorted(python_files(package)), work / "sources" / part / package)
    for part, folders in (("java-test", JAVA_HELD_OUT), ("java-train", JAVA_TRAIN)):
        for package, folder in folders.items():
            licences[package] = "Apache-2.0"
            root = debian_source(package, work / "debian")
            copy(sorted((root / folder).rglob("*.java")), work / "sources" / part / package)
    for language in LANGUAGES:
        codexglue(work, f"{language}-test", language, "--train", "0.001", "--dev", "0.25")
        apart = ("--apart-from", "embedded", "--apart-from", str(work / f"{language}-test"))
        codexglue(work, f"{language}-train", language, "--train", "0.85", "--dev", "0.1", *apart)
    (work / "licences.json").write_text(json.dumps(licences, indent=2), "utf-8")
    splits = [f"{language}-{part}/{split}.txt" for language in LANGUAGES for part, split in
              (("train", "train"), ("train", "dev"), ("test", "dev"), ("test", "test"))]  # fmt: skip
    return {split: len((work / split).read_text("utf-8").splitlines()) for split in splits} | {"licences": licences}


def licence_of(package: str) -> str:
    """What a package's metadata says of its licence: the expression, else the classifier."""
    about = importlib.metadata.metadata(package)
    classifiers = [line.split("::")[-1].strip() for line in about.get_all("Classifier", []) if line[:7] == "License"]
    return about.get("License-Expression") or ", ".join(classifiers) or about.get("License", "")


def python_files(package: str) -> Iterator[Path]:
    """A package's own modules, without its tests."""
    for file in importlib.metadata.files(package) or ():
        if file.suffix == ".py" and not any(part.startswith("test") for part in file.parts):
            yield Path(str(file.locate()))


def copy(files: list[Path], target: Path) -> None:
    """Copy a sample of the files that are neither tiny nor huge: evenly over their sorted names."""
    fitting = [file for file in files if SMALLEST_BYTES <= file.stat().st_size <= LARGEST_BYTES]
    count = min(len(fitting), MOST_FILES[fitting[0].suffix])
    target.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        file = fitting[place * len(fitting) // count]
        shutil.copy(file, target / f"{place:03d}-{file.name}")


def debian_source(package: str, folder: Path) -> Path:
    """The unpacked upstream source of one of Debian's packages, fetched with apt's own configuration of mirrors."""
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = folder / package
    if not unpacked.exists():
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        sources = folder / "sources.list"
        sources.write_text("deb-src http://deb.debian.org/debian bookworm main\n", "utf-8")
        apart = [
            f"-oDir::Etc::sourcelist={sources}",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State::Lists={lists}",
        ]
        if not any(lists.glob("*Sources*")):
            subprocess.run(["apt-get", "-q", *apart, "update"], check=True, cwd=folder, stdout=sys.stderr)
        fetched = folder / f"{package}.fetched"
        fetched.mkdir(exist_ok=True)
        command = ["apt-get", "-q", *apart, "source", "--download-only", "--tar-only", package]
        subprocess.run(command, check=True, cwd=fetched, stdout=sys.stderr)
        part = folder / f"{package}.part"
        with tarfile.open(next(fetched.glob("*.orig.tar.*"))) as archive:
            archive.extractall(part, filter="data")
        part.rename(unpacked)
    return next(unpacked.iterdir())


def codexglue(work: Path, name: str, language: str, *options: str) -> None:
    if not (work / name / "test.txt").exists():
        bench(
            "data",
            "codexglue",
            str(work / "sources" / name),
            "--language",
            language,
            "--out",
            str(work / name),
            *options,
        )


def train(work: Path, bundle: Path, method: str, tokens: int) -> None:
    """Fine-tune where the method does, then heads, and two agents a language along the files' own text."""
    both = [option for language in LANGUAGES for option in
            ("--data", str(work / f"{language}-train"), "--language", language)]  # fmt: skip
    both += [option for _ in LANGUAGES for option in ("--held-out", "embedded")]
    card = bundle / "exit.json"
    done = json.loads(card.read_text("utf-8"))["notes"] if card.exists() else {}
    if method != "frozen" and "lite" not in done:
        how = ("--rank", "8", "--batch-size", "1", "--accumulation", "4", "--length", "512", "--learning-rate", "1e-3")
        hold = ("--hold", "4") if method == "held" else ()
        step("lite", bundle, *both, *how, *hold, "--tokens", str(tokens), "--epochs", "1", "--resume")
    if "shortcut" not in done:
        step("shortcut", bundle, *both, "--tokens", str(tokens))
    for language in LANGUAGES:
        data = ("--data", str(work / f"{language}-train"), "--language", language, "--held-out", "embedded")
        for name, how in AGENTS:
            if not (bundle / "agents" / f"{name.format(language)}.json").exists():
                how_much = ("--files", "100", "--held-out-files", "24", "--max-tokens", "512", "--hidden", "32,32")
                step("agent", bundle, *data, *how_much, *how, "--name", name.format(language))


def calibrate(work: Path, bundle: Path, files: int) -> None:
    """What each threshold of each rule loses, on files of packages of which no training read any."""
    for language in LANGUAGES:
        rules = [option for rule in RULES for option in ("--rule", rule.format(language))]
        data = ("--data", str(work / f"{language}-test"), "--language", language)
        step("calibrate", bundle, *data, *rules, "--files", str(files))


def step(name: str, bundle: Path, *options: str) -> None:
    bench("train", name, "--model", MODEL, "--bundle", str(bundle), *options)


def bench(*arguments: str) -> None:
    print("bench", *arguments, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "passkwh.cli.main", *arguments], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
