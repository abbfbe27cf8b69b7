"""Localization by hand: where a sound looks, what boxes ask of it, how maps are counted, and what the layouts hold."""

import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch.nn import functional as F

import sensorium_localization
from sensorium import Evaluation, Padded, UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.modalities.boxes import Boxes
from sensorium.contracts.geometry import Geometry
from sensorium_localization import measures
from sensorium_localization.layouts import SoundNetFlickr, VGGSoundSource
from sensorium_localization.task import Looks
from sensorium_worlds.which_is_heard import WhichIsHeard

SMALL = (
    "dataset.sources.labelled.train=60",
    "dataset.sources.labelled.held_out=20",
    "dataset.sources.unlabelled.train=60",
    "dataset.sources.unlabelled.held_out=20",
    "training.global_batch=20",
)


@pytest.fixture(scope="module")
def assembly():
    assembled = assemble(load("localization", SMALL))
    assembled.task.eval()
    return assembled


def batch_of(assembly, split, count=4):
    samples = [assembly.splits[split][place] for place in range(count)]
    given = {name for name in assembly.modalities if name in samples[0]}
    return assembly.task.batched(
        [{**{n: s[n] for n in s if n in given or n in ("id", "group", "everything")}} for s in samples]
    )


# ---- the task ----------------------------------------------------------------------------------


def test_a_sound_looks_where_its_cosine_is_highest(assembly):
    task = assembly.task
    batch = batch_of(assembly, "labelled_test")
    looks = task(batch)
    features = task.encoder_of("image")(batch["image"])
    places = F.normalize(task.places(features.tokens), dim=-1)
    heard = F.normalize(task.sounds(task.encoder_of("audio")(batch["audio"]).pooled), dim=-1)
    cosines = torch.einsum("btd,bd->bt", places, heard)
    torch.testing.assert_close(looks.heat.flatten(1), cosines)
    attended = torch.einsum("bt,btd->bd", (cosines / 0.1).softmax(1), places)
    torch.testing.assert_close(looks.attended, F.normalize(attended, dim=-1))


def test_boxes_ask_for_even_attention_within_them(assembly):
    task = assembly.task
    batch = batch_of(assembly, "labelled_test", 2)
    batch.fields["boxes"] = Padded(torch.tensor([[[0.0, 0, 20, 20]], [[20.0, 20, 40, 40]]]), torch.ones(2, 1).bool())
    heat = torch.zeros(2, 4, 4)
    heat[:, :2, :2] = 1.0  # looks at the upper left quarter
    terms = task.losses(Looks(heat, torch.eye(2, 64), torch.eye(2, 64)), batch)
    total = 4 * np.exp(10) + 12
    right, wrong = np.log(total) - 10, np.log(total)
    assert (terms["boxes"] / task.config.supervised).tolist() == pytest.approx([right, wrong], rel=1e-5)
    del batch.fields["boxes"]
    assert set(task.losses(Looks(heat, torch.eye(2, 64), torch.eye(2, 64)), batch)) == {"pairs"}


def test_people_have_to_agree(assembly):
    task = assemble(load("localization", [*SMALL, "model.agree=2"])).task
    batch = batch_of(assembly, "labelled_test", 1)
    drawn = torch.tensor([[[0.0, 0, 20, 20], [0, 0, 20, 40], [0, 0, 40, 40]]])
    batch.fields["boxes"] = Padded(drawn, torch.ones(1, 3).bool())
    assert task.truth(batch, (2, 2))[0].tolist() == [[1.0, 0.5], [1.0, 0.5]]


def test_the_threshold_is_that_of_the_split_it_is_chosen_on(assembly):
    task = assembly.task
    task.evaluated(Evaluation(1, "labelled_test", {"best_threshold": 0.9}))
    assert float(task.threshold) == pytest.approx(0.5)
    task.evaluated(Evaluation(1, "labelled_validation", {"best_threshold": 0.25}))
    assert float(task.threshold) == 0.25
    task.threshold.fill_(0.5)


