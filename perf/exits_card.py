"""The README of the shipped early-exit bundle, written from its exit.json and the list of its data's licences.

    python perf/exits_card.py --work DIR [--method frozen] --install

DIR is that of perf/exits_bundle.py. Writes DIR/METHOD/README.md, and with --install puts the bundle into the package in
place of the one that is there. Every figure is read from what the trainings and the calibration noted. Prints one JSON
line last: the bundle's size in bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from passkwh.adapters.early_exit.request import SHIPPED
from perf.exits_bundle import JAVA_HELD_OUT, JAVA_TRAIN, MODEL, PYTHON_HELD_OUT, PYTHON_TRAIN

SHOWN_THRESHOLDS = ("agent:0.6", "agent:0.8", "agent:0.9", "agent:0.92")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--method", default="frozen")
    parser.add_argument("--install", action="store_true")
    options = parser.parse_args()
    bundle: Path = options.work / options.method
    card = json.loads((bundle / "exit.json").read_text("utf-8"))
    licences = json.loads((options.work / "licences.json").read_text("utf-8"))
    shutil.copy(options.work / "licences.json", bundle)
    (bundle / "README.md").write_text(readme(card, licences, bundle), "utf-8")
    if options.install:
        shutil.rmtree(SHIPPED / MODEL)
        shutil.copytree(bundle, SHIPPED / MODEL)
    print(json.dumps({"bytes": sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())}))


def readme(card: Mapping[str, Any], licences: Mapping[str, str], bundle: Path) -> str:
    """The whole page."""
    heads, agents = card["notes"]["shortcut"], card["notes"]["agents"]
    exits = ", ".join(str(layer) for layer in card["exits"])
    size = (bundle / "heads.safetensors").stat().st_size / 1e6
    parts = [
        f"""# Early-exit bundle for SmolLM2-135M-Instruct

Heads and exit agents for the embedded model ({card["base"]["layers"]} layers, width {card["base"]["hidden_size"]}) as it is: nothing
of the model is fine-tuned, so through all its layers it writes what it writes without the bundle. `bench run --model
{MODEL} --exit ...` uses it without being asked to. `exit.json` has all figures below, and more. This page was written
from it by `perf/exits_card.py`.

## What is here

| part | what | size |
|---|---|---|
| `heads.safetensors` | for each exit before the last of {exits} a linear map to the state after the last layer, 16 bits, and the {card["candidates"]} most common tokens of the data | {size:.1f} MB |
| `agents/` | two exit agents a language: one trained by reward (PPO, the default) and one told the answers (`agent=python-supervised`) | 0.1 MB each |
""",  # noqa: E501
        _data(heads, licences),
        f"""## Heads

Distilled to the last layer's own distribution: {heads["duration_s"] / 60:.0f} minutes on shared cores,
{heads["energy"]["gross_j"] / 1e3:.1f} kJ **{heads["energy"]["provenance"]}**. The share of held-out tokens on which an
exit says what the last layer says:

{_agreement(heads["agreement_with_last_layer"])}""",
        """## Agents

Policies of two hidden layers of 32 units, trained along the text of training files. Agreement with the last layer and
the mean layer of exits, over tokens of held-out files:
""",
        _table(
            ("agent", "trained", "J (estimated)" if _all_estimated(agents) else "J", *SHOWN_THRESHOLDS, "oracle"),
            ([f"`{name}`", *_agent(note)] for name, note in sorted(agents.items())),
        ),
        _calibrations(card.get("calibrations", [])),
        """## Make it again

```
python perf/exits_bundle.py data --work W
python perf/exits_bundle.py train --work W
python perf/exits_bundle.py calibrate --work W
python perf/exits_card.py --work W --install
```
""",
    ]
    return "\n".join(parts)


def _data(heads: Mapping[str, Any], licences: Mapping[str, str]) -> str:
    python = [f"{name} ({licences[name]})" for name in PYTHON_TRAIN if name in licences]
    held_out = [f"{name} ({licences[name]})" for name in PYTHON_HELD_OUT if name in licences]
    rows = [
        ("Python for training", f"installed packages, without tests: {', '.join(python)}"),
        ("Java for training", f"Debian's source packages, all Apache-2.0: {', '.join(JAVA_TRAIN)}"),
        ("Python held out", ", ".join(held_out)),
        ("Java held out", f"Debian's source packages, all Apache-2.0: {', '.join(JAVA_HELD_OUT)}"),
    ]
    return f"""## Data

{heads["tokens"]:,} tokens for the heads, half of each language. No text is in the bundle, only numbers that were fitted
to them. Files that share half of their runs of five tokens with an embedded test file or a held-out one were left out.
The base model has very likely seen most of these sources in its own training.

{_table(("files", "of"), rows)}"""


def _agreement(by_data: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(by_data)
    kinds = [(name, kind) for name in names for kind in by_data[name] if kind != "tokens"]
    layers = next(iter(value for kind, value in by_data[names[0]].items() if kind != "tokens"))
    heading = ("exit", *(f"{name.removeprefix('embedded samples, ')}: {kind}" for name, kind in kinds))
    return _table(
        heading, ([layer, *(f"{by_data[name][kind][layer]:.1%}" for name, kind in kinds)] for layer in layers)
    )


def _agent(note: Mapping[str, Any]) -> list[str]:
    told = note.get("method") == "supervised"
    trained = f"{note['steps']:,} {'batches' if told else 'steps'} in {note['training_s']:.0f} s"
    rules = [note["rules"].get(name) for name in (*SHOWN_THRESHOLDS, "oracle")]
    figures = [
        "—" if rule is None else f"{rule['agreement']['mean']:.1%} at {rule['mean_exit_layer']['mean']:.1f}"
        for rule in rules
    ]
    return [trained, f"{note['energy']['gross_j']:.0f}", *figures]


def _all_estimated(agents: Mapping[str, Any]) -> bool:
    return all(note["energy"]["provenance"] == "estimated" for note in agents.values())


def _calibrations(calibrations: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for one in calibrations:
        options = "".join(f",{key}={value}" for key, value in one["options"].items())
        for point in one["points"]:
            interval = f"{point['loss']:.1%} [{point['loss_low']:.1%}, {point['loss_high']:.1%}]"
            rule = f"`{one['rule']}:{point['threshold']:g}{options}`"
            rows.append((one["language"], rule, interval, f"{point['mean_exit_layer']:.1f}", f"{one['files']}"))
    if not rows:
        return ""
    return f"""## What thresholds lose

Share of ROUGE-L lost on validation files against the model through all its layers, with 95 % intervals over files, and
the mean layer of exits. `--exit agent:loss=0.05` picks a threshold from these.

{_table(("language", "rule", "lost", "mean layer", "files"), rows)}"""


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heading = list(heading)
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
