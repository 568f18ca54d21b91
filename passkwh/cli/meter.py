"""``bench meter``: watch power live, and find the energy of any command."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli.options import AsJson, Meter
from passkwh.cli.output import note, number, print_json, print_table, say, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.harness.meter import Recorder

app = typer.Typer(help="Watch power live, or meter any command.", no_args_is_help=True)

Figures = dict[str, tuple[float | None, float | None]]
"""Joules so far and watts now, by channel."""

BARS = "▁▂▃▄▅▆▇█"
REFRESH_S = 0.5
SPARK_POINTS = 60


@app.command()
def watch(
    meter: Meter = "auto",
    seconds: Annotated[float | None, typer.Option(min=0.5, help="Stop after so long; until Ctrl-C otherwise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the power of each channel, live."""
    from rich.console import Console
    from rich.live import Live

    from passkwh.harness.meter.base import opened
    from passkwh.harness.meter.recorder import Recorder

    console = Console(stderr=True)
    with opened(meter) as channels, Recorder(channels, lambda rows: None, session=0) as recorder:
        history: dict[str, list[float | None]] = {channel.info.name: [] for channel in channels}
        started_s, start = time.monotonic(), recorder.live()
        try:
            with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
                while seconds is None or time.monotonic() - started_s < seconds:
                    time.sleep(REFRESH_S)
                    for name, (_, power_w) in recorder.live().items():
                        history[name] = [*history[name], power_w][-SPARK_POINTS:]
                    if console.is_terminal:
                        live.update(_live_table(recorder, history))
        except KeyboardInterrupt:
            note("stopped")
        figures = _figures(recorder, start, time.monotonic() - started_s)
    if as_json:
        print_json({"meter": meter, "channels": figures})
        return
    for figure in figures:
        mean = number(figure["mean_w"], unit="W")
        say(f"{figure['name']} ({figure['provenance']}): {number(figure['energy_j'], 4, 'J')}, mean {mean}")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(help="The command, after --.", metavar="-- COMMAND...")],
    meter: Meter = "auto",
    idle_s: Annotated[float, typer.Option("--idle-s", min=0, help="Idle baseline before the command.")] = 3.0,
    save: Annotated[Path | None, typer.Option(help="Keep the trace in this Parquet file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Meter a command and all that it starts: gross energy and net of idle, per channel, with standard errors.

    Ctrl-C ends the command, as without this, and what it drew until then is shown: so a server can be metered, too.
    """
    from passkwh.harness.meter.block import measure

    if sys.stderr.isatty():
        note(f"idle baseline for {idle_s:g} s, then: {' '.join(command)}")
    with measure(meter, idle_s) as block:
        try:
            process = subprocess.Popen(command)
        except OSError as error:
            raise UsageError(f"cannot run {command[0]!r}: {error.strerror}") from error
        try:
            exit_code = process.wait()
        except KeyboardInterrupt:
            exit_code = process.wait()  # it was interrupted as well, and may have to finish something
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if save is not None:
        block.save(save)
    channels = block.channels.values()
    if as_json:
        rows = [
            {
                "name": channel.info.name,
                "provenance": channel.info.provenance,
                "counted": channel.info.counted,
                "energy": channel.energy.model_dump(),
                "idle": channel.idle.model_dump(),
            }
            for channel in channels
        ]
        print_json(
            {
                "command": list(command),
                "exit_code": exit_code,
                "duration_s": block.duration_s,
                "energy_j": block.energy_j,
                "net_energy_j": block.net_energy_j,
                "reason": block.reason,
                "provenance": block.provenance,
                "trace": None if save is None else str(save),
                "channels": rows,
            }
        )
    else:
        cells = []
        for channel in channels:
            energy = channel.energy
            gross_w = None if energy.gross_j is None else energy.gross_j / block.duration_s
            cells.append(
                [
                    channel.info.name,
                    channel.info.provenance,
                    _with_error(energy.gross_j, energy.se_j),
                    _with_error(energy.net_j, channel.net_se_j),
                    number(gross_w, unit="W"),
                    energy.reason or "",
                ]
            )
        title = f"{block.duration_s:.2f} s, exit code {exit_code}"
        print_table(table(title, ["channel", "", "gross", "net of idle", "mean power", ""], cells, right=[2, 3, 4]))
        for channel in channels:
            if channel.info.note:
                note(f"{channel.info.name}: {channel.info.note}")
    if exit_code:
        raise typer.Exit(1)


def _with_error(energy_j: float | None, se_j: float | None) -> str:
    text = number(energy_j, 4, "J")
    return text if energy_j is None or se_j is None else f"{text} ± {number(1.96 * se_j, 2)}"


def _figures(recorder: Recorder, start: Figures, duration_s: float) -> list[dict[str, Any]]:
    """Joules and mean watts of each channel since ``start``."""
    now = recorder.live()
    figures = []
    for channel in recorder.channels:
        name = channel.info.name
        (before_j, _), (after_j, _) = start[name], now[name]
        energy_j = None if after_j is None else after_j - (before_j or 0.0)
        mean_w = None if energy_j is None else energy_j / duration_s
        figures.append({"name": name, "provenance": channel.info.provenance, "energy_j": energy_j, "mean_w": mean_w})
    return figures


def _live_table(recorder: Recorder, history: dict[str, list[float | None]]) -> Any:
    live = recorder.live()
    rows = []
    for channel in recorder.channels:
        energy_j, power_w = live[channel.info.name]
        name = channel.info.name
        rows.append(
            [name, channel.info.provenance, number(power_w, 4, "W"), number(energy_j, 4, "J"), sparkline(history[name])]
        )
    return table(None, ["channel", "", "power", "energy", "last half minute"], rows, right=[2, 3])


def sparkline(values: list[float | None]) -> str:
    """Values as bars between 0 and their largest; a gap where one is missing."""
    top = max((value for value in values if value is not None), default=0.0)
    if top <= 0:
        return ""
    return "".join(" " if value is None else BARS[min(int(max(value, 0) / top * 8), 7)] for value in values)
