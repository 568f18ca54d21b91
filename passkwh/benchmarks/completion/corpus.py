"""Makes a corpus in CodeXGLUE's form of a source tree: splits by file, common literals of the training split."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from passkwh.benchmarks.completion.codexglue import (
    KEPT,
    SUFFIXES,
    NotSource,
    Token,
    common_literals,
    render,
    tokens_of,
)
from passkwh.benchmarks.completion.data import END, SPLITS, START, Files, open_data
from passkwh.benchmarks.completion.duplicates import Near
from passkwh.errors import UsageError


@dataclass(frozen=True)
class Corpus:
    """What was made."""

    files: dict[str, int]
    """Files by split."""
    tokens: dict[str, int]
    """Tokens by split, ``<s>`` and ``</s>`` not counted."""
    skipped: dict[str, str]
    """Why, by path below the source tree."""


def make_corpus(
    source: Path,
    out: Path,
    language: str,
    shares: tuple[float, float] = (0.8, 0.1),
    literals: Path | None = None,
    apart_from: Sequence[str] = (),
) -> Corpus:
    """Write ``train.txt``, ``dev.txt``, ``test.txt``, ``literals.json`` and ``files.jsonl`` (which line came from which
    file, and which file was skipped why) into ``out``.

    Args:
        shares: of the files for training and development; the rest is the test split.
        literals: a ``literals.json`` whose values are kept, for example CodeXGLUE's own.
        apart_from: data (as ``open_data`` names it) in whose test split none of the files may stand: those that are the
            same or nearly so are skipped.

    Raises:
        UsageError: unknown language, bad shares, no such tree, nothing in it, or ``out`` holds a corpus already.
    """
    if language not in SUFFIXES:
        raise UsageError(f"language is {language!r}: use one of {', '.join(SUFFIXES)}")
    train, dev = shares
    if min(train, dev) <= 0 or train + dev >= 1:
        raise UsageError(f"shares for train and dev are {train} and {dev}: both above 0, together below 1")
    if not source.is_dir():
        raise UsageError(f"no folder at {source}: give the root of a source tree")
    if taken := [name for name in (*(f"{split}.txt" for split in SPLITS), "files.jsonl") if (out / name).exists()]:
        raise UsageError(f"{out} already holds {taken[0]}: give another --out, or remove it")
    tested = Near(_tested(apart_from, language))
    paths = sorted(_sources(source, SUFFIXES[language]))
    if len(paths) < len(SPLITS):
        raise UsageError(f"{source} has {len(paths)} *{SUFFIXES[language]} files: three splits need at least three")
    split_of = _splits(paths, train, dev)
    paths = list(split_of)
    kept = _read_literals(literals) if literals else None
    skipped: dict[str, str] = {}
    if kept is None:
        in_training = [path for path in paths if split_of[path] == "train"]
        kept = common_literals(tokens for _, tokens in _tokenized(source, in_training, language, skipped))
    out.mkdir(parents=True, exist_ok=True)
    names = {"STR": "str", "NUM": "num", "CHAR": "char"}
    (out / "literals.json").write_text(
        json.dumps({names[kind]: sorted(kept[kind]) for kind in KEPT}, ensure_ascii=False) + "\n", "utf-8"
    )
    files, counts = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    with (out / "files.jsonl").open("w", encoding="utf-8") as index:
        texts = {split: (out / f"{split}.txt").open("w", encoding="utf-8", newline="\n") for split in SPLITS}
        try:
            for path, tokens in _tokenized(source, paths, language, skipped):
                split, text = split_of[path], render(tokens, kept)
                if like := tested.like(text):
                    skipped[path] = f"{like[1]:.0%} the same as {like[0]}"
                    continue
                texts[split].write(f"{START} {text} {END}\n")
                files[split] += 1
                counts[split] += len(tokens)
                row = {"path": path, "split": split, "line": files[split], "tokens": len(tokens)}
                index.write(json.dumps(row, ensure_ascii=False) + "\n")
        finally:
            for written in texts.values():
                written.close()
        for path, why in sorted(skipped.items()):
            index.write(json.dumps({"path": path, "skipped": why}, ensure_ascii=False) + "\n")
    return Corpus(files, counts, skipped)


def _sources(root: Path, suffix: str) -> Iterator[str]:
    """Source files below ``root``, as paths relative to it; hidden folders and links to folders are left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if path.suffix == suffix and path.is_file():
                yield path.relative_to(root).as_posix()


def _splits(paths: list[str], train: float, dev: float) -> dict[str, str]:
    """Split of each path: in an order that depends on the paths alone, and at least one file in each.

    Files are written in this order too, so that the beginning of a split is a sample of the whole tree.
    """
    order = sorted(paths, key=lambda path: hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest())
    first = min(max(1, round(len(order) * train)), len(order) - 2)
    second = min(max(first + 1, round(len(order) * (train + dev))), len(order) - 1)
    return {path: SPLITS[(place >= first) + (place >= second)] for place, path in enumerate(order)}


def _tokenized(
    root: Path, paths: list[str], language: str, skipped: dict[str, str]
) -> Iterator[tuple[str, list[Token]]]:
    """Tokens of each file that can be read; the others are noted in ``skipped``."""
    for path in paths:
        try:
            yield path, tokens_of((root / path).read_bytes(), language)
        except NotSource as error:
            skipped[path] = str(error)
        except OSError as error:
            skipped[path] = error.strerror or str(error)


def _tested(apart_from: Sequence[str], language: str) -> Iterator[tuple[str, str]]:
    """Name and text of every file of these test splits."""
    for name in apart_from:
        data = open_data(name, language, "test")
        if not isinstance(data, Files):
            raise UsageError(f"{data.description} holds beginnings of files: give data with whole files to keep apart")
        for file in data.read():
            yield f"file {file.index + 1} of {data.description}", file.text


def _read_literals(path: Path) -> dict[str, frozenset[str]]:
    try:
        content = json.loads(path.read_text("utf-8"))
        return {kind: frozenset(map(str, content[kind.lower()])) for kind in KEPT}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is not a literals.json with the lists str, num and char ({error!r})") from None
