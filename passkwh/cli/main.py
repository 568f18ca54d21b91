"""The program: collects the commands and turns a user's mistake into one line and exit code 2.

Exit codes: 0 done, 1 the work failed, 2 wrong use, 130 interrupted (Ctrl-C, SIGTERM, a closed terminal).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from passkwh.clean import one_line
from passkwh.cli import streams
from passkwh.cli.extras import extra_of
from passkwh.cli.mistakes import in_our_voice
from passkwh.errors import MissingExtra, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="bench",
    help="pass@kWh: which code model solves the most programming tasks per kilowatt-hour.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from passkwh import __version__  # read from the installed package's metadata: not at every start

        print(f"passkwh {__version__}")
        raise typer.Exit


WHAT_NEXT = """\
pass@kWh: which code model solves the most programming tasks per kilowatt-hour.

  bench demo                   a small real model, three ways, with a report and a board (some minutes)
  bench doctor                 what can be measured on this machine, and what is missing
  bench run --model NAME       one model through a benchmark, under the energy meter (bench list: names)
  bench report runs            the runs of a folder as one page
  bench --help                 all commands; each has --help
  bench --install-completion   lets the shell complete commands, options and names
"""


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(WHAT_NEXT, end="")


def _add_commands() -> None:
    if app.registered_commands:
        return
    from passkwh.cli import data, leaderboard, meter, sweep, train
    from passkwh.cli.analyze import analyze
    from passkwh.cli.compare import compare
    from passkwh.cli.demo import demo
    from passkwh.cli.doctor import doctor
    from passkwh.cli.estimate import estimate
    from passkwh.cli.exits import exits
    from passkwh.cli.export import export
    from passkwh.cli.import_ import import_
    from passkwh.cli.listing import list_
    from passkwh.cli.quantize import quantize
    from passkwh.cli.report import report
    from passkwh.cli.reproduce import reproduce
    from passkwh.cli.run import run
    from passkwh.cli.score import score
    from passkwh.cli.serve import serve
    from passkwh.cli.setup import setup
    from passkwh.cli.verify import verify

    app.command()(demo)
    app.command()(run)
    app.command()(report)
    app.command()(reproduce)
    app.command()(analyze)
    app.command()(compare)
    app.command()(estimate)
    app.command()(exits)
    app.command()(export)
    app.command(name="import")(import_)
    app.command(name="list")(list_)
    app.command()(doctor)
    app.command()(quantize)
    app.command()(setup)
    app.command()(verify)
    app.command()(score)
    app.command()(serve)
    app.add_typer(data.app, name="data")
    app.add_typer(leaderboard.app, name="leaderboard")
    app.add_typer(meter.app, name="meter")
    app.add_typer(sweep.app, name="sweep")
    app.add_typer(train.app, name="train")


def main() -> None:
    """Entry point of ``bench`` and ``passkwh``."""
    streams.prepare()
    streams.end_like_ctrl_c()
    _add_commands()
    try:
        # Completion is installed and asked for under the name that is typed; `python -m` has none of its own.
        name = "passkwh" if Path(sys.argv[0]).name == "passkwh" else "bench"
        code = app(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except UsageError as error:
        code = _wrong_use(str(error))
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:  # no optional library: our defect
            raise
        code = _wrong_use(str(MissingExtra(f"this ({error.name})", extra)))
    except OSError as error:
        if error.filename is None:  # no file: our defect
            raise
        code = _wrong_use(f"{error.filename}: {error.strerror}; make it accessible, or name another place")
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        # Typer's own complaints about options carry a formatter and exit code; anything else is our defect: show it.
        if not hasattr(error, "format_message"):
            raise
        code = _wrong_use(in_our_voice(error, sys.argv[1:]))
    if code == INTERRUPTED:  # by Typer, which says nothing, or by the command, which has said how to go on
        streams.leave(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _wrong_use(message: str) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
