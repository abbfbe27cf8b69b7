"""Several sources in one training: who learns from what, in which order, and what is measured."""

from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from gloo import together
from sensorium import Dataset, Source, UserError, hookimpl, narrow, sources_of
from sensorium.assembly.build import load_model
from sensorium.assembly.splits import Subset
from sensorium.builtin.datasets.union import Joined, Union
from sensorium.builtin.modalities.number import Number
from sensorium.contracts.dataset import source_at
from sensorium.engine.loader import Loader
from sensorium.engine.order import Sources
from training import build, train


def trained(folder, *options):
    run = train("toy_sourced", Path(folder), *options)
    ids = [list(step.ids) for step in run.steps]
    losses = [{name: float(value) for name, value in step.losses.items()} for step in run.steps]
    return ids, losses, run.weights(), dict(run.outcome.metrics)


def test_each_step_learns_from_one_source_by_its_own_objective(tmp_path):
    ids, losses, _, metrics = trained(tmp_path)
    assert len(ids) == 2 * (24 // 8 + 40 // 4)
    for names, terms in zip(ids, losses, strict=True):
        (source,) = {name.partition("/")[0] for name in names}
        assert len(names) == {"near": 8, "far": 4}[source]
        assert set(terms) == {f"{source}/square"}
    assert set(metrics) == {f"{split}/{name}" for split in ("near_test", "far_test") for name in ("error", "count")}
    assert (metrics["near_test/count"], metrics["far_test/count"]) == (24, 40)


def test_an_epoch_sees_each_sample_of_each_source_once(tmp_path):
    ids, *_ = trained(tmp_path, "training.epochs=3")
    counts = Counter(name for step in ids for name in step)
    assert set(counts.values()) == {3}
    assert len(counts) == 24 + 40
    turns = ["".join(step[0][0] for step in ids[start : start + 13]) for start in (0, 13, 26)]
    assert len(set(turns)) == 3, "the sources come in another order each epoch"
    assert all(turn.count("f") == 10 for turn in turns)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_workers_learn_what_one_does(tmp_path, parallel):
    options = ("training.optimizer.name=sgd", f"run.parallel={parallel}")
    one = trained(tmp_path / "one", *options)
    two = together(2, trained, tmp_path / "two", *options)
    for first, second, whole in zip(two[0][0], two[1][0], one[0], strict=True):
        assert [*first, *second] == whole
    for each in two:
        for found, wanted in zip(each[1], one[1], strict=True):
            assert found == pytest.approx(wanted, rel=1e-5)
        for name, tensor in one[2].items():
            torch.testing.assert_close(each[2][name], tensor, rtol=1e-5, atol=1e-6)
        assert each[3] == pytest.approx(one[3], rel=1e-5)


def test_a_training_that_is_killed_goes_on_with_the_same_steps(tmp_path):
    options = ("training.checkpoints.steps=3", "training.optimizer.name=sgd")
    whole = trained(tmp_path / "whole", *options)

    class Stop:
        @hookimpl
        def sensorium_step_finished(self, step):
            if step.number == 17:
                raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        train("toy_sourced", tmp_path / "cut", *options, events=lambda assembly: Stop())
    again = train("toy_sourced", tmp_path / "cut", *options)
    first = again.steps[0].number
    assert 1 < first <= 17
    assert [list(step.ids) for step in again.steps] == whole[0][first - 1 :]
    assert all(torch.equal(value, whole[2][name]) for name, value in again.weights().items())


def test_a_parameter_that_no_worker_used_is_not_moved(tmp_path):
    """AdamW with decay and momentum, over steps that learn from the other source."""
    options = ("training.optimizer.lr=0.1", "training.optimizer.weight_decay=0.5", "training.epochs=1")
    for parallel in ("ddp", "fsdp"):
        for seen in together(2, moved, tmp_path / parallel, *options, f"run.parallel={parallel}"):
            assert len(seen) == 12
            assert all(used == changed for used, changed in seen)


def moved(folder, *options):
    """For each step, which head was its source's, and which was moved."""
    seen, last = [], {}

    class Look:
        def __init__(self, assembly):
            self.task = assembly.task

        @hookimpl
        def sensorium_step_finished(self, step):
            heads = {"near": self.task.near, "far": self.task.far}
            weights = {(n, k): whole(v) for n, head in heads.items() for k, v in head.named_parameters()}
            if last:
                moved = [name for name in weights if not torch.equal(weights[name], last[name])]
                changed = {name for name, _ in moved}
                assert len(moved) == 3 * len(changed), "weight, bias and scalar"
                seen.append(({name.partition("/")[0] for name in step.losses}, changed))
            last.update(weights)

    train("toy_sourced", Path(folder), *options, events=Look)
    return seen


def whole(tensor):
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def test_modalities_learn_from_every_source_that_has_their_field():
    assembly = build("toy_sourced")
    text = assembly.modalities["word"]
    ids = {word: text.transform(text.decode(word), None).tolist() for word in ("near", "far", "elsewhere")}
    assert len({tuple(each) for each in ids.values()}) == 3
    assert [source.name for source in sources_of(assembly.splits["train"])] == ["near", "far"]
    assert [source.name for source in sources_of(assembly.splits["far_train"])] == ["far"]


def test_fields_may_share_what_one_of_them_learns(tmp_path):
    assembly = build("toy_sourced", "shared={other: word}")
    text = assembly.modalities["word"]
    assert assembly.modalities["other"] is text
    ids = [text.transform(text.decode(word), None).tolist() for word in ("near", "far", "elsewhere", "nowhere")]
    assert len(set(map(tuple, ids))) == 4, "words of both fields are known, and one is not"
    again = build("toy_sourced")
    assert again.modalities["word"].vocabulary == text.vocabulary - 1
    run = train("toy_sourced", tmp_path, "shared={other: word}", "training.epochs=0")
    loaded = load_model(run.outcome.model)
    assert loaded.modalities["other"] is loaded.modalities["word"]
    assert loaded.modalities["word"].vocabulary == text.vocabulary
    with pytest.raises(UserError, match="Did you mean 'word'"):
        build("toy_sourced", "shared={other: wrod}")
    with pytest.raises(UserError, match="has a modality of its own"):
        build("toy_sourced", "shared={word: x}")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["model.learns_from=fart"], "Did you mean 'far'"),
        (["model.learns_from=near"], "Nothing learns from the source 'far' in the stage 'both'"),
        (["evaluation.split=train"], "joins several sources"),
        (["evaluation.split=[near_test, far_tset]"], "Did you mean 'far_test'"),
        (["dataset.batches={farr: 4}"], "Did you mean 'far'"),
        (["dataset.batches={far: 50}"], "Source 'far': The training split has 40 samples, the global batch is 50"),
        (["dataset.sources={a: {name: toy_near}, b: {name: digits}}", "dataset.batches={}"], "modalities"),
        (["dataset.holdout=0.2"], "holdout is not for joined datasets"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(options, wrong):
    with pytest.raises(UserError) as error:
        build("toy_sourced", *options)
    assert wrong in str(error.value)


def test_limits_and_broken_samples_leave_each_source_in_its_place():
    assembly = build("toy_sourced", "dataset.sources.near.limit={train: 9}", "dataset.limit={train: 30}")
    split = assembly.splits["train"]
    assert [(source.name, len(source.indices)) for source in sources_of(split)] == [("near", 9), ("far", 21)]
    assert [source_at(split, index).name for index in (0, 8, 9, 29)] == ["near", "near", "far", "far"]
    assert split[9]["id"].startswith("far/")


def test_which_source_comes_when_follows_from_the_seed_alone():
    def order(seed):
        sources = [Source("a", range(64)), Source("b", range(64, 160), batch=4)]
        return Sources(sources, 8, seed)

    one = [list(part) for part in order(3).shares(2, 0, 0, 1)]
    assert len(one) == order(3).steps == 8 + 24
    assert sorted(index for part in one for index in part) == list(range(160))
    halves = [list(order(3).shares(2, 0, rank, 3)) for rank in range(3)]
    assert [[*a, *b, *c] for a, b, c in zip(*halves, strict=True)] == one
    assert [list(part) for part in order(3).shares(2, 11, 0, 1)] == one[11:]
    assert [list(part) for part in order(4).shares(2, 0, 0, 1)] != one
    single = Sources([Source("", range(64))], 8, 3)
    from sensorium.engine.order import Order

    assert [list(part) for part in single.shares(0, 0, 0, 1)] == [
        list(part) for part in Order(64, 8, 3).shares(0, 0, 0, 1)
    ]


class Asked(Dataset):
    """Numbers that nobody learns from."""

    fields: ClassVar[dict[str, str]] = {"x": "vector"}
    splits = ("test",)

    class Config(Dataset.Config):
        """None."""

    def open(self, split):
        return [{"id": "0", "x": [1.0]}]


class Told(Asked):
    """Numbers to learn from."""

    splits = ("train", "test")


def test_a_source_without_a_split_to_train_on_is_evaluated_alone():
    joined = Union(Union.Config(sources={"told": Told.Config(), "asked": Asked.Config()}))
    assert [source.name for source in sources_of(joined.open("train"))] == ["told"]
    assert set(joined.splits) == {"train", "told_train", "told_test", "asked_test"}
    assert joined.open("asked_test")[0]["id"] == "asked/0"
    with pytest.raises(UserError, match="No source has a split to train on"):
        Union(Union.Config(sources={"asked": Asked.Config()})).open("train")


class Column:
    """A split of a table that reads the columns that are asked for."""

    def __init__(self, reads=("x", "y")):
        self.reads = frozenset(reads)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"id": str(index), **dict.fromkeys(self.reads, index)}

    def narrow(self, fields):
        return Column(self.reads & frozenset(fields))


def test_who_reads_one_field_is_given_that_alone_through_all_that_lies_between():
    joined = Joined([(Source("a", range(3)), Column()), (Source("b", range(3)), Column())])
    assert set(narrow(Subset(joined, range(4)), {"y"})[3]) == {"id", "y"}
    assert set(joined[3]) == {"id", "x", "y"}, "the whole one stays as it was"
    assert narrow([{"id": "0", "x": 1}], {"y"})[0]["x"] == 1, "a split may have no such method"
    with Loader(joined, {"x": Number(Number.Config())}, 0) as loader:
        assert set(loader.read(4, None)[0]) == {"id", "x"}
