"""What a network of the agent's size gets when it is told the answers: is it the reward, the states, or the training?

    python perf/agent_supervised.py RECORDINGS [--language python] [--hidden 32] [--epochs 4]

RECORDINGS is what ``bench train agent`` leaves in WORK/recordings/LANGUAGE. The network learns from the training
recordings, by cross-entropy, whether each exit says what the last layer says; on the held-out ones it leaves where it
is sure enough, and so do confidence rules. Reward, agreement and depth are those of ``bench train agent``'s report.
Prints a table and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.training.environment import Recorded
from passkwh.adapters.early_exit.training.judging import Held, per_step, per_token, walk
from passkwh.adapters.early_exit.training.recording import open_recording
from passkwh.adapters.early_exit.training.rewards import of_language

THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 10))
BATCH = 512
DROPOUT = 0.2


def held(folder: Path, language: str) -> Held:
    """All recordings of one split."""
    return Held.of(Recorded([open_recording(one) for one in sorted(folder.iterdir())]), of_language(language))


def states(of: Held) -> torch.Tensor:
    """[tokens, exits, d]."""
    return torch.from_numpy(np.concatenate([np.asarray(part, dtype=np.float32) for part in of.states]))


def sureness(training: Held, judged: Held, hidden: int, epochs: int) -> NDArray[np.float64]:
    """[tokens, exits]: how sure the network is, on the judged tokens, that an exit says what the last layer says."""
    inputs, others = states(training)[:, :-1], states(judged)[:, :-1]  # the last exit agrees with itself
    flat = inputs.reshape(-1, inputs.shape[-1])
    mean, std = flat.mean(dim=0), flat.std(dim=0) + 1e-6
    flat = (flat - mean) / std
    right = torch.from_numpy(training.right[:, :-1].astype(np.float32)).reshape(-1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(flat.shape[-1], hidden), torch.nn.Tanh(), torch.nn.Dropout(DROPOUT),
        torch.nn.Linear(hidden, hidden), torch.nn.Tanh(), torch.nn.Dropout(DROPOUT), torch.nn.Linear(hidden, 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(epochs):
        for some in torch.randperm(len(flat)).split(BATCH):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(flat[some])[:, 0], right[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        sure = torch.sigmoid(network((others - mean) / std))[..., 0].double().numpy()
    return np.concatenate([sure, np.ones((len(sure), 1))], axis=1)


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--language", default="python")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    training = held(options.recordings / "train", options.language)
    judged = held(options.recordings / "held-out", options.language)
    scores = {
        "supervised": sureness(training, judged, options.hidden, options.epochs),
        "confidence": judged.confidences,
    }
    found: dict[str, Any] = {}
    print(f"{'rule':16s} {'reward/token':>12s} {'reward/step':>12s} {'agreement':>10s} {'mean layer':>11s}")
    for name, score in scores.items():
        for least in THRESHOLDS:
            outcome = walk(judged, score >= least)
            found[f"{name}:{least:g}"] = {
                "reward_per_token": per_token(outcome),
                "reward_per_step": per_step(outcome),
                "agreement": float(outcome.right.mean()),
                "mean_exit_layer": float(outcome.layer.mean()),
            }
            values = found[f"{name}:{least:g}"].values()
            print(f"{name}:{least:<5g} " + " ".join(f"{value:11.3f}" for value in values))
    print(json.dumps({"language": options.language, "tokens": judged.tokens, "hidden": options.hidden, "rules": found}))


if __name__ == "__main__":
    main()
