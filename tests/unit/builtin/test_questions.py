"""Readers of easy-VQA, VQA v2 and Karpathy's split of COCO: real files, and small ones in the true layout."""

import json

import pytest

from sensorium import UserError
from sensorium.builtin.datasets.easy_vqa import EasyVQA
from sensorium.builtin.datasets.karpathy import CocoKarpathy
from sensorium.builtin.datasets.vqa_v2 import VQAv2

ANSWERS = ["net", "net", "net", "racket", "net", "net", "string", "net", "net", "net"]


def write(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def test_easy_vqa(data):
    dataset = EasyVQA.Config(root=str(data / "easy-VQA/data")).build()
    assert dataset.splits == ("train", "test")
    train = dataset.open("train")
    assert len(train) == 38575
    assert train[1] == {
        "id": "train/1",
        "group": "train/0",
        "image": str(data / "easy-VQA/data/train/images/0.png"),
        "question": "what color is the shape?",
        "answer": "blue",
        "answers": ["blue"],
        "type": "colour",
    }
    assert [train[place]["type"] for place in (0, 2)] == ["shape", "yes/no"]


def test_easy_vqa_refuses_what_does_not_fit(tmp_path):
    write(tmp_path / "train/questions.json", [["what?", "yes", 0], ["what?", 0]])
    dataset = EasyVQA.Config(root=str(tmp_path)).build()
    with pytest.raises(UserError, match="number 1"):
        dataset.open("train")
    write(tmp_path / "train/questions.json", b'[["what?",')
    with pytest.raises(UserError, match="not JSON"):
        dataset.open("train")
    with pytest.raises(UserError, match="test"):
        dataset.open("test")
    with pytest.raises(UserError, match="questions"):
        EasyVQA.Config(root=str(tmp_path / "train")).build()


@pytest.fixture
def vqa(tmp_path):
    asked = {"image_id": 458752, "question": "What is this photo taken looking through?", "question_id": 458752000}
    said = {
        "question_type": "what is this",
        "multiple_choice_answer": "net",
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": number}
            for number, answer in enumerate(ANSWERS, 1)
        ],
        "image_id": 458752,
        "answer_type": "other",
        "question_id": 458752000,
    }
    write(tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json", {"info": {}, "questions": [asked]})
    write(tmp_path / "v2_mscoco_train2014_annotations.json", {"info": {}, "annotations": [said]})
    write(tmp_path / "train2014/COCO_train2014_000000458752.jpg")
    return tmp_path


def test_vqa_v2(vqa):
    dataset = VQAv2.Config(root=str(vqa)).build()
    assert dataset.splits == ("train",)
    assert dataset.open("train")[0] == {
        "id": "458752000",
        "group": "458752",
        "image": str(vqa / "train2014/COCO_train2014_000000458752.jpg"),
        "question": "What is this photo taken looking through?",
        "answer": "net",
        "answers": ANSWERS,
        "type": "other",
    }


def test_vqa_v2_refuses_what_does_not_fit(vqa):
    dataset = VQAv2.Config(root=str(vqa)).build()
    write(vqa / "v2_mscoco_train2014_annotations.json", {"annotations": []})
    with pytest.raises(UserError, match=r"questions\[0\], question_id, is 458752000, which .* has no answers to"):
        dataset.open("train")
    write(vqa / "v2_mscoco_train2014_annotations.json", {"questions": []})
    with pytest.raises(UserError, match="has no 'annotations'"):
        dataset.open("train")
    (vqa / "v2_mscoco_train2014_annotations.json").unlink()
    with pytest.raises(UserError, match="no file of answers"):
        dataset.open("train")
    with pytest.raises(UserError, match="validation"):
        dataset.open("validation")
    with pytest.raises(ValueError, match="same splits"):
        VQAv2.Config(root=".", questions={"test": "questions.json"})


@pytest.mark.parametrize("pattern", ["x/{", "x/{}{}", "x/{id}"])
def test_vqa_v2_refuses_a_pattern_without_a_place_for_the_number(pattern):
    with pytest.raises(ValueError, match=r"one \{\} for the number of the image"):
        VQAv2.Config(root=".", questions={"train": "q"}, annotations={"train": "a"}, images={"train": pattern})


def test_vqa_v2_refuses_an_answer_that_is_none(vqa):
    dataset = VQAv2.Config(root=str(vqa)).build()
    file = vqa / "v2_mscoco_train2014_annotations.json"
    whole = json.loads(file.read_text())
    whole["annotations"][0]["answers"][3]["answer"] = None
    write(file, whole)
    with pytest.raises(UserError, match=r"annotations\[0\], answers\[3\], answer, is None"):
        dataset.open("train")


@pytest.fixture
def coco(tmp_path):
    def image(number, split, folder, *sentences):
        name = f"COCO_{folder}_{number:012d}.jpg"
        write(tmp_path / folder / name)
        raws = [
            {"tokens": raw.lower().strip(" .").split(), "raw": raw, "imgid": number, "sentid": number * 10 + place}
            for place, raw in enumerate(sentences)
        ]
        return {
            "filepath": folder,
            "sentids": [raw["sentid"] for raw in raws],
            "filename": name,
            "imgid": number,
            "split": split,
            "sentences": raws,
            "cocoid": number,
        }

    images = [
        image(1, "test", "val2014", "A man with a red helmet on a moped. ", "Man riding a motor bike."),
        image(2, "restval", "val2014", "A girl blowing out a candle."),
        image(3, "train", "train2014", "A zebra grazing.", "Zebra reaching its head down to the ground."),
        image(4, "val", "val2014", "Two dogs.", "Dogs on grass."),
    ]
    write(tmp_path / "dataset_coco.json", {"images": images, "dataset": "coco"})
    return tmp_path


def test_karpathys_split(coco):
    dataset = CocoKarpathy.Config(root=str(coco)).build()
    train = dataset.open("train")
    assert [sample["text"] for sample in map(train.__getitem__, range(len(train)))] == [
        "A girl blowing out a candle.",
        "A zebra grazing.",
        "Zebra reaching its head down to the ground.",
    ]
    assert [len(dataset.open(split)) for split in ("validation", "test")] == [1, 1]
    assert dataset.open("test")[0] == {
        "id": "1#10",
        "group": "1",
        "image": str(coco / "val2014/COCO_val2014_000000000001.jpg"),
        "text": "A man with a red helmet on a moped.",
        "captions": ["A man with a red helmet on a moped.", "Man riding a motor bike."],
    }


def test_karpathys_split_refuses_what_does_not_fit(coco):
    dataset = CocoKarpathy.Config(root=str(coco)).build()
    with pytest.raises(UserError, match="restval"):
        dataset.open("restval")
    write(coco / "dataset_coco.json", {"images": [{"split": "train", "filename": "a.jpg"}]})
    with pytest.raises(UserError, match=r"images\[0\] has no 'sentences'"):
        dataset.open("train")
    write(coco / "dataset_coco.json", b"{")
    with pytest.raises(UserError, match="not JSON"):
        dataset.open("train")
    with pytest.raises(UserError, match="no split at"):
        CocoKarpathy.Config(root=str(coco), file="dataset_flickr8k.json").build()
