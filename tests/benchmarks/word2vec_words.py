"""Words a second that word2vec learns from, against gensim's skip-gram.

Run `python tests/benchmarks/word2vec_words.py` with gensim installed, which nothing else needs, and the folder of real
data in SENSORIUM_TEST_DATA. Both learn vectors of 100 channels from the same sentences of Wikipedia, with a window of
5, 5 negatives and frequent words left out at 1e-3, in turns, on one of torch's threads and with one worker of gensim.
A word counts each time that it is read, before any is left out. The shipped experiment is used with a
larger batch: reading and an update cost the same for 32 sentences as for 256.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from gensim.models import Word2Vec
from timing import rate, ratio, show, take_turns, verdict

from sensorium import hookimpl
from sensorium.assembly.build import Assembly, assemble
from sensorium.assembly.loading import load
from sensorium.contracts.run import Run, Step
from sensorium.engine.checkpoint import Store
from sensorium.engine.loop import Loop

EXPERIMENT = Path(__file__).parents[2] / "plugins/sensorium_word2vec/experiments/wikipedia.yaml"
TARGET = 0.2


class Clock:
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    @hookimpl
    def sensorium_step_finished(self, run: Run, step: Step) -> None:
        """Notes the moment."""
        self.moments.append(time.perf_counter())


def assembled(data: Path, steps: int, batch: int) -> Assembly:
    """Returns the shipped experiment on the articles alone."""
    overrides = [
        f'dataset={{"name": "wikipedia", "root": "{data}"}}',
        'modalities={"text": {"name": "text", "vocabulary_size": 8192, "max_length": 40, "lowercase": true}}',
        *(
            "shared={}",
            "model.metrics=[]",
            "model.counted=0",
            "evaluation.epochs=0",
            "evaluation.split=train",
            "training.epochs=50",
        ),
        *(f"training.steps={steps}", f"training.global_batch={batch}"),
    ]
    return assemble(load(str(EXPERIMENT), overrides))


def ours(data: Path, steps: int, batch: int, words: float) -> float:
    """Returns the words a second of a training of some steps; `words` is the mean of a sentence."""
    assembly, clock = assembled(data, steps, batch), Clock()
    assembly.loaded.plugins.manager.register(clock)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(name="words", folder=folder, experiment={}, seed=0, steps=steps, tracking={})
        Loop(assembly.work(), run, Store(folder), torch.device("cpu"), assembly.loaded.plugins.hook).train()
    return rate(clock.moments, batch) * words


def theirs(sentences: list[list[str]]) -> float:
    """Returns the words a second of gensim, over all sentences once."""
    model = Word2Vec(vector_size=100, window=5, sg=1, negative=5, sample=1e-3, min_count=1, workers=1)
    model.build_vocab(sentences)
    began = time.perf_counter()
    model.train(sentences, total_examples=len(sentences), epochs=1)
    return sum(map(len, sentences)) / (time.perf_counter() - began)


def main() -> None:
    """Measures, and prints the ratio at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    parser.add_argument("--steps", type=int, default=60, help="steps of a turn")
    parser.add_argument("--batch", type=int, default=256, help="sentences of a step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ.get("SENSORIUM_TEST_DATA", "")) / "word-text"
    if not data.is_dir():
        parser.error("set SENSORIUM_TEST_DATA to the folder of real data")
    assembly = assembled(data, 1, 1)
    split, text = assembly.splits["train"], assembly.task.inputs["word"]
    read = [text.transform(split[index]["text"], None) for index in range(len(split))]
    sentences = [[str(number) for number in ids.tolist()[1:-1]] for ids in read]
    words = sum(map(len, sentences)) / len(sentences)
    runs = {
        "Sensorium": lambda: ours(data, options.steps, options.batch, words),
        "gensim": lambda: theirs(sentences),
    }
    results = take_turns(runs, options.repeat)
    show(f"{len(sentences):,} sentences of {words:.1f} words", results, "words/s")
    print(verdict("Sensorium / gensim", ratio(results, "Sensorium", "gensim"), least=TARGET))


if __name__ == "__main__":
    main()
