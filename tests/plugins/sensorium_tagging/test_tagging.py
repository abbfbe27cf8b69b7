"""Tagging by hand: what triplets cost, which questions arithmetic is asked, what is found, and COCO's instances."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from gloo import together
from sensorium import UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium_tagging.arithmetic import metrics as arithmetic
from sensorium_tagging.arithmetic import nearness, questions, share_right
from sensorium_tagging.coco import CocoCategories
from sensorium_tagging.metrics import TagPrecision
from sensorium_tagging.report import sheet_of
from sensorium_tagging.triplets import mean_triplet, triplets

SMALL = ("dataset.train=64", "dataset.held_out=20", "evaluation.plots=false")


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    return assemble(load("tagging", SMALL)).task.eval()


def test_triplets_by_hand_add_up_or_take_the_hardest_in_both_directions():
    scores = torch.tensor([[0.9, 0.5, 0.8], [0.8, 0.6, 0.75]])
    truth = torch.tensor([[True, False, False], [False, True, False]])
    # Of picture 0 and tag 0: tags cost 0 and 0.1, the other picture 0.1. Of picture 1 and tag 1: 0.4 and 0.35, and 0.1.
    assert triplets(scores, truth, 0.2, False).tolist() == pytest.approx([0.1 + 0.1, 0.4 + 0.35 + 0.1])
    assert triplets(scores, truth, 0.2, True).tolist() == pytest.approx([0.1 + 0.1, 0.4 + 0.1])


@pytest.mark.parametrize("hardest", [False, True])
def test_what_shares_the_tag_is_not_a_negative(hardest):
    scores = torch.tensor([[0.1, 0.9], [0.9, 0.9]])
    truth = torch.tensor([[True, True], [True, True]])
    assert triplets(scores, truth, 0.2, hardest).tolist() == [0, 0, 0, 0]


def gradients(hardest, parts):
    """Returns the loss and the gradients of a table of tags and of pictures, of this worker's share of 6 pictures."""
    from sensorium import workers

    random = torch.Generator().manual_seed(0)
    pictures, tags = torch.randn(6, 4, generator=random), torch.randn(5, 4, generator=random).requires_grad_()
    truth = torch.rand(6, 5, generator=random) < 0.4
    own = slice(0, 6) if parts == 1 else [slice(0, 2), slice(2, 6)][workers.rank()]
    seen = pictures[own].clone().requires_grad_()
    loss = mean_triplet(F.normalize(seen, dim=-1) @ F.normalize(tags, dim=-1).T, truth[own], 0.2, hardest)
    share = len(seen) / 6
    (loss * share).backward()
    return float(loss.detach()), tags.grad.tolist(), seen.grad.tolist()


@pytest.mark.parametrize("hardest", [False, True])
def test_two_workers_have_the_loss_and_the_gradients_of_one(hardest):
    loss, tags, pictures = gradients(hardest, 1)
    found = together(2, gradients, hardest, 2)
    assert [each[0] for each in found] == pytest.approx([loss, loss], rel=1e-5)
    added = torch.tensor([each[1] for each in found]).sum(0)
    torch.testing.assert_close(added, torch.tensor(tags), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.tensor(found[0][2] + found[1][2]), torch.tensor(pictures), rtol=1e-5, atol=1e-6)


def test_the_hardest_negative_counts_alone_after_the_warm_up(task):
    batch = task.batched([{"image": scene["image"], "attributes": scene["attributes"]} for scene in scenes(8)])
    outputs = task(batch)
    cold, warm = (
        float(task.first_losses(outputs, replace(batch, progress=share))["triplet"].detach()) for share in (0.49, 0.5)
    )
    scores, truth = outputs @ task.vectors().T, batch["attributes"] > 0
    assert cold == pytest.approx(float(mean_triplet(scores, truth, 0.2, False)))
    assert warm == pytest.approx(float(mean_triplet(scores, truth, 0.2, True)))
    assert warm == pytest.approx(float(task.losses(outputs, batch)["triplet"]))
    assert warm < cold


