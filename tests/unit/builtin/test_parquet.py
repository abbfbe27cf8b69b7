"""Parquet as Hugging Face writes it: read a group at a time, labels by their names, what is wrong said with its row."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as Pillow
from pyarrow import parquet

from sensorium import UserError, narrow
from sensorium.builtin.datasets.cache import Cache
from sensorium.builtin.datasets.parquet import Parquet
from sensorium.builtin.datasets.row_groups import GAP, File
from sensorium.builtin.datasets.shards import Shard
from training import train

NAMES = ["cat", "dog", "bird"]
FIELDS = {"image": "image", "text": "text", "label": "label"}
FEATURES = {
    "image": {"_type": "Image"},
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": NAMES, "_type": "ClassLabel"},
}


def picture(number):
    buffer = io.BytesIO()
    Pillow.fromarray(np.full((4, 4), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(numbers, **columns):
    """Returns a table in the layout of Hugging Face's datasets."""
    plain = {
        "image": [{"bytes": picture(number), "path": None} for number in numbers],
        "text": [f"  number {number} " for number in numbers],
        "label": [number % 3 for number in numbers],
        **columns,
    }
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return pa.table(plain).replace_schema_metadata(metadata)


@pytest.fixture
def folder(tmp_path):
    """Seven rows in two files, in groups of two."""
    (tmp_path / "data").mkdir()
    parquet.write_table(rows(range(5)), tmp_path / "data/train-00000-of-00002.parquet", row_group_size=2)
    parquet.write_table(rows(range(5, 7)), tmp_path / "data/train-00001-of-00002.parquet", row_group_size=2)
    return tmp_path / "data"


def opened(train, fields=FIELDS):
    return Parquet.Config(train=str(train), fields=fields).build().open("train")


def test_rows_are_those_of_the_files_in_order(folder):
    split = opened(folder)
    assert len(split) == 7
    for index in (6, 0, 3, 4, 5, 1, 2):
        sample = split[index]
        assert sample["image"] == picture(index)
        assert (sample["text"], sample["label"]) == (f"number {index}", NAMES[index % 3])
    assert [split[index]["id"] for index in (4, 5)] == ["train-00000-of-00002/4", "train-00001-of-00002/0"]
    assert split.place(6) == f"{folder}/train-00001-of-00002.parquet, row 2"


@pytest.mark.parametrize("pattern", ["", "*.parquet", "train-{00000..00001}-of-00002.parquet"])
def test_files_are_named_by_folder_pattern_or_numbers(folder, pattern):
    assert [sample["text"] for sample in opened(folder / pattern)] == [f"number {number}" for number in range(7)]


@pytest.fixture
def read(monkeypatch):
    """The numbers of the groups that are read from the files themselves."""
    read, whole = [], File._read
    monkeypatch.setattr(File, "_read", lambda file, group, *more: read.append(group) or whole(file, group, *more))
    return read


def kept_in(folder, train, gigabytes=1.0):
    cache = Cache(folder=str(folder), gigabytes=gigabytes)
    return Parquet.Config(train=str(train), fields=FIELDS, cache=cache).build().open("train")


def test_a_group_is_read_once_for_all_who_share_a_cache(folder, tmp_path, read):
    for _ in range(2):
        split = kept_in(tmp_path / "cache", folder)
        for index in (0, 1, 0, 2, 3, 1):
            assert split[index]["text"] == f"number {index}"
        assert read == [0, 1]
    assert split.fetch(0) > 0
    assert split.fetch(3) > 0
    assert read == [0, 1, 0]  # of the second file


def test_groups_that_find_no_room_are_read_again(folder, tmp_path, read):
    whole = kept_in(tmp_path / "cache", folder, gigabytes=1e-5)  # an index, and a group or two
    assert [sample["image"] for sample in whole] == [picture(index) for index in range(7)]
    assert [sample["text"] for sample in whole] == [f"number {index}" for index in range(7)]
    taken = sum(path.stat().st_size for path in (tmp_path / "cache").glob("group-*"))
    assert 0 < taken < 1e4
    table = rows(range(4), text=[f"number {number} " + "x" * 20_000 for number in range(4)])
    parquet.write_table(table, tmp_path / "large.parquet", row_group_size=2)
    none = kept_in(tmp_path / "none", tmp_path / "large.parquet", gigabytes=1.5e-5)
    assert [none[index]["text"][:8] for index in (0, 1, 2, 0)] == [f"number {index}" for index in (0, 1, 2, 0)]
    assert not list((tmp_path / "none").glob("group-*"))
    assert none.fetch(0) == 0
    with pytest.raises(UserError, match=r"index of the dataset finds no room.*Raise cache\.gigabytes"):
        kept_in(tmp_path / "less", folder, gigabytes=1e-6)


def test_shards_are_groups_of_rows(folder):
    assert opened(folder).shards.tolist() == [0, 2, 4, 5, 7]
    assert narrow(opened(folder), ["label"]).shards.tolist() == [0, 2, 4, 5, 7]