def test_a_box_is_around_the_highest_place_that_lies_above_the_threshold(assembly, monkeypatch):
    task = assembly.task
    batch = batch_of(assembly, "labelled_test", 2)
    heat = torch.full((2, 40, 40), -1.0)
    heat[0, 10:20, 5:30] = 1.0
    heat[0, 35:38, 2:4] = 0.9  # above it as well, but elsewhere
    monkeypatch.setattr(type(task), "forward", lambda self, batch: Looks(heat, torch.eye(2), torch.eye(2)))
    answer = task.predict(batch)
    assert answer["box"].data[0].tolist() == [[5.0, 10.0, 30.0, 20.0]]
    assert answer["box"].mask.tolist() == [[True], [False]], "nothing is above it in the second"
    assert answer["located"].shape == (2, 3, 40, 40)
    assert torch.equal(answer["located"][0, :, 10, 5:30], torch.ones(3, 25)), "an edge of the box"
    with Image.open(io.BytesIO(task.outputs["located"].encode(answer["located"][0]))) as shown:
        assert shown.size == (240, 240 + 16), "enlarged, above the scale"
        assert shown.getpixel((17 * 6, 10 * 6)) == (255, 255, 255)
    wide = task.picture.geometry(torch.zeros(3, 40, 80, dtype=torch.uint8), None)
    sent = task.outputs["located"].put_back(torch.ones(3, 40, 40), wide)
    assert torch.equal(sent[0, 0], torch.tensor([0.0] * 20 + [1.0] * 40 + [0.0] * 20)), "of the sides nothing was seen"


def test_what_does_not_fit_is_refused():
    for option, text in (
        ("model.eyes={name: convnet}", "either seeing or eyes"),
        ("model.loss=cross_entropy", "A loss over pairs"),
        ("modalities.boxes={name: boxes}", "follows: image"),
        ("modalities.boxes={name: boxes, shares: true}", "shares needs follows"),
        ("model.supervised=-1", "at least 0"),
    ):
        with pytest.raises(UserError, match=text):
            assemble(load("localization", [*SMALL, option]))


def test_paper_sizes_fit_together():
    path = Path(sensorium_localization.__file__).parent / "experiments/paper.yaml"
    heard = "{name: recognition, input: audio, encoder: rnn, targets: [label]}"
    assert load(str(path), [f"model.hearing={heard}"]).experiment.model.agree == 2


# ---- how it is counted -------------------------------------------------------------------------


def test_consensus_intersection_over_union_by_hand():
    truth = torch.zeros(1, 4, 4)
    truth[0, :2, :2], truth[0, 2, :2] = 1.0, 0.5  # 4 fully, 2 by half
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1:3, :3] = True  # covers 2 full, 2 half, and 2 that are nothing
    assert measures.ciou(mask, truth).tolist() == pytest.approx([(2 + 1) / (5 + 2)])


def test_area_is_that_under_the_shares():
    found = measures.covered("", torch.tensor([1.0, 0.5, 0.0, 0.0]))
    assert found["ciou"] == 0.5
    shares = [1.0] + [0.5] * 10 + [0.25] * 10
    assert found["ciou_area"] == pytest.approx(sum(0.05 * (a + b) / 2 for a, b in pairwise(shares)))


def test_what_needs_no_sound_is_a_square_in_the_middle_as_large_as_the_truth():
    truth = torch.zeros(2, 6, 6)
    truth[0, :2, :2] = 1
    truth[1, :2, :2] = 0.5
    assert measures.centre(truth)[0].nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_the_best_threshold_is_one_that_cuts_the_truth_out():
    heat = torch.full((2, 4, 4), -0.5)
    heat[:, :2, :2] = 0.5
    truth = (heat > 0).float()
    rows = {"heat": heat, "truth": truth, "best": torch.tensor([0.5, 0.5]), "absent": torch.tensor([0.1, 0.5])}
    found = measures.located(rows, 0.2)
    assert -0.5 < found["best_threshold"] <= 0.5
    assert (found["ciou"], found["pointing"], found["heard_auc"]) == (1.0, 1.0, 0.75)
    assert measures.located(rows, 0.7)["ciou"] == 0
    assert measures.located(rows | {"chosen": torch.tensor([0, 2])}, 0.2)["choice"] == 0.5


# ---- boxes -------------------------------------------------------------------------------------


def test_shares_of_the_sides_follow_the_picture_and_come_back():
    boxes = Boxes(Boxes.Config(follows="image", shares=True))
    mirrored = Geometry.identity((20, 10)).then(torch.tensor([[-1, 0, 10], [0, 1, 0]], dtype=torch.float64), (20, 10))
    value = boxes.decode([[0.1, 0.2, 0.4, 0.6]])
    moved = boxes.follow(value, mirrored)
    torch.testing.assert_close(moved, torch.tensor([[6.0, 4.0, 9.0, 12.0]]))
    torch.testing.assert_close(boxes.put_back(moved, mirrored), value)


@pytest.mark.parametrize("raw", ["x", [[1, 2, 3]], [[0, 0, float("nan"), 1]], [[3, 0, 1, 1]], [[1, 1, 1, 2]], None])
def test_what_is_not_a_box_is_refused(raw):
    with pytest.raises(UserError):
        Boxes(Boxes.Config()).decode(raw)


# ---- data --------------------------------------------------------------------------------------