def scenes(count):
    split = assemble(load("tagging", SMALL)).splits["test"]
    return [split[index] for index in range(count)]


def test_tags_say_which_tags_stand_beside_them(task):
    batch = task.batched([{"attributes": ["red", "three"]}, {"attributes": ["red"]}])
    logits = task.words.weight @ task.contexts.weight.T
    red, three = (task.tags.names.index(name) for name in ("red", "three"))
    target = torch.tensor([three, red])
    expected = F.cross_entropy(logits[[red, three]], target)
    assert float(task.beside_losses(task.beside(batch), batch)["beside"]) == pytest.approx(float(expected), rel=1e-5)


def test_questions_have_an_answer_that_differs_in_one_word():
    # Columns: red, blue | cat, dog | grass, which is of no kind. The last picture is both red and blue.
    truth = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [1, 1, 1, 0, 0]]) > 0
    asked = questions(truth, [[0, 1], [2, 3]])
    told = zip(asked.picture.tolist(), asked.minus.tolist(), asked.plus.tolist(), strict=True)
    assert list(told) == [(0, 0, 1), (1, 1, 0), (1, 2, 3), (2, 3, 2)]
    assert asked.right(slice(0, 4)).nonzero().tolist() == [[0, 1], [1, 0], [2, 2], [3, 1]]


def test_arithmetic_finds_the_other_picture_and_never_the_one_that_was_asked_about():
    words, kinds = torch.eye(5), [[0, 1, 2], [3, 4]]  # three colours, two animals
    truth = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]).float()
    pictures = F.normalize(truth, dim=-1)
    scores = pictures @ words.T
    found = arithmetic(pictures, truth, scores, kinds)
    assert found["arithmetic"] == 1
    assert found["arithmetic_minus"] < 0.5, "two cats of another colour lie as near: ties count against it"
    asked = questions(truth > 0, kinds)
    assert share_right(pictures, scores, asked) < 0.5
    near = nearness(pictures, scores, torch.tensor([0]), torch.tensor([0]), torch.tensor([1]))
    torch.testing.assert_close(near[0, 1:], pictures[1:] @ (pictures[0] - words[0] + words[1]))
    assert near.argmax() == 1
    assert near[0, 0] == -torch.inf


def test_precision_looks_at_ten_pictures_or_as_many_as_there_are():
    scores = torch.arange(20.0)[:, None].repeat(1, 3)
    truth = torch.zeros(20, 3)
    truth[8:, 0] = 1  # the best twelve
    truth[[19, 3], 1] = 1  # of two the second is found far down
    assert TagPrecision(TagPrecision.Config())({"scores.tags": scores, "truth.tags": truth}) == {"tags_p10": 0.75}
    alike = {"scores.tags": torch.zeros(20, 3), "truth.tags": truth}
    assert TagPrecision(TagPrecision.Config())(alike) == {"tags_p10": 0.1}, "the eight wrong ones come first"


def test_words_are_taken_from_a_picture_and_others_added(task):
    (scene,) = scenes(1)
    batch = task.batched([{"image": scene["image"]}])
    red, blue = (task.vectors()[task.tags.names.index(name)] for name in ("red", "blue"))
    asked = task.batched([{"image": scene["image"]}])
    samples = [{"id": "0", "minus": ["red"], "plus": ["blue"], "words": ["red", "blue"]}]
    fields = {
        name: task.tags.collate([task.tags.transform(samples[0][name], None)]) for name in samples[0] if name != "id"
    }
    answer = task.predict(replace(asked, samples=samples, fields={**asked.fields, **fields}))
    expected = F.normalize(task(batch) - red + blue, dim=-1)
    torch.testing.assert_close(answer["image_embedding"], expected)
    torch.testing.assert_close(answer["tags"], (expected @ task.vectors().T).clamp(min=0))
    torch.testing.assert_close(answer["words_embedding"][0], F.normalize(red + blue, dim=-1))
    with pytest.raises(UserError, match="'purpel'"):
        task.predict(replace(asked, samples=[{"id": "0", "plus": ["purpel"]}], fields={"plus": fields["plus"]}))
    with pytest.raises(UserError, match="no words to look for"):
        task.predict(replace(asked, samples=[{"id": "0", "words": []}], fields={"words": fields["words"] * 0}))
    with pytest.raises(UserError, match="nothing to move"):
        task.predict(replace(asked, samples=samples, fields=fields))