def test_who_reads_labels_has_no_pictures_read(folder, tmp_path):
    labels = narrow(kept_in(tmp_path / "cache", folder), ["label"])
    assert [set(sample) for sample in labels] == [{"id", "label"}] * 7
    assert set(labels._read(0)[0]) == {"label"}


def test_of_a_file_afar_the_columns_that_are_wanted_are_asked_for_at_once(tmp_path, monkeypatch):
    wide = rows(range(6), filling=[np.random.default_rng(0).bytes(2 * GAP)] * 6)
    parquet.write_table(wide, tmp_path / "x.parquet", row_group_size=3, use_dictionary=False)
    asked, ask = [], Shard.read
    monkeypatch.setattr(Shard, "read", lambda *of: asked.append(of[2] - of[1]) or ask(*of))
    split = kept_in(tmp_path / "cache", tmp_path)
    assert len(asked) == 1  # the footer
    assert split[4]["text"] == "number 4"
    assert len(asked) == 2  # all of a group but the filling
    assert sum(asked) < 2**17


def test_several_threads_read_what_one_does(folder, tmp_path):
    split = kept_in(tmp_path / "cache", folder, gigabytes=1e-5)
    order = [*range(7)] * 30
    with ThreadPoolExecutor(4) as pool:
        assert [sample["text"] for sample in pool.map(split.__getitem__, order)] == [f"number {n}" for n in order]


def test_own_ids_groups_and_paths(tmp_path):
    table = rows(range(2), id=["a", "b"], group=[7, 8], image=[{"bytes": None, "path": "x/0.png"}, {"path": "/1.png"}])
    parquet.write_table(table, tmp_path / "x.parquet")
    first, second = opened(tmp_path)
    assert (first["id"], first["group"], first["image"]) == ("a", "7", str(tmp_path / "x/0.png"))
    assert second["image"] == "/1.png"


@pytest.mark.parametrize(
    ("columns", "wrong"),
    [
        ({"text": ["a", None]}, r"row 2 has no value for 'text'"),
        ({"image": [{"bytes": picture(0)}, {"bytes": b""}]}, r"row 2 has no value for 'image'"),
        ({"label": [0, 3]}, r"row 2, 'label', is 3.*Labels are 0 to 2"),
        ({"label": [0.5, 1.5]}, r"row 1, 'label',"),
        ({"text": [1, 2]}, r"row 1, 'text',"),
    ],
)
def test_what_is_wrong_in_a_row_is_said_with_its_place(tmp_path, columns, wrong):
    parquet.write_table(rows(range(2), **columns), tmp_path / "x.parquet")
    split = opened(tmp_path)
    with pytest.raises(UserError, match=wrong):
        [split[index] for index in range(2)]


def test_an_id_or_a_file_name_occurs_once(tmp_path):
    parquet.write_table(rows(range(3), id=["a", "b", "a"]), tmp_path / "x.parquet", row_group_size=2)
    with pytest.raises(UserError, match=r"id 'a' is there twice: .*row 1 and .*row 3"):
        opened(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        parquet.write_table(rows(range(2)), tmp_path / name / "x.parquet")
    with pytest.raises(UserError, match="file name 'x' is there twice"):
        opened(tmp_path / "*/x.parquet")


@pytest.mark.parametrize("fields", [{"pixels": "image"}, {"image": "image", "nope": "label"}])
def test_a_column_that_is_not_there_is_named(folder, fields):
    with pytest.raises(UserError, match=r"has no column (pixels|nope).*It has image, label, text"):
        opened(folder, fields)


def test_a_folder_without_files_and_a_file_without_rows_are_refused(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        opened(tmp_path)
    parquet.write_table(rows(range(2)).slice(0, 0), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="holds no samples"):
        opened(tmp_path)


def test_a_damaged_file_is_an_error_with_its_name(tmp_path):
    place, said = tmp_path / "x.parquet", []
    parquet.write_table(rows(range(4)), place)
    whole, random = place.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for spot in random.integers(0, len(broken), 3):
            broken[spot] ^= int(random.integers(1, 256))
        place.write_bytes(broken)
        try:
            for sample in opened(tmp_path):
                assert set(sample) == {"id", *FIELDS}
        except UserError as error:
            said.append(str(error))
    assert len(said) > 50
    assert all(str(place) in text for text in said)


def test_pictures_and_sentences_of_a_folder_are_trained_on(tmp_path):
    for split, numbers in {"train": range(64), "test": range(64, 80)}.items():
        parquet.write_table(rows(numbers), tmp_path / f"{split}.parquet")
    dataset = json.dumps(
        {
            "name": "parquet",
            "train": str(tmp_path / "train.parquet"),
            "test": str(tmp_path / "test.parquet"),
            "fields": FIELDS,
        }
    )
    short = ("training.epochs=1", "training.global_batch=16", "evaluation.contributions=false")
    metrics = train("clip", tmp_path / "run", f"dataset={dataset}", *short).outcome.metrics
    assert (16 * metrics["image_to_text_r10"]).is_integer(), "a share of the test split's 16 rows"
    assert 1 <= metrics["text_to_image_median_rank"] <= 16
