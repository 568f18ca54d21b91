"""Stored lines: any byte that changes is seen, older lines are read, and what no file can hold is written out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh import cache
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.lines import NotASample
from passkwh.harness.runs.table import SampleTable
from passkwh.records import storable
from passkwh.stored import seal, unseal
from passkwh.strict_json import distinct
from tests.test_store import MANIFEST, sample


@given(st.dictionaries(st.text(max_size=3), st.text() | st.integers() | st.none(), min_size=1))
def test_a_sealed_line_is_json_and_gives_back_the_object(content: dict[str, str | int | None]) -> None:
    content.pop("crc32", None)
    line = json.dumps(content or {"a": 1})
    sealed = seal(line)
    assert set(json.loads(sealed)) == {*json.loads(line), "crc32"}
    assert unseal(sealed) == line.encode()
    assert unseal(line.encode()) == line.encode()  # of an older program


def test_every_flipped_bit_of_a_stored_sample_is_seen() -> None:
    line = seal(sample("a", text="pass").model_dump_json())
    assert len(SampleTable.parse(line + b"\n")) == 1
    for place in range(len(line)):
        changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        with pytest.raises(NotASample):
            SampleTable.parse(changed + b"\n")


def test_a_changed_sample_is_not_scored_on_resume(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    folder.append([sample("a", text="return 1"), sample("b", 1)])
    folder.close()
    file = folder.path / "samples.jsonl"
    file.write_bytes(file.read_bytes().replace(b"return 1", b"return 2"))
    with pytest.raises(UsageError, match=r"samples\.jsonl, line 1: not a sample \(its checksum does not match"):
        RunFolder.resume(folder.path).samples()


def test_half_of_a_surrogate_pair_is_stored_escaped(tmp_path: Path) -> None:
    """As names of files have them; texts of models have a rule of their own in the records."""
    folder = RunFolder.create(tmp_path / "run", MANIFEST.model_copy(update={"run_id": "x\ud83dy"}))
    assert folder.manifest().run_id == "x\\ud83dy"
    (kept,) = folder.append([sample("a\ud83d")])
    folder.close()
    assert kept.key == "a\\ud83d"
    assert RunFolder.open(folder.path).samples() == [kept]
    assert storable(kept) is kept


def test_a_name_that_stands_twice_is_refused() -> None:
    assert json.loads('{"a": {"b": 1}}', object_pairs_hook=distinct) == {"a": {"b": 1}}
    with pytest.raises(ValueError, match="'b' stands twice"):
        json.loads('{"a": {"b": 1, "b": 2}}', object_pairs_hook=distinct)


def test_a_damaged_file_of_the_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    folder = tmp_path / "quantized" / "m"
    with cache.building(folder) as draft:
        (draft / "model.safetensors").write_bytes(b"weights")
    cache.check_intact(folder)
    (folder / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(UsageError, match=r"model\.safetensors is missing or damaged: remove"):
        cache.check_intact(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"model\.safetensors is missing or damaged"):
        cache.check_intact(folder)
