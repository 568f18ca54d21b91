"""The nltk data that tasks read, put together from packages, because nltk's own server is not always to be reached."""

from __future__ import annotations

import io
import pickle
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "llama-index-core==0.10.30",  # stop words and the punkt tokenizer, nltk's own files
    "vaderSentiment==3.3.2",  # the lexicon that nltk's copy was made from
    "english-words==2.0.2",  # the word list web2, which is nltk's "words"
    "textblob-aptagger==0.2.0",  # the perceptron that nltk's tagger was ported from
)


def build(python: Path, target: Path) -> None:
    """Write ``target`` (a folder named nltk_data) with what the packages carry. ``python`` needs pip.

    Raises subprocess.CalledProcessError when the packages cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), "-m", "pip", "download", "-q", "--no-deps", "-d", folder, *PACKAGES]
        subprocess.run(command, check=True, capture_output=True, text=True)
        for archive in sorted(Path(folder).iterdir()):
            with zipfile.ZipFile(archive) as wheel:
                for path, data in _files(wheel):
                    file = target / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
    words = target / "corpora" / "words"
    (words / "en-basic").write_text("a\n")  # the corpus reader wants the file to exist
    (words / "README").write_text("The word list web2, from the package english-words.\n")


def _files(wheel: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    for name in wheel.namelist():
        if "/nltk_cache/" in name and not name.endswith(("/", ".DS_Store", ".gitignore")):
            yield name.split("/nltk_cache/")[1], wheel.read(name)
        elif name.endswith("vaderSentiment/vader_lexicon.txt"):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as lexicon:
                lexicon.writestr(zipfile.ZipInfo("vader_lexicon/vader_lexicon.txt"), wheel.read(name))
            yield "sentiment/vader_lexicon.zip", buffer.getvalue()
        elif name.endswith("data/web2.pickle"):
            words = _strings(wheel.read(name))
            yield "corpora/words/en", ("\n".join(sorted(words)) + "\n").encode()
        elif name.endswith("trontagger-0.1.0.pickle"):
            yield "taggers/averaged_perceptron_tagger/averaged_perceptron_tagger.pickle", wheel.read(name)


class _OnlyStrings(pickle.Unpickler):
    """Reads sets of strings and refuses everything that would run code."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) in (("builtins", "set"), ("__builtin__", "set")):
            return set
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _strings(data: bytes) -> set[str]:
    words = _OnlyStrings(io.BytesIO(data)).load()
    if not isinstance(words, set):
        raise pickle.UnpicklingError("expected a set of words")
    return words