def test_a_sheet_says_what_was_asked_and_which_pictures_are_right(monkeypatch):
    monkeypatch.setattr("sensorium_tagging.report.sheet", lambda rows, size: rows)
    truth = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]).float()
    asked = questions(truth > 0, [[0, 1], [2, 3]])
    names = ["red", "blue", "cat", "dog"]
    first, *_ = sheet_of(asked, F.normalize(truth, dim=-1), torch.eye(4), names, lambda place: bytes([place]))
    assert [(tile.png, tile.title, tile.colour) for tile in first] == [
        (b"\0", "this\n- red + blue", "black"),
        (b"\1", "found", "green"),
        (b"\2", "found", "red"),
    ]


def test_fine_tuning_moves_what_the_projection_had_frozen(task):
    updates = {stage.name: set(stage.objectives[0].updates) for stage in task.stages()}
    assert list(updates) == ["recognition", "words", "projection", "fine_tune"]
    assert updates["projection"] == {"from_picture", "from_words"}
    assert updates["fine_tune"] == {"from_picture", "from_words", "words", "recognition.encoder"}


def test_a_tag_of_no_picture_is_refused():
    with pytest.raises(UserError, match="'purple'"):
        assemble(load("tagging", [*SMALL, "model.kinds=[[red, purple]]"]))


@pytest.mark.parametrize("kinds", ["[[]]", "[[red]]", "[[red, red]]", "[[red, blue], [three, red]]"])
def test_kinds_of_which_nothing_takes_the_place_are_refused(kinds):
    with pytest.raises(UserError, match="at least two tags of each kind, and each tag once"):
        load("tagging", [*SMALL, f"model.kinds={kinds}"])


@pytest.fixture
def coco(tmp_path):
    """Writes instances as COCO's files have them, and returns the reader of them."""

    def write(annotations, *more):
        (tmp_path / "train2017").mkdir(exist_ok=True)
        images = [{"id": number, "file_name": f"{number:012}.jpg", "height": 8, "width": 8} for number in (9, 4)]
        for image in images:
            Image.new("RGB", (8, 8)).save(tmp_path / "train2017" / image["file_name"])
        categories = [{"supercategory": "animal", "id": 18, "name": "dog"}, {"id": 90, "name": "toothbrush"}, *more]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
        return CocoCategories(CocoCategories.Config(root=str(tmp_path)))

    return write


def test_coco_has_a_photograph_once_with_the_names_of_its_categories(coco):
    record = {"area": 1.0, "bbox": [0, 0, 1, 1], "iscrowd": 0, "segmentation": []}
    dataset = coco([{"id": n, "image_id": 4, "category_id": c, **record} for n, c in enumerate((90, 18, 18))])
    assert dataset.splits == ("train",)
    split = dataset.open("train")
    assert [(each["id"], each["tags"]) for each in (split[0], split[1])] == [("9", []), ("4", ["dog", "toothbrush"])]
    assert split[1]["image"].endswith("train2017/000000000004.jpg")


def test_a_category_that_is_there_twice_is_refused_with_both_places(coco):
    with pytest.raises(UserError, match=r"json, categories\[0\] and .*json, categories\[2\]"):
        coco([], {"id": 18, "name": "cat"}).open("train")


@pytest.mark.parametrize("name", ["image_id", "category_id"])
def test_an_id_that_is_not_there_is_named_with_its_place(coco, name):
    record = {"id": 1, "image_id": 4, "category_id": 18, name: 77}
    with pytest.raises(UserError, match=rf"instances_train2017.json, annotations\[0\], {name}, is 77"):
        coco([record]).open("train")
