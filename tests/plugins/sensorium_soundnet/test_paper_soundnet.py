"""The paper's data in their own layout: which row goes with which seconds, and the divergence from exactly that row."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import sensorium_soundnet
from sensorium import hookimpl
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.contracts.dataset import sources_of
from sensorium.contracts.reading import batch_of
from sensorium.errors import MediaError, UserError
from sensorium.experiment.parsing import parse
from sensorium.plugins import Plugins
from sensorium.training import runs
from sensorium.training.execution import execute
from sensorium_soundnet.flickr import FlickrSounds

PAPER = Path(sensorium_soundnet.__file__).parent / "experiments/paper.yaml"
RATE = 22050
FRAMES = {"0001": [("videos/a1/ship.mp4", 2), ("videos/b2/dog.mp4", 1)], "0002": [("videos/c3/rain.mp4", 1)]}
"""Shard -> its clips, and how many frames each has."""
NETWORKS = {"object": ("VGG16_IMNET_TRAIN_B", 1000), "scene": ("VGG16_PLACES2_TRAIN_B", 401)}


def tone(hertz, seconds, rate=RATE):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def three_to_one(frame, classes):
    """A row for a frame: 3/4 for the class of its number, 1/4 for the next, so that its entropy is known by hand."""
    row = np.zeros(classes, "<f4")
    row[frame], row[frame + 1] = 0.75, 0.25
    return row


@pytest.fixture
def root(tmp_path):
    """Three clips in two shards, of 400 Hz and, after five seconds, 1600 Hz; six labelled clips of ESC-50."""
    for shard, clips in FRAMES.items():
        paths = [f"/data/frames/{clip}/{k:08}.jpg 0" for clip, count in clips for k in range(1, count + 1)]
        (tmp_path / "lmdbs").mkdir(exist_ok=True)
        (tmp_path / f"lmdbs/train_frames4_{shard}.txt").write_text("\n".join(paths) + "\n")
        for network, classes in NETWORKS.values():
            table = np.stack([three_to_one(10 * int(shard) + k, classes) for k in range(len(paths))])
            (tmp_path / f"features/{network}{shard}").mkdir(parents=True)
            table.tofile(tmp_path / f"features/{network}{shard}/prob")
        for clip, count in clips:
            path = tmp_path / f"mp3/{clip}.mp3"
            path.parent.mkdir(parents=True)
            sound = np.concatenate([tone(400, 5), tone(1600, 2)]) if count == 2 else tone(400, 3)
            soundfile.write(path, sound, RATE, format="MP3")
    esc = tmp_path / "ESC-50"
    (esc / "meta").mkdir(parents=True)
    (esc / "audio").mkdir()
    names = [(f"{fold}-{kind}.wav", fold, kind) for fold in (1, 2, 5) for kind in ("dog", "rain")]
    rows = [f"{name},{fold},0,{kind},True,0,A" for name, fold, kind in names]
    header = "filename,fold,target,category,esc10,src_file,take"
    (esc / "meta/esc50.csv").write_text("\n".join([header, *rows]) + "\n")
    for name, _, kind in names:
        soundfile.write(esc / "audio" / name, tone(500 if kind == "dog" else 3000, 1, 44100), 44100)
    return tmp_path


def opened(root):
    return parse(FlickrSounds.Config, {"root": str(root)}, Plugins()).build().open("train")


def assembled(root, *overrides):
    folders = (f"dataset.sources.videos.root={root}", f"dataset.sources.labelled.root={root / 'ESC-50'}")
    folds = ("dataset.sources.labelled.train_folds=[1, 2]", "model.network.width=0.05")
    sizes = ("training.stages.student.global_batch=4", "training.stages.classifier.global_batch=4")
    return assemble(load(str(PAPER), [*folders, *folds, *sizes, *overrides]))


def batch(assembly, split):
    (source,) = sources_of(assembly.splits[split])
    return batch_of(assembly.splits[split], source, assembly.modalities, range(min(4, len(source.indices))))


def test_each_row_goes_with_its_five_seconds(root):
    split = opened(root)
    samples = [split[index] for index in range(len(split))]
    ship, dog, rain = "videos/a1/ship.mp4", "videos/b2/dog.mp4", "videos/c3/rain.mp4"
    assert [sample["id"] for sample in samples] == [f"{ship}/0", f"{ship}/1", f"{dog}/0", f"{rain}/0"]
    for sample, frame in zip(samples, (10, 11, 12, 20), strict=True):
        for name, (_, classes) in NETWORKS.items():
            assert np.array_equal(sample[name], three_to_one(frame, classes))
    waves = [sample["audio"][0][:, 0] for sample in samples]
    loudest = [np.abs(np.fft.rfft(wave)).argmax() / 5 for wave in waves]  # bins are 1/5 Hz apart
    assert loudest == pytest.approx([400, 1600, 400, 400], abs=1)
    assert [len(wave) for wave in waves] == [5 * RATE] * 4
    assert np.abs(waves[1][round(2.2 * RATE) :]).max() == 0  # the sound ends after seven seconds


def test_no_sample_holds_what_is_not_there(root):
    assembly = assembled(root)
    assert set(batch(assembly, "videos_train").fields) == {"audio", "object", "scene"}
    assert set(batch(assembly, "labelled_train").fields) == {"audio", "label"}
    task, test = assembly.task.eval(), batch(assembly, "labelled_test")
    assert set(task.rows(task(test), test)) == {"logits.pool5", "target.pool5", "taught"}
    assert assembly.task.label.names == ["dog", "rain"]


def test_the_student_is_taught_exactly_what_the_file_says(root):
    """Compared with the sum over classes of p ln(p / q), in numpy and 64 bits."""
    assembly = assembled(root)
    seen, student = batch(assembly, "videos_train"), assembly.task.stages()[0].objectives[0]
    outputs = student.forward(seen)
    losses = student.losses(outputs, seen)
    for name, (network, classes) in NETWORKS.items():
        files = [root / f"features/{network}{shard}/prob" for shard in FRAMES]
        p = np.concatenate([np.fromfile(file, "<f4").reshape(-1, classes) for file in files]).astype(float)
        assert outputs[f"teacher_{name}"].numpy() == pytest.approx(p, abs=1e-6)
        logits = outputs[name].detach().double().numpy()
        q = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected = np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / q), 0).sum(1)
        assert losses[name].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_short_training_begins_at_the_divergence_worked_out_by_hand(root, monkeypatch):
    """Heads of zeros say 1/C, and KL((3/4, 1/4) || 1/C) = ln C + 3/4 ln 3/4 + 1/4 ln 1/4 = ln C - 0.5623 nats."""
    monkeypatch.chdir(root)
    assembly = assembled(root, "training.stages.student.epochs=6", "training.stages.classifier.epochs=1")
    assert [stage.name for stage in assembly.task.stages()] == ["student", "classifier"]
    for conv in assembly.task.heads.convs.values():
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    told = []

    class Listener:
        @hookimpl
        def sensorium_step_finished(self, run, step):
            told.append({name: float(value) for name, value in step.losses.items()})

    assembly.loaded.plugins.manager.register(Listener())
    figures = execute(assembly, runs.create(assembly, {})).metrics
    assert told[0]["student/object"] == pytest.approx(math.log(1000) - 0.5623, abs=1e-3)
    assert told[0]["student/scene"] == pytest.approx(math.log(401) - 0.5623, abs=1e-3)
    assert told[5]["student/object"] < told[0]["student/object"] - 0.1
    assert set(told[6]) == {"classifier/classes"}
    assert "pool5_accuracy" in figures
    assert "object_agreement_accuracy" not in figures  # labelled sounds have no pictures to agree on


def test_the_published_sizes_fit_together(root):
    task = assembled(root, "model.network.width=1.0").task
    assert (task.network.dim, len(task.network.blocks) + len(task.heads.blocks) + 1) == (256, 8)
    assert [block.pool for block in task.network.blocks] == [8, 8, 1, 1, 4]
    assert {name: tuple(conv.weight.shape) for name, conv in task.heads.convs.items()} == {
        "object": (1000, 1024, 8),
        "scene": (401, 1024, 8),
    }
    assert task.inputs["audio"].shape == (1, 5 * RATE)


def short(root):
    with (root / "features/VGG16_IMNET_TRAIN_B0001/prob").open("r+b") as file:
        file.truncate(8000)


def scores(root):
    np.full((1, 401), 2.0, "<f4").tofile(root / "features/VGG16_PLACES2_TRAIN_B0002/prob")


@pytest.mark.parametrize(
    ("harm", "error", "says"),
    [
        (short, UserError, r"size 2000 into shape \(3,1000\)"),
        (lambda root: (root / "features/VGG16_PLACES2_TRAIN_B0002/prob").unlink(), UserError, "No such file"),
        (lambda root: [path.unlink() for path in (root / "lmdbs").iterdir()], UserError, "no list .*train_frames4"),
        (scores, MediaError, "Frame 0 of videos/c3/rain.mp4, field 'scene'.*802 the sum"),
        (lambda root: (root / "mp3/videos/c3/rain.mp4.mp3").write_bytes(b"no"), MediaError, "not a readable sound"),
        (lambda root: (root / "mp3/videos/c3/rain.mp4.mp3").unlink(), MediaError, "not a readable sound"),
    ],
)
def test_what_is_broken_is_named(root, harm, error, says):
    harm(root)
    with pytest.raises(error, match=says):
        opened(root)[3]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.object.field=label", "'label' is label"),
        ("model.object.field=nothing", "'nothing' is not there"),
        ("training.stages.student.split=few", "few"),
        ("training.stages.student.split=labelled_train", "teacher_object"),
        ("training.stages.classifier.split=videos_train", "label"),
    ],
)
def test_what_does_not_fit_is_refused(root, override, says):
    with pytest.raises(UserError, match=says):
        assembled(root, override)
