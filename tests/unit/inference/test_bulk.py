"""Many questions: an answer or an error for each, in parts that are whole, gone on with after an interruption."""

import io
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from sensorium.errors import UserError
from sensorium.inference import bulk
from sensorium.inference.bulk import Asker, Folder, plan
from sensorium.inference.predictor import Predictor
from training import train


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    options = ["training.epochs=1", "dataset.limit={train: 256, test: 64}", "evaluation.contributions=false"]
    return Predictor.load(train("clip", tmp_path_factory.mktemp("clip"), *options).outcome.model)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(9):
        Pillow.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "4.png").write_bytes(b"\x89PNG torn")
    return folder


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(bulk, "PART", 4)


def answered(predictor, work, place, batch=3):
    folder, asker = Folder(str(place), work), Asker(predictor, work, batch)
    for number in folder.missing(work.parts):
        folder.write(number, asker.table(asker.part(number)))
    return pd.read_parquet(place).sort_values("id", ignore_index=True)


def test_each_file_has_the_answer_that_it_has_alone(predictor, pictures, tmp_path, small_parts):
    work = plan("m", predictor, f"{pictures}/*.png", [])
    assert (work.name, work.rows, work.parts) == ("image", 9, 3)
    table = answered(predictor, work, tmp_path / "answers.parquet")
    assert list(table["id"]) == [str(pictures / f"{number}.png") for number in range(9)]
    for number, row in table.iterrows():
        if number == 4:
            assert "4.png" in row["error"]
            assert pd.isna(row["image_embedding"])
            continue
        assert pd.isna(row["error"])
        alone = predictor([{"image": str(pictures / f"{number}.png")}])[0]
        assert list(row["image_embedding"]) == alone["image_embedding"], "to the last digit"
        assert pd.read_json(io.StringIO(row["label"]), typ="series").to_dict() == pytest.approx(alone["label"])


def test_a_dataset_is_asked_about_by_the_models_inputs(predictor, tmp_path, small_parts):
    work = plan("m", predictor, "digits:test", ["dataset.limit={test: 6}"])
    assert (work.rows, work.parts) == (6, 2)
    table = answered(predictor, work, tmp_path / "answers.parquet")
    assert len(table) == 6
    assert list(table["id"]) == [f"test/{number}" for number in range(6)]
    assert {"image_embedding", "text_embedding", "label"} <= set(table.columns)
    assert table["error"].isna().all()


def test_a_value_may_be_the_same_for_all(predictor, pictures, tmp_path):
    plain = answered(predictor, plan("m", predictor, f"{pictures}/1.png", []), tmp_path / "plain.parquet")
    work = plan("m", predictor, f"image={pictures}/1.png", ["plus=a handwritten three"])
    moved = answered(predictor, work, tmp_path / "moved.parquet")
    assert list(plain["image_embedding"][0]) != list(moved["image_embedding"][0])


def test_what_was_answered_is_not_asked_again(predictor, pictures, tmp_path, small_parts):
    work = plan("m", predictor, f"{pictures}/*.png", [])
    place = tmp_path / "answers.parquet"
    first = answered(predictor, work, place)
    (place / "part-000001.parquet").unlink()
    before = (place / "part-000000.parquet").stat().st_mtime_ns
    assert Folder(str(place), work).missing(work.parts) == [1]
    assert answered(predictor, work, place).equals(first)
    assert (place / "part-000000.parquet").stat().st_mtime_ns == before
    assert list(Folder(str(place), work).counts()) == [(4, 0), (4, 1), (1, 0)]


def test_answers_are_counted_without_threads_that_could_outlive_python(predictor, pictures, tmp_path, monkeypatch):
    work = plan("m", predictor, f"{pictures}/*.png", [])
    place = tmp_path / "answers.parquet"
    answered(predictor, work, place)
    readers = set()

    class Told(io.FileIO):
        def read(self, *size):
            readers.add(threading.get_ident())
            return super().read(*size)

    folder = Folder(str(place), work)
    monkeypatch.setattr(folder.files, "open", lambda path, mode: Told(path, mode))
    assert list(folder.counts()) == [(9, 1)]
    assert readers == {threading.get_ident()}


def test_a_folder_belongs_to_one_plan(predictor, pictures, tmp_path):
    work = plan("m", predictor, f"{pictures}/*.png", [])
    answered(predictor, work, tmp_path / "answers.parquet")
    with pytest.raises(UserError, match="holds answers to other questions"):
        Folder(str(tmp_path / "answers.parquet"), plan("other", predictor, f"{pictures}/*.png", []))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not empty"):
        Folder(str(tmp_path / "mine"), work)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("nothing/*.png", [], "No file matches"),
        ("digitz:test", [], "Did you mean 'digits'"),
        ("digits:tset", [], "Did you mean 'test'"),  # a split, whatever its name
        ("digits:train", ["dataset.captionz=1"], "Did you mean 'captions'"),
        ("digits:test", ["imge=1.png"], "Did you mean 'image'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(predictor, source, options, said):
    with pytest.raises(UserError, match=said):
        plan("m", predictor, source, options)
