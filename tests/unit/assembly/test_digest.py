"""The digest of data follows from what they are, not from where they lie."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from sensorium import Modality
from sensorium.assembly import digest as digests
from sensorium.assembly.digest import digest
from sensorium.builtin.datasets.manifest import Manifest
from sensorium.builtin.modalities.image import Image as Pictures
from sensorium.builtin.modalities.text import Text

MODALITIES: dict[str, Modality] = {"image": Pictures.Config().build(), "text": Text.Config().build()}
COUNT = 40


@pytest.fixture
def folder(tmp_path):
    """A manifest of pictures with texts."""
    place = tmp_path / "here"
    place.mkdir()
    for number in range(COUNT):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(place / f"{number}.png")
    write(place, [f"number {number}" for number in range(COUNT)])
    return place


def write(place, texts):
    with (place / "train.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerows([("image", "text"), *((f"{number}.png", text) for number, text in enumerate(texts))])


def of(place, threads=2):
    fields = {"image": "image", "text": "text"}
    return digest(
        Manifest.Config(fields=fields, train=str(place / "train.csv")).build().open("train"), MODALITIES, threads
    )


def test_moved_and_touched_data_are_the_same(folder, tmp_path):
    moved = tmp_path / "there" / "deep"
    shutil.copytree(folder, moved, copy_function=shutil.copy)  # with times of their own
    assert of(folder) == of(moved, threads=0)
    assert len(of(folder)) == 16


def test_one_other_text_is_seen(folder):
    before = of(folder)
    write(folder, [f"number {number}" for number in range(COUNT - 1)] + ["another"])
    assert of(folder) != before
    write(folder, [f"number {number}" for number in range(COUNT - 1)])
    assert of(folder) != before


def test_other_pictures_of_the_same_names_are_seen(folder):
    before = of(folder)
    for number in range(COUNT):
        Image.fromarray(np.full((4, 4, 3), number + 1, np.uint8)).save(folder / f"{number}.png")
    assert of(folder) != before


def test_values_run_into_one_another_nowhere():
    class Split(list):
        columns = None

    first, second = ([{"id": "a", "text": "b"}], [{"id": "ab", "text": ""}])
    assert digest(Split(first), MODALITIES, 0) != digest(Split(second), MODALITIES, 0)
    array = [{"id": "a", "text": "b", "image": np.zeros((2, 3))}], [{"id": "a", "text": "b", "image": np.zeros((3, 2))}]
    assert digest(Split(array[0]), MODALITIES, 0) != digest(Split(array[1]), MODALITIES, 0)


def test_of_many_samples_some_are_read(folder, monkeypatch):
    read = []
    real = digests._start
    monkeypatch.setattr(digests, "_start", lambda path: (read.append(path), real(path))[1])
    of(folder)
    assert len(set(read)) == digests.DRAWN


def test_the_names_of_files_are_the_same_in_an_address(monkeypatch):
    class Split(list):
        def __init__(self, place):
            super().__init__([{"id": "0", "image": place}])
            self.columns = {"image": [place]}

    monkeypatch.setattr(digests, "_start", lambda path: b"")
    here, there, other = (digest(Split(place), MODALITIES, 0) for place in PLACES)
    assert here == there != other


PLACES = ("/data/50% a#b.png", "https://host/50%25%20a%23b.png", "/data/50%25%20a%23b.png")
