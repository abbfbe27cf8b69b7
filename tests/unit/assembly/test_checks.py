"""What can be known is told before the first step, with split, file and line. A new mistake is a line."""

import io
import json
import tarfile

import pytest
from PIL import Image
from torch import nn

from sensorium.assembly import build, checks
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.datasets.webdataset import WebDataset
from sensorium.builtin.modalities.text import Text
from sensorium.contracts.reading import collate, transform
from sensorium.contracts.run import Run
from sensorium.engine.settings import Training
from sensorium.errors import MediaError, SensoriumError, UserError
from sensorium.plugins import Plugins
from sensorium.training.execution import execute

INSTALLED = Plugins()
TOYS = Plugins(("toys",))
PAIRS = ("toy_pairs", "model={loss: infonce}")


@pytest.fixture
def words(tmp_path):
    """Returns a function that gives the options of a recognition of words from rows of (split, text, label)."""

    def options(rows, *more):
        for split in ("train", "validation", "test"):
            lines = [{"words": text, "animal": label} for of, text, label in rows if of == split]
            (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return [
            f"dataset={{name: manifest, train: {tmp_path}/train.jsonl, test: {tmp_path}/test.jsonl,"
            f" validation: {tmp_path}/validation.jsonl, fields: {{words: text, animal: label}}}}",
            "modalities={words: {name: text, tokenizer: words}, animal: label}",
            "model={input: words, targets: [animal], encoder: {name: rnn, dim: 4}, metrics: [accuracy]}",
            "training={epochs: 1, global_batch: 2}",
            "run.threads=0",
            *more,
        ]

    return options


GOOD = [(split, f"a {label} {n}", label) for split in ("train", "validation", "test") for n in (1, 2) for label in "cd"]


@pytest.mark.parametrize(
    ("rows", "more", "told"),
    [
        ([*GOOD, ("test", "an emu", "e")], [], ["Split 'test', ", "test.jsonl:5, sample 4, field 'animal'", "'e'"]),
        ([*GOOD, ("validation", "an emu", "e")], ["evaluation.epochs=1"], ["Split 'validation', ", ":5, sample 4"]),
        ([*GOOD, ("test", "an emu", "e"), ("test", "b", "f")], [], ["test.jsonl:5", "So it is with 1 more samples"]),
        ([*GOOD, ("train", "an emu", "e"), ("test", "b", "e")], ["dataset.limit={train: 4}"], ["test.jsonl:5"]),
        ([*GOOD, ("train", "an emu", "e")], ["modalities.animal.most=2"], ["Split 'train', ", "train.jsonl:5"]),
    ],
    ids=["test", "validation", "several", "limit", "most"],
)
def test_a_label_that_was_not_learnt_is_told_with_split_file_and_line(words, rows, more, told):
    with pytest.raises(MediaError) as caught:
        assemble(load("recognition", words(rows, *more), INSTALLED))
    for part in (*told, "There is no label", "unknown: ignore"):
        assert part in str(caught.value)


def test_a_split_that_is_not_used_is_not_read(words):
    rows = [*GOOD, ("validation", "an emu", "e")]
    assert len(assemble(load("recognition", words(rows), INSTALLED)).splits["validation"]) == 5
    ignored = words([*GOOD, ("test", "an emu", "e")], "modalities.animal.unknown=ignore")
    assert assemble(load("recognition", ignored, INSTALLED)).modalities["animal"].names == ["c", "d"]


def pictures(folder, broken):
    """Writes pictures of which that of one split cannot be read; returns the options that read them."""
    for split in ("train", "test"):
        lines = []
        for number in range(4):
            path = folder / f"{split}{number}.png"
            Image.new("L", (8, 8), number).save(path)
            if split == broken and number == 2:
                path.write_bytes(path.read_bytes()[:50])
            lines.append({"picture": path.name, "label": "ab"[number % 2]})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return [
        f"dataset={{name: manifest, train: {folder}/train.jsonl, test: {folder}/test.jsonl,"
        " fields: {picture: image, label: label}}",
        "modalities={picture: {name: image, size: 8, channels: 1}, label: label}",
        "model={input: picture, targets: [label], encoder: {name: convnet, widths: [4], dim: 4}}",
        "training={epochs: 1, global_batch: 2}",
        "run.threads=2",
    ]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_picture_that_cannot_be_read_is_told_or_skipped(tmp_path, split):
    options = pictures(tmp_path, split)
    with pytest.raises(MediaError) as caught:
        assemble(load("recognition", options, INSTALLED))
    assert f"Split '{split}', {tmp_path}/{split}.jsonl:3, sample 2, field 'picture': " in str(caught.value)
    assert f"{split}2.png is not a readable picture" in str(caught.value)
    assembly = assemble(load("recognition", [*options, "dataset.broken=skip"], INSTALLED))
    assert len(assembly.splits[split]) == 3


@pytest.mark.parametrize(
    ("task", "override", "told"),
    [
        ("recognition", "tracking.register=a/b", "register is 'a/b'; a registered model has a name without / and :"),
        ("recognition", "tracking.register=a:b", "register is 'a:b'"),
        ("recognition", "tracking.register=''", "register is ''"),
        ("recognition", "tracking.register=' '", "register is ' '"),
        ("recognition", "tracking.experiment=''", "experiment is the name of an MLflow experiment"),
        ("recognition", "tracking.every=0", "every must be at least 1, not 0"),
        ("recognition", "training.optimizer.weight_decay=.nan", "training.optimizer.weight_decay is nan"),
        ("recognition", "training.optimizer.lr=.inf", "training.optimizer.lr is inf"),
        ("recognition", "training.optimizer.options={betas: [0.9, .nan]}", "Expected: finite numbers"),
        ("recognition", "modalities.image.mean=[.nan]", "modalities.image.mean is [nan]"),
        ("recognition", "run.timeout=.inf", "run.timeout is inf"),
        ("recognition", "run.resources={CPU: .nan}", "run.resources is {'CPU': nan}"),
        ("recognition", "search.space={training.optimizer.lr: {uniform: [0.1, .inf]}}", "Expected: finite numbers"),
        ("recognition", "model.encoder={name: torchvision, model: resnet8}", "There is no torchvision model 'resnet8'"),
        (
            "recognition",
            "model.encoder={name: torchvision, weights: IMAGENET}",
            "There is no set of weights 'IMAGENET'",
        ),
        ("recognition", "model.encoder={name: torchvision, connected: true}", "no fully connected layer"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_told_when_it_is_read(task, override, told):
    with pytest.raises(UserError) as caught:
        load(task, [override], INSTALLED)
    assert told in str(caught.value)


def test_a_loss_over_pairs_with_one_of_them_is_told():
    with pytest.raises(UserError, match=r"a loss over pairs compares.*Set training\.global_batch=2"):
        assemble(load(PAIRS[0], [PAIRS[1], "training.global_batch=1"], TOYS))
    assemble(load(PAIRS[0], [PAIRS[1], "training.global_batch=2"], TOYS))
    assemble(load("toy_regression", ["training.global_batch=1"], TOYS))


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("training.global_batch=1", "training"),
        ("training.stages.train.global_batch=1", "training.stages.train"),
    ],
)
def test_batch_normalisation_of_a_single_value_is_told(override, key):
    with pytest.raises(
        UserError, match=rf"'train' is 1; the batch normalisation 'body\.1' .*Set {key}\.global_batch=2"
    ):
        assemble(load("toy_regression", [override, "model.norm=true"], TOYS))


def test_batch_normalisation_over_places_has_values_enough_in_one_sample():
    assembly = assemble(load("toy_regression", ["training.global_batch=1"], TOYS))
    samples = [assembly.splits["train"][0]]
    one = collate([(sample, transform(sample, assembly.modalities)) for sample in samples], assembly.modalities)
    task, (stage,) = assembly.task.eval(), assembly.task.stages()
    task.body = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(4, 1))
    checks.norms(task, Training(global_batch=1), stage, one)
    task.body = nn.Sequential(nn.Unflatten(1, (4, 1)), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(4, 1))
    with pytest.raises(UserError, match=r"'body\.1'"):
        checks.norms(task, Training(global_batch=1), stage, one)
    checks.norms(task, Training(global_batch=2), stage, one)


def test_of_many_samples_some_are_drawn_the_same_ones_each_time(monkeypatch):
    monkeypatch.setattr(checks, "MOST", 10)
    chosen = checks._chosen(1000)
    assert len(set(chosen)) == 10
    assert list(chosen) == sorted(chosen) == list(checks._chosen(1000))
    assert max(chosen) > 500
    assert list(checks._chosen(10)) == list(range(10))


def test_a_label_that_is_ignored_counts_as_wrong_and_is_told_by_its_name(words, tmp_path):
    rows = [row for row in GOOD if row[0] != "test"]
    rows = [*rows, ("test", "an emu", "e"), ("test", "c 1", "c"), ("train", "an owl", "o"), ("train", "a c", "c")]
    options = words(rows, "modalities.animal={name: label, most: 2, unknown: ignore}")
    assembly = assemble(load("recognition", options, INSTALLED))
    outcome = execute(assembly, Run("run", str(tmp_path / "run"), assembly.loaded.plain(), 0))
    assert outcome.metrics["animal_accuracy"] in (0.0, 0.5)
    assert outcome.examples[0].endswith("it is 'e'.")
    label = assembly.modalities["animal"]
    assert label.encode(label.transform("e", None)) == ""


def test_a_sample_that_cannot_be_opened_is_told_with_its_own_place(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number in range(4):
            info = tarfile.TarInfo(f"{number}.txt")
            info.size = 1
            archive.addfile(info, io.BytesIO(b"\xff" if number == 2 else b"a"))
    split = WebDataset.Config(train=str(tmp_path / "a.tar")).build().open("train")
    with pytest.raises(MediaError, match=rf"^{tmp_path}/a\.tar, 'text' of '2', is not UTF-8"):
        build._learn({"text": Text.Config().build()}, split)


def test_a_server_that_is_away_is_not_a_fault_of_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "AT_ONCE", 0.0)
    rows = [{"image": f"http://127.0.0.1:9/{name}.png", "label": name} for name in "ab"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    splits = ", ".join(f"{split}: {tmp_path}/rows.jsonl" for split in ("train", "validation", "test"))
    options = [
        f"dataset={{name: manifest, {splits}, fields: {{image: image, label: label}}}}",
        "modalities={image: {name: image, size: 8}, label: label}",
        "model={targets: [label], encoder: {name: convnet, widths: [4], dim: 4}}",
        "training.global_batch=2",
    ]
    with pytest.raises(
        SensoriumError, match=r"The server that sample 0 is read from cannot be reached.*its addr"
    ) as told:
        assemble(load("recognition", options))
    assert not isinstance(told.value, MediaError)


class Away:
    """A split whose shards lie on a server that is away."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise MediaError("shard-0.tar cannot be opened.") from ConnectionRefusedError("refused")


def test_nor_is_a_server_that_holds_whole_shards(monkeypatch):
    monkeypatch.setattr(checks, "AT_ONCE", 0.0)
    with pytest.raises(SensoriumError, match=r"The server that sample 0 is read from cannot be reached") as told:
        checks.look({"train": Away()}, {"text": Text.Config().build()}, 0)
    assert not isinstance(told.value, MediaError)
