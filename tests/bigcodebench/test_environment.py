"""The benchmark's environment: what identifies it, and that damage is found. Building it needs a package index."""

import base64
import hashlib
import json
import os
import pickle
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from passkwh.benchmarks import interpreter
from passkwh.benchmarks.bigcodebench import environment, nltk_data
from passkwh.environments import EnvironmentManifest, checksum, installed_packages
from passkwh.errors import UsageError


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A folder as ``setup`` leaves it, with one package of one module."""
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    target = environment.folder()
    packages = target / "lib" / "python3.11" / "site-packages"
    information = packages / "tiny-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "tiny.py").write_text("x = 1\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
    (information / "RECORD").write_text(f"tiny.py,sha256={digest},6\ntiny-1.0.dist-info/RECORD,,\n")
    (target / "bin").mkdir()
    (target / "bin" / "python").symlink_to(sys.executable)
    (target / "nltk_data").mkdir()
    (target / "nltk_data" / "words").write_text("a\n")
    manifest = EnvironmentManifest("3.11", installed_packages(target), (), checksum(target))
    (target / "environment.json").write_text(json.dumps(asdict(manifest)))
    return packages


def quiet(_line):
    pass


def test_a_whole_environment_is_found_and_right(built):
    manifest, wrong = environment.check(quiet)
    assert wrong == []
    assert manifest.packages == {"tiny": "1.0"}
    found = environment.built()
    assert found is not None
    assert found.identity == manifest.checksum
    assert interpreter.missing(found.python, frozenset({"json", "not_to_be_found"})) == {"not_to_be_found"}


def test_a_changed_or_missing_file_is_named(built):
    (built / "tiny.py").write_text("x = 2\n")
    assert environment.check(quiet)[1] == ["tiny.py was changed"]
    (built / "tiny.py").unlink()
    assert environment.check(quiet)[1] == ["tiny.py is gone"]


def test_an_added_package_or_other_nltk_data_is_noticed(built):
    words = environment.folder() / "nltk_data" / "words"
    words.write_text("b\n")
    assert "data were added, removed or replaced" in environment.check(quiet)[1][0]
    words.write_text("a\n")
    other = built / "other-2.0.dist-info"
    other.mkdir()
    (other / "RECORD").write_text("other.py,sha256=x,1\n")
    assert environment.check(quiet)[1]


def test_an_interrupted_build_is_no_environment(built):
    (environment.folder() / "environment.json").unlink()
    assert environment.built() is None
    with pytest.raises(UsageError, match="no complete environment"):
        environment.check(quiet)


def test_an_interpreter_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="does not run as a Python interpreter"):
        environment.setup(Path("/bin/false"), quiet)
    assert not environment.folder().exists()


def test_the_pins_are_complete_requirements():
    lines = [line.partition("#")[0].strip() for line in environment.PINS.read_text().splitlines()]
    assert all("==" in line for line in lines if line)
    assert len([line for line in lines if line]) > 60


class Harmful:
    def __reduce__(self):
        return os.system, ("echo harm",)


def test_words_are_read_from_a_pickle_without_running_it():
    assert nltk_data._strings(pickle.dumps({"a", "b"}, protocol=2)) == {"a", "b"}
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        nltk_data._strings(pickle.dumps(Harmful()))
