"""``bench data``: make data for benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.options import out_folder
from passkwh.cli.output import note, print_json, print_table, table

app = typer.Typer(no_args_is_help=True, help="Make data for benchmarks.")


@app.callback()
def _root() -> None:
    pass


@app.command()
def codexglue(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Root of a source tree.")],
    language: Annotated[
        str, typer.Option("--language", "-l", help="python or java.", autocompletion=complete.languages)
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for train.txt, dev.txt, test.txt; made if need be.", callback=out_folder)
    ],
    train: Annotated[float, typer.Option(help="Share of the files for training.")] = 0.8,
    dev: Annotated[float, typer.Option(help="Share of the files for development; the rest is the test split.")] = 0.1,
    literals: Annotated[
        Path | None, typer.Option(help="literals.json whose values are kept (CodeXGLUE's own).")
    ] = None,
    apart_from: Annotated[
        list[str] | None,
        typer.Option(
            help="Data whose test files must not be among these, not even nearly: embedded, hub, a file or folder; "
            "repeat for more."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Turn a source tree into CodeXGLUE's completion data, which the py150 and javacorpus benchmarks read."""
    from passkwh.benchmarks.completion.corpus import make_corpus

    corpus = make_corpus(source, out, language, (train, dev), literals, apart_from or ())
    for path, why in sorted(corpus.skipped.items()):
        note(f"skipped {path}: {why}")
    if as_json:
        print_json(
            {
                "out": str(out),
                "language": language,
                "files": corpus.files,
                "tokens": corpus.tokens,
                "skipped": corpus.skipped,
            }
        )
        return
    rows = [[split, str(corpus.files[split]), str(corpus.tokens[split])] for split in corpus.files]
    print_table(table(None, ["split", "files", "tokens"], rows, right=[1, 2]))
    note(f"wrote {out}; {len(corpus.skipped)} files skipped")
    benchmark = "py150" if language == "python" else "javacorpus"
    note(f"next: bench run --model smollm2-135m-instruct --benchmark {benchmark} --data {out}")
