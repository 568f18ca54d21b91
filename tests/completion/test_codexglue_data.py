"""Making CodeXGLUE's form from source: layout, literals, what cannot be read, and reading it back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.benchmarks.completion.benchmark import JavaCorpus, Py150
from passkwh.benchmarks.completion.codexglue import KEPT, NotSource, common_literals, render, tokens_of
from passkwh.benchmarks.completion.corpus import make_corpus
from passkwh.benchmarks.completion.data import Files, open_data
from passkwh.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
LITERAL = re.compile(r"<(STR|NUM|CHAR)_LIT")
NOTHING = {kind: frozenset[str]() for kind in KEPT}


def form(source: str, language: str, **kept: set[str]) -> str:
    vocabulary = NOTHING | {kind: frozenset(values) for kind, values in kept.items()}
    return render(tokens_of(source.encode(), language), vocabulary)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# only\n\n\nx = 1  # one\n\n\n", "x = <NUM_LIT>"),
        ("if x:\n\ty\n\tz\n", "if x : <EOL> y <EOL> z"),
        ("f(1,\n  2)\n", "f ( <NUM_LIT> , <EOL> <NUM_LIT> )"),
        ("a = 'b' + r\"c\" + ''\n", "a = '<STR_LIT>' + r\"<STR_LIT>\" + '<STR_LIT>'"),
        ('"""doc\nstring"""\nx\n', '"""<STR_LIT>""" <EOL> x'),
        ("größe = 'ß'\n", "größe = '<STR_LIT>'"),
        ("x = f'{a + 1} b'\n", "x = f'<STR_LIT>'"),
        ("x = f'''{a}\n{f\"{b}\"}'''\ny\n", "x = f'''<STR_LIT>''' <EOL> y"),
        ("print 'old'\n", "print '<STR_LIT>'"),
        ("\ufeffx\n", "x"),
        ("x\r\ny\r\n", "x <EOL> y"),
    ],
)
def test_python_layout_and_literals(source: str, expected: str) -> None:
    assert form(source, "python") == expected


def test_common_python_literals_keep_their_value() -> None:
    source = "f('a b', \"x,y\", '', 1.5, 'rare', '''a b''')\n"
    expected = (
        "f ( '<STR_LIT:aU+0020b>' , \"<STR_LIT:xU+002Cy>\" , '<STR_LIT>' , <NUM_LIT:1.5> , '<STR_LIT>' ,"
        " '''<STR_LIT:aU+0020b>''' )"
    )
    assert form(source, "python", STR={"aU+0020b", "xU+002Cy"}, NUM={"1.5"}) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("int x = 1; // one\n", "int x = <NUM_LIT> ;"),
        ("/** doc */ class A<T> { }", "class A < T > { }"),
        ("f(0x1F, 1.5f, 7L, true, null);", "f ( <NUM_LIT> , <NUM_LIT> , <NUM_LIT> , true , null ) ;"),
        ("c = 'x'; d = '\\n'; e = \"a\\\"b\";", "c = '<CHAR_LIT>' ; d = '<STR_LIT>' ; e = \"<STR_LIT>\" ;"),
        ('\tString größe = "ß";\t', 'String größe = "<STR_LIT>" ;'),
    ],
)
def test_java_tokens_and_literals(source: str, expected: str) -> None:
    assert form(source, "java") == expected


def test_common_java_literals_keep_their_value() -> None:
    assert form("f(',', \"a b\", 10);", "java", CHAR={"U+002C"}, STR={"aU+0020b"}, NUM={"10"}) == (
        "f ( '<CHAR_LIT:U+002C>' , \"<STR_LIT:aU+0020b>\" , <NUM_LIT:10> ) ;"
    )


@pytest.mark.parametrize(
    ("source", "language"),
    [
        (b"x = '''never closed\n", "python"),
        (b"if x:\n    y\n  z\n", "python"),
        (b"# -*- coding: nonsense -*-\nx\n", "python"),
        (b"x = '\xff'\n", "python"),
        (b"# nothing but this\n", "python"),
        (b"", "java"),
        (b'String s = "open;\n', "java"),
        (b"int \xff;", "java"),
        (b"0", "java"),
    ],
)
def test_what_is_not_source_says_why(source: bytes, language: str) -> None:
    with pytest.raises(NotSource, match=r"not (Python|Java|UTF-8): \S|no code"):
        tokens_of(source, language)


@given(st.text(max_size=60), st.sampled_from(["python", "java"]))
def test_any_text_is_either_refused_or_made_into_plain_words(text: str, language: str) -> None:
    try:
        tokens = tokens_of(text.encode("utf-8", "surrogatepass"), language)
    except NotSource:
        return
    everything = {kind: frozenset(t.value for t in tokens if not isinstance(t, str)) for kind in KEPT}
    assert len(render(tokens, everything).split()) == len(tokens)


@given(st.lists(st.sampled_from(["'a'", "'b'", "1", "2", "''"]), min_size=1, max_size=60))
def test_the_most_common_values_are_kept(values: list[str]) -> None:
    kept = common_literals([tokens_of(f"[{', '.join(values)}]".encode(), "python")])
    assert kept["STR"] == {value.strip("'") for value in values if value in ("'a'", "'b'")}
    assert kept["NUM"] == {value for value in values if value in ("1", "2")}


def test_only_so_many_values_are_kept_and_ties_go_by_value() -> None:
    source = ", ".join([str(1000 + n) for n in range(KEPT["NUM"] + 5)] + ["7", "7"])
    kept = common_literals([tokens_of(f"[{source}]".encode(), "python")])["NUM"]
    assert kept == {"7"} | {str(1000 + n) for n in range(KEPT["NUM"] - 1)}


def test_this_projects_own_sources_become_a_corpus_that_the_benchmark_reads(tmp_path: Path) -> None:
    corpus = make_corpus(ROOT / "passkwh", tmp_path, "python")
    sources = [path for path in (ROOT / "passkwh").rglob("*.py") if path.read_text("utf-8").strip()]
    assert sum(corpus.files.values()) + len(corpus.skipped) >= len(sources)
    rows = [json.loads(line) for line in (tmp_path / "files.jsonl").read_text("utf-8").splitlines()]
    for split, count in corpus.files.items():
        source = open_data(str(tmp_path), "python", split)
        assert isinstance(source, Files)
        texts = [file.text for file in source.read()]
        assert len(texts) == count
        assert sum(len(text.split(" ")) for text in texts) == corpus.tokens[split]
        by_line = {row["line"]: row["path"] for row in rows if row.get("split") == split}
        for line, text in enumerate(texts, start=1):
            # the same file, token by token, but for the values of its literals
            whole = tokens_of((ROOT / "passkwh" / by_line[line]).read_bytes(), "python")
            words = [token for token in text.split(" ") if not LITERAL.search(token)]
            assert words == [token for token in whole if isinstance(token, str)]
    assert Py150({"data": str(tmp_path), "split": "train"}, None).tasks


def test_a_java_tree_becomes_a_corpus_with_what_cannot_be_read_named(tmp_path: Path) -> None:
    tree = tmp_path / "src" / "org"
    tree.mkdir(parents=True)
    for number in range(12):
        lines = "\n".join(f'\tint field{n} = {n}; // "nö"\n\tString s{n} = "a b";' for n in range(number + 5))
        (tree / f"A{number}.java").write_text(f"package org;\nclass A{number} {{\n{lines}\n}}\n", "utf-8")
    (tree / "Broken.java").write_text('class B { String s = "open; }\n', "utf-8")
    (tree / "Latin.java").write_bytes("class L { } // \xe9".encode("latin-1"))
    (tree / "Empty.java").write_text("// nothing\n", "utf-8")
    (tree / ".hidden").mkdir()
    (tree / ".hidden" / "H.java").write_text("class H { }", "utf-8")
    corpus = make_corpus(tmp_path / "src", tmp_path / "out", "java", (0.5, 0.2))
    assert set(corpus.skipped) == {"org/Broken.java", "org/Latin.java", "org/Empty.java"}
    assert "not UTF-8" in corpus.skipped["org/Latin.java"]
    assert sum(corpus.files.values()) == 12
    assert all(corpus.files.values())
    benchmark = JavaCorpus({"data": str(tmp_path / "out")}, None)
    assert len(benchmark.tasks) == corpus.files["test"]
    assert '"<STR_LIT:aU+0020b>"' in benchmark.tasks[0].request.text + (tmp_path / "out" / "test.txt").read_text(
        "utf-8"
    )


def test_splits_are_by_file_and_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    for name in "first", "second":
        make_corpus(ROOT / "passkwh" / "harness", tmp_path / name, "python")
    index = (tmp_path / "first" / "files.jsonl").read_text("utf-8")
    assert index == (tmp_path / "second" / "files.jsonl").read_text("utf-8")
    splits = Counter(row["split"] for row in map(json.loads, index.splitlines()) if "split" in row)
    assert set(splits) == {"train", "dev", "test"}
    paths = [row["path"] for row in map(json.loads, index.splitlines())]
    assert len(paths) == len(set(paths))


def test_given_literals_are_the_ones_that_are_kept(tmp_path: Path) -> None:
    literals = tmp_path / "given.json"
    literals.write_text(json.dumps({"str": ["utf-8"], "num": [], "char": [], "regex": []}), "utf-8")
    make_corpus(ROOT / "passkwh", tmp_path / "out", "python", literals=literals)
    kept = {
        token.partition("<STR_LIT:")[2].partition(">")[0]
        for split in ("train", "dev", "test")
        for token in (tmp_path / "out" / f"{split}.txt").read_text("utf-8").split()
        if "_LIT:" in token
    }
    assert kept == {"utf-8"}


def test_wrong_use_is_said(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("x = 1\n", "utf-8")
    with pytest.raises(UsageError, match="language is 'rust'"):
        make_corpus(tmp_path, tmp_path / "out", "rust")
    with pytest.raises(UsageError, match="together below 1"):
        make_corpus(tmp_path, tmp_path / "out", "python", (0.9, 0.1))
    with pytest.raises(UsageError, match="no folder at"):
        make_corpus(tmp_path / "none", tmp_path / "out", "python")
    with pytest.raises(UsageError, match="need at least three"):
        make_corpus(tmp_path, tmp_path / "out", "python")
    with pytest.raises(UsageError, match=r"is not a literals\.json"):
        make_corpus(ROOT / "passkwh", tmp_path / "out", "python", literals=tmp_path / "one.py")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "test.txt").touch()
    with pytest.raises(UsageError, match=r"already holds test\.txt"):
        make_corpus(ROOT / "passkwh", tmp_path / "out", "python")


def test_the_command_prints_what_it_made(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for number in range(4):
        (tmp_path / "src" / f"m{number}.py").write_text("x = 1\n" * 20, "utf-8")
    (tmp_path / "src" / "bad.py").write_text("x = '''\n", "utf-8")
    program = "from passkwh.cli.data import app; app()"
    arguments = ["codexglue", str(tmp_path / "src"), "--language", "python", "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert sum(result["files"].values()) == 4
    assert list(result["skipped"]) == ["bad.py"]
    assert "skipped bad.py" in done.stderr
