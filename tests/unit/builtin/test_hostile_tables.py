"""Files of data sets whose values somebody has exchanged: what is opened has values of its kind, the rest is refused.

A reader joins with a line in JSON or TABLES.
"""

import contextlib
import copy
import json

import pytest

from sensorium import MediaError, UserError
from sensorium.builtin.datasets.coco import CocoCaptions
from sensorium.builtin.datasets.easy_vqa import EasyVQA
from sensorium.builtin.datasets.esc50 import ESC50
from sensorium.builtin.datasets.flickr import Flickr
from sensorium.builtin.datasets.karpathy import CocoKarpathy
from sensorium.builtin.datasets.manifest import Manifest
from sensorium.builtin.datasets.sound_captions import AudioCaps, Clotho
from sensorium.builtin.datasets.vqa_v2 import VQAv2
from sensorium_separation.grid import GridMixtures
from sensorium_soundnet.flickr import FlickrSounds
from sensorium_text2image.photographs import DescribedPhotographs

QUESTIONS, ANSWERS = "v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json"
ASKED = {"questions": [{"question_id": 1, "image_id": 2, "question": "what?"}]}
SAID = {
    "annotations": [
        {"question_id": 1, "answer_type": "other", "multiple_choice_answer": "net", "answers": [{"answer": "net"}]}
    ]
}
COCO = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}
KARPATHY = {
    "images": [{"imgid": 1, "filename": "a.jpg", "split": "train", "sentences": [{"sentid": 7, "raw": "a cat"}]}]
}
ROW = {"id": "1", "t": "a cat", "l": "cat", "n": 1, "v": [1.0], "g": ["a"], "i": "a.jpg"}
FIELDS = {"t": "text", "l": "label", "n": "number", "v": "vector", "g": "tags", "i": "image"}

JSON = {
    "coco": (CocoCaptions, "annotations/captions_train2017.json", COCO, {}),
    "karpathy": (CocoKarpathy, "dataset_coco.json", KARPATHY, {}),
    "vqa_v2 questions": (VQAv2, QUESTIONS, ASKED, {ANSWERS: json.dumps(SAID)}),
    "vqa_v2 answers": (VQAv2, ANSWERS, SAID, {QUESTIONS: json.dumps(ASKED)}),
    "easy_vqa": (EasyVQA, "train/questions.json", [["what?", "yes", 0]], {}),
    "manifest": (Manifest, "x.jsonl", ROW, {}),
}
"""Name -> reader, its file, what the file holds, and what other files do."""

TABLES = {
    "manifest": (Manifest, "x.csv", "id,t,l,n,v,g,i\n1,a cat,cat,1,[1],a,a.jpg\n", {}),
    "flickr": (Flickr, "Flickr8k.token.txt", "a.jpg#0\ta cat\n", {}),
    "flickr table": (Flickr, "Flickr8k.token.txt", "image,caption\na.jpg,a cat\n", {}),
    "esc50": (ESC50, "meta/esc50.csv", "filename,fold,category\na.wav,1,cat\nb.wav,2,cat\nc.wav,3,cat\n", {}),
    "grid": (GridMixtures, "index.csv", "id,video,speaker\na,a.mpg,x\nb,b.mpg,y\n", {"a.mpg": "x", "b.mpg": "x"}),
    "photographs": (
        DescribedPhotographs,
        "trainvalclasses.txt",
        "birds\n",
        {"text_c10/birds/a.txt": "a bird\n", "images/a.jpg": "x"},
    ),
    "clotho": (
        Clotho,
        "clotho_captions_development.csv",
        "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\na.wav,rain,wind,sea,dog,cat\n",
        {"development/a.wav": "x"},
    ),
    "audiocaps": (
        AudioCaps,
        "train.csv",
        "audiocap_id,youtube_id,start_time,caption\n7,xyz,30,a dog\n",
        {"train/xyz_30.wav": "x"},
    ),
    "flickr_sounds": (FlickrSounds, "lmdbs/train_frames4_1.txt", "frames/a/1.jpg\n", {}),
}

DEEP = "[" * 10_000 + "]" * 10_000
VALUES = [None, True, 0, -1, 1.5, 10**400, "", " ", "x", "\0", "\ud800", [], [None], ["x"], [[1]], {}, {"a": 1}]
"""What a value is exchanged for."""
CELLS = ["", "\0", '"', "x" * 200_000, "9" * 5000, "nan", "\ufeff", "\n", ",", ",,,,", "²", DEEP, "../..", "/"]
KINDS = {"image": str, "audio": (str, tuple), "video": (str, tuple), "text": str, "label": (str, int)}


def opened(reader, files, root, broken="skip"):
    """Opens the training split from files and reads it whole; returns whether it was refused."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if reader is Manifest:
        (name,) = files
        options = {"fields": FIELDS, "train": str(root / name)}
    else:
        options = {"root": str(root)}
    said, samples = "", []
    try:
        dataset = reader.Config(broken=broken, **options).build()
        samples = dataset.open("train")
    except UserError as error:
        said = str(error)
    if said:
        assert str(root) in said, f"no place is named: {said}"
        assert len(said) < 3000
        return True
    for index in range(len(samples)):
        with contextlib.suppress(MediaError):  # which `broken: skip` leaves out
            sample = samples[index]
            for field, kind in dataset.fields.items():
                assert isinstance(sample[field], KINDS.get(kind, object)), f"{field} is {sample[field]!r}"
                assert type(sample[field]) is not bool
    return False


def places(content, path=()):
    """Yields the path of each value within JSON."""
    yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def exchanged(content, path, value):
    """Returns JSON with another value in one place."""
    if not path:
        return value
    changed = copy.deepcopy(content)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", JSON)
def test_exchanged_values_of_json(name, tmp_path):
    reader, file, content, others = JSON[name]
    assert not opened(reader, {**others, file: json.dumps(content)}, tmp_path)
    for path in places(content):
        for value in VALUES:
            text = json.dumps(exchanged(content, path, value))
            try:
                for broken in ("skip", "refuse"):
                    opened(reader, {**others, file: text}, tmp_path, broken)
            except Exception as error:
                raise AssertionError(f"{value!r:.40} at {path}: {type(error).__name__}: {error}") from error
    for text in (DEEP, '{"images": ' + DEEP + "}", "9" * 5000, "", "{", b"\xff", "NaN", "[1e999]"):
        assert opened(reader, {**others, file: text}, tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_exchanged_cells_of_tables(name, tmp_path):
    reader, file, content, others = TABLES[name]
    if reader is not FlickrSounds:
        assert not opened(reader, {**others, file: content}, tmp_path)
    words = [word for line in content.splitlines() for word in line.replace("\t", ",").split(",")]
    for word in dict.fromkeys(words):
        for cell in CELLS:
            try:
                for broken in ("skip", "refuse"):
                    opened(reader, {**others, file: content.replace(word, cell)}, tmp_path, broken)
            except Exception as error:
                raise AssertionError(f"{cell!r:.40} for {word}: {type(error).__name__}: {error}") from error
    for raw in (b"\xff\xfe", b"", b"\n", b"\0" * 100, content.encode("utf-16")):
        opened(reader, {**others, file: raw}, tmp_path)
