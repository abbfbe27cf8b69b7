"""What samples have different numbers of: B comes first in every tensor, and what is otherwise is named."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sensorium import Batch, Padded, SensoriumError
from sensorium.contracts.data import map_tensors
from sensorium.contracts.reading import collate
from sensorium.engine.evaluation import gather
from sensorium.engine.loader import Loader
from sensorium.inference.predictor import Predictor
from training import build, train

B = 3
SAMPLES = [{"id": str(number)} for number in range(B)]


@dataclass(frozen=True)
class Mesh:
    """Vertices in space, and triples of them."""

    vertices: Padded
    faces: Padded


def padded(*shape, mask=None):
    numbers = torch.arange(float(torch.Size(shape).numel())).view(shape)
    lengths = torch.arange(1, shape[0] + 1)
    return Padded(numbers, torch.arange(mask or shape[1]) < lengths[:, None])


RAGGED = {
    "points": padded(B, 4, 3),
    "sound": padded(B, 1, 5, mask=5),
    "words": padded(B, 6),
    "boxes": padded(B, 4, 5),
    "tracks of points": {"places": padded(B, 4, 7, 2), "seen": torch.ones(B, 4, 7)},
    "mesh": Mesh(padded(B, 6, 3), padded(B, 4, 3)),
}


@pytest.mark.parametrize("name", RAGGED)
def test_a_batch_is_cut_through_everything_that_is_ragged(name):
    def tensors(value) -> list[Tensor]:
        found: list[Tensor] = []
        map_tensors(value, lambda tensor: found.append(tensor) or tensor)
        return found

    parts = Batch(SAMPLES, {"it": RAGGED[name]}).split(2)
    assert [len(part) for part in parts] == [2, 1]
    assert [type(part["it"]) for part in parts] == [type(RAGGED[name])] * 2
    joined = zip(*(tensors(part["it"]) for part in parts), strict=True)
    assert all(torch.equal(torch.cat(cuts), whole) for cuts, whole in zip(joined, tensors(RAGGED[name]), strict=True))


WRONG = {
    "all points in one": (torch.zeros(7, 3), "(7, 3) for 3 samples"),
    "time first": (padded(6, B), "(6, 3) for 3 samples"),
    "a number": ({"scale": torch.tensor(1.0)}, "() for 3 samples"),
    "deep inside": (Mesh(padded(B, 6, 3), padded(4, 4, 3)), "(4, 4, 3) for 3 samples"),
    "a mask of something else": (padded(B, 4, 3, mask=2), "mask of the shape (3, 2)"),
    "a mask of numbers": (Padded(torch.zeros(B, 4), torch.ones(B, 4)), "torch.float32"),
    "a mask of each number": (Padded(torch.zeros(B, 4, 3), torch.ones(B, 4, 3) > 0), "mask of the shape (3, 4, 3)"),
    "a mask inside": ({"a": [padded(B, 4, 3, mask=2)]}, "mask of the shape (3, 2)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_that_is_not_of_its_samples_is_named(name):
    value, said = WRONG[name]
    with pytest.raises(SensoriumError) as error:
        Batch(SAMPLES, {"fine": torch.zeros(B), "it": value})
    assert "The field 'it'" in str(error.value)
    assert said in str(error.value)


def test_what_a_modality_collates_wrongly_is_named():
    built = build("toy_pointing")
    modality = built.modalities["boxes"]
    modality.collate = lambda values: Padded(torch.cat(values)[None], torch.ones(1, len(values), dtype=torch.bool))
    pairs = [({"id": str(n)}, {"boxes": torch.ones(n + 1, 5)}) for n in range(2)]
    with pytest.raises(SensoriumError, match=r"field 'boxes' holds a tensor of the shape \(1, 3, 5\) for 2 samples"):
        collate(pairs, {"boxes": modality})


ROWS = {
    "a mean": (lambda n: torch.zeros(()), "() for 4 samples"),
    "another number": (lambda n: torch.zeros(n + 1, 2), "(5, 2) for 4 samples"),
    "a structure": (lambda n: padded(n, 2, 3), "is Padded for 4 samples"),
    "a short list": (lambda n: [0] * (n - 1), "is list for 4 samples, of 3"),
    "as wide as its batch": (lambda n: torch.zeros(n, n), "(B, 2) and (B, 4) in two batches"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_is_not_of_its_samples_is_named(name, monkeypatch):
    make, said = ROWS[name]
    built = build("toy_regression")
    monkeypatch.setattr(built.task, "rows", lambda outputs, batch: {"it": make(len(batch))})
    with Loader(built.splits["test"], built.modalities, 0) as loader, pytest.raises(SensoriumError) as error:
        gather(built.task, loader, torch.device("cpu"), 4)
    assert "The row 'it'" in str(error.value)
    assert said in str(error.value)


def test_what_is_ragged_is_a_list_of_rows(monkeypatch):
    built = build("toy_regression")
    lengths = {sample["id"]: place for place, sample in enumerate(built.splits["test"])}
    monkeypatch.setattr(
        built.task, "rows", lambda outputs, batch: {"it": [torch.zeros(lengths[name]) for name in batch.ids]}
    )
    with Loader(built.splits["test"], built.modalities, 0) as loader:
        rows = gather(built.task, loader, torch.device("cpu"), 4)
    assert [len(row) for row in rows["it"]] == list(range(10))


def test_an_output_that_is_not_of_its_samples_is_named(tmp_path, monkeypatch):
    predictor = Predictor.load(train("toy_regression", tmp_path, "training.epochs=0").outcome.model)
    monkeypatch.setattr(predictor.model.task, "predict", lambda batch: {"y": torch.zeros(1, 1)})
    with pytest.raises(SensoriumError, match=r"The output 'y' holds a tensor of the shape \(1, 1\) for 2 samples"):
        predictor([{"x": [0.0] * 4, "z": [0.0] * 4}] * 2)