def test_what_is_heard_is_seen_and_what_is_absent_is_not():
    split = WhichIsHeard(WhichIsHeard.Config(**_world())).open("test")
    for place in range(len(split)):
        sample = split[place]
        assert sample["label"] == sample["things"][0]
        assert len(set(sample["things"])) == 3
        left, top, right, bottom = sample["boxes"][0]
        assert sample["everything"][0] == sample["boxes"][0]
        inside = sample["image"][top:bottom, left:right]
        assert inside.max() > 100, "ink lies in the box"


def test_few_different_samples_come_again_and_shuffled_ones_are_of_another_picture():
    few = WhichIsHeard(WhichIsHeard.Config(**_world(different=10))).open("train")
    assert len(few) == 40
    assert np.array_equal(few[3]["image"], few[13]["image"])
    assert few[3]["id"] != few[13]["id"]
    shuffled = WhichIsHeard(WhichIsHeard.Config(**_world(shuffle_pairs=True))).open("train")
    apart = [shuffled[place]["label"] not in shuffled[place]["things"] for place in range(40)]
    assert 0.4 < np.mean(apart) < 1, "0.7 by chance"


def _world(**more):
    from sensorium.builtin.datasets.digits import Digits

    return {"source": Digits.Config(), "train": 40, "held_out": 10, **more}


@pytest.fixture
def media(tmp_path):
    """Frames and sounds of two names."""
    for folder in ("frames", "audio", "Annotations"):
        (tmp_path / folder).mkdir()
    for name in ("12", "x_000010"):
        Image.fromarray(np.full((64, 128, 3), 99, np.uint8)).save(tmp_path / f"frames/{name}.jpg")
        soundfile.write(tmp_path / f"audio/{name}.wav", np.zeros(800), 8000)
    return tmp_path


BOX = "<bbox><class>dog</class><xmin>{}</xmin><ymin>64</ymin><xmax>128</xmax><ymax>256</ymax></bbox>"


def test_boxes_of_three_people_are_read(media):
    people = "".join(f"<person>{BOX.format(left)}</person>" for left in (0, 32, 64))
    (media / "Annotations/12.xml").write_text(f"<annotation><name>12</name>{people}</annotation>")
    (media / "test_list.txt").write_text("12.mp4\n")
    split = SoundNetFlickr(SoundNetFlickr.Config(root=str(media))).open("test")
    assert split[0]["boxes"] == [[left / 256, 0.25, 0.5, 1.0] for left in (0, 32, 64)]
    assert Path(split[0]["image"]).is_file()
    assert Path(split[0]["audio"]).is_file()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<annotation>", "is not XML"),
        (f"<a>{BOX.format('x')}</a>", "has the box"),
        (f"<a>{BOX.format('')}</a>", "has the box"),
    ],
)
def test_an_annotation_of_another_form_is_refused(media, content, text):
    (media / "Annotations/12.xml").write_text(content)
    (media / "test_list.txt").write_text("12\n")
    with pytest.raises(UserError, match=text):
        SoundNetFlickr(SoundNetFlickr.Config(root=str(media))).open("test")


def test_a_pair_that_is_missing_or_twice_is_named(media):
    (media / "Annotations/12.xml").write_text(f"<a>{BOX.format(0)}</a>")
    (media / "test_list.txt").write_text("12\n12\n")
    with pytest.raises(UserError, match=r"'12' is there twice: .*test_list.txt:1 and .*test_list.txt:2"):
        SoundNetFlickr(SoundNetFlickr.Config(root=str(media))).open("test")
    (media / "test_list.txt").write_text("13\n")
    with pytest.raises(UserError, match=r"test_list.txt:1 names 13, and there is no .*13.jpg"):
        SoundNetFlickr(SoundNetFlickr.Config(root=str(media))).open("test")


def test_sources_of_sound_of_vgg_are_read_without_boxes_that_are_lines(media):
    boxes = [[0.1, 0.2, 0.5, 1.0], [0.2, 1.0, 0.7, 1.0]]
    (media / "vggss.json").write_text(json.dumps([{"file": "x_000010", "class": "dog bow-wow", "bbox": boxes}]))
    split = VGGSoundSource(VGGSoundSource.Config(root=str(media))).open("test")
    assert split[0]["boxes"] == [boxes[0]]
    assert split[0]["label"] == "dog bow-wow"
    (media / "vggss.json").write_text(json.dumps([{"file": "x_000010", "class": "dog", "bbox": [[0.1, "a", 1, 1]]}]))
    with pytest.raises(UserError, match=r"vggss.json, files\[0\] has the box"):
        VGGSoundSource(VGGSoundSource.Config(root=str(media))).open("test")
