"""How fast agents are trained: steps of the recorded environment beside the paper's online one, and PPO as a whole.

    python perf/agent_training.py [--model smollm2-135m-instruct] [--files 8] [--recording DIR] [--steps 500000]

Records some files (or uses the recording of `bench train agent` in DIR), then steps with random actions through
- the recorded environments, together, as training does,
- one recorded environment behind Gymnasium's interface,
- the paper's environment, which reads the whole prefix anew for every token, on the same files and with the same heads,
and trains with both settings of table III. One JSON line last. The online environment's files are cut like the
recorded ones (512 tokens); the longer a file, the slower it is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from paper_environment import ExitEnv, Online, RecordedEpisodes

from passkwh import adapters
from passkwh.adapters.early_exit.training.agent import SETTINGS, train
from passkwh.adapters.early_exit.training.data import TrainingCorpus
from passkwh.adapters.early_exit.training.model import load_trainable
from passkwh.adapters.early_exit.training.recorder import record
from passkwh.adapters.early_exit.training.recording import Recorded, RecordingSettings, open_recording
from passkwh.adapters.early_exit.training.rewards import Rewards
from passkwh.adapters.early_exit.training.vector import RecordedVecEnv, Standardization
from passkwh.benchmarks.completion.data import Files, open_data

MAX_TOKENS = 512


def single_steps_per_s(env: ExitEnv, steps: int) -> float:
    """Steps a second with random actions, resets included."""
    actions = np.random.default_rng(0).integers(2, size=steps)
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    return steps / (time.perf_counter() - start)


def vector_steps_per_s(recorded: Recorded, count: int, steps: int) -> float:
    """The same for many environments at once."""
    env = RecordedVecEnv(recorded, Rewards(), count, Standardization.of(recorded), 0)
    actions = np.random.default_rng(0).integers(2, size=(steps // count, count))
    env.reset()
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    return actions.size / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--bundle", type=Path, help="with heads; without one the exits speak as they are")
    parser.add_argument("--recording", type=Path, help="of the same model and bundle; made anew by default")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--steps", type=int, default=500_000, help="of PPO, and of the recorded environments")
    parser.add_argument("--online-steps", type=int, default=100)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS))
    arguments = parser.parse_args()

    source = open_data("embedded", "python", "train")
    assert isinstance(source, Files)
    corpus = TrainingCorpus(source.description, "python", lambda: (file.text for file in source.read()))
    trainable = load_trainable(adapters.prepare(adapters.resolve(arguments.model)), arguments.bundle)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        recording = (
            open_recording(arguments.recording)
            if arguments.recording
            else record(
                trainable,
                corpus,
                Path(folder) / "recording",
                RecordingSettings(corpus=corpus.description, language="python", max_tokens=MAX_TOKENS),
                10**9,
                arguments.files,
            )
        )
        recording_s = None if arguments.recording else time.perf_counter() - start
        recorded = Recorded([recording])
        online = Online(trainable, corpus, MAX_TOKENS, limit_files=arguments.files)
        together = vector_steps_per_s(recorded, 64, arguments.steps)
        alone = single_steps_per_s(ExitEnv(RecordedEpisodes(recorded), Rewards()), min(arguments.steps, 20_000))
        slow = single_steps_per_s(ExitEnv(online, Rewards()), arguments.online_steps)
        ppo = {}
        for name in arguments.settings:
            start = time.perf_counter()
            plan = replace(SETTINGS[name], steps=arguments.steps)
            done = train(recorded, plan, Path(folder) / name).steps
            taken_s = time.perf_counter() - start
            ppo[name] = {"steps": done, "seconds": round(taken_s, 1), "steps_per_s": round(done / taken_s)}
    print(
        json.dumps(
            {
                "model": trainable.card.base.model,
                "exits": list(trainable.card.exits),
                "recorded_tokens": recording.tokens,
                "recording_s": recording_s and round(recording_s, 1),
                "recorded_steps_per_s": round(together),
                "recorded_single_steps_per_s": round(alone),
                "online_steps_per_s": round(slow, 2),
                "ratio": round(together / slow),
                "single_ratio": round(alone / slow),
                "ppo": ppo,
            }
        )
    )


if __name__ == "__main__":
    main()
