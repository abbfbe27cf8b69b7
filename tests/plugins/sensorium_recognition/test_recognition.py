"""What recognition shows of itself: words below a picture, which are green where all of them are right."""

import pytest
import torch

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load


@pytest.fixture(scope="module")
def assembly():
    assembled = assemble(load("recognition", ["dataset.train=40", "dataset.held_out=10", "training.global_batch=20"]))
    assembled.task.eval()
    return assembled


def test_tags_above_one_half_are_told_and_have_to_be_all_of_the_true_ones(assembly):
    task = assembly.task
    names = task.targets["tags"].names
    truth = torch.zeros(1, len(names))
    truth[0, [0, 2]] = 1
    rows = {"scores.tags": truth * 2 - 1, "truth.tags": truth}
    assert task._told(rows, "tags", 0) == (f"{names[0]}, {names[2]}", True)
    rows["scores.tags"][0, 1] = 0.1
    assert task._told(rows, "tags", 0) == (f"{names[0]}, {names[1]}, {names[2]}", False)


def test_pictures_are_drawn_with_what_they_are_taken_for(assembly):
    split = assembly.splits["test"]
    batch = assembly.task.batched([split[place] for place in range(len(split))])
    with torch.no_grad():
        rows = {**assembly.task.rows(assembly.task(batch), batch), "id": batch.ids}
    assert assembly.task.plots(rows, split)["recognised.png"].startswith(b"\x89PNG")


def test_spectrograms_are_drawn_with_what_they_are_taken_for():
    options = [
        "dataset={name: spoken_sequences, train: 20, held_out: 5}",
        "training.global_batch=10",
        "modalities={audio: {name: audio, sample_rate: 8000, seconds: 2.5, n_mels: 16}, digits: tags}",
        "model={input: audio, encoder: {name: convnet, widths: [4, 4], dim: 4}, targets: [digits]}",
    ]
    heard = assemble(load("recognition", options))
    split = heard.splits["test"]
    batch = heard.task.eval().batched([split[place] for place in range(len(split))])
    with torch.no_grad():
        rows = {**heard.task.rows(heard.task(batch), batch), "id": batch.ids}
    assert heard.task.plots(rows, split)["recognised.png"].startswith(b"\x89PNG")
