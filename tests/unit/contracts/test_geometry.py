"""Where parts of a picture come to lie, and what follows them: boxes, depths, answers on what was sent."""

import io

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from contract_toys import Boxes
from sensorium import Geometry, UserError
from sensorium.builtin.modalities.image import Image
from sensorium.contracts.reading import transform
from sensorium.engine.loader import Loader
from sensorium.inference.predictor import Predictor
from training import build, train

AUGMENTED = {"crop_scale": 0.3, "flip": 0.5, "rotate": 30.0, "shift": 0.1, "zoom": 0.2}


def image(**options):
    return Image(Image.Config(**{"size": (48, 64), "channels": 1, **options}))


def spot(row, column, rows=60, columns=90):
    picture = np.zeros((rows, columns), np.float32)
    picture[row - 2 : row + 3, column - 2 : column + 3] = 1
    return picture


def test_a_spot_is_found_where_the_geometry_says():
    modality, seen = image(**AUGMENTED), 0
    value = modality.decode(spot(31, 44))
    rows, columns = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    for seed in range(12):
        made = modality.transform(value, torch.Generator().manual_seed(seed))[0] + 1
        placed = modality.geometry(value, torch.Generator().manual_seed(seed))
        x, y = placed.places(torch.tensor([44.5, 31.5], dtype=torch.float64)).tolist()
        if 8 < x < 56 and 8 < y < 40:  # at the border a part of it is cut off
            assert float((rows * made).sum() / made.sum()) == pytest.approx(y, abs=0.7)
            assert float((columns * made).sum() / made.sum()) == pytest.approx(x, abs=0.7)
            seen += 1
    assert seen >= 4


def test_a_map_and_its_inverse_by_hand():
    crop = Geometry.identity((60, 90)).then(torch.tensor([[2.0, 0, -20], [0, 4, -8]], dtype=torch.float64), (48, 64))
    assert crop.places(torch.tensor([10.0, 2.0])).tolist() == [0.0, 0.0]
    assert crop.inverse().places(torch.tensor([4.0, 8.0])).tolist() == [12.0, 4.0]
    assert crop.boxes(torch.tensor([[10.0, 2.0, 12.0, 3.0]])).tolist() == [[0.0, 0.0, 4.0, 4.0]]
    mirrored = crop.then(torch.tensor([[-1.0, 0, 64], [0, 1, 0]], dtype=torch.float64), (48, 64))
    assert mirrored.boxes(torch.tensor([[10.0, 2.0, 12.0, 3.0]])).tolist() == [[60.0, 0.0, 64.0, 4.0]]


@pytest.mark.parametrize("seed", [None, *range(8)])
def test_a_depth_map_of_another_size_lies_over_its_picture(seed):
    """Depth is the picture itself at half its size: both must agree wherever nothing was filled in."""
    smooth = torch.linspace(0, 1, 90).expand(60, 90) * torch.linspace(0.5, 1, 60)[:, None]
    half = torch.nn.functional.interpolate(smooth[None, None], (30, 45), mode="area")[0, 0]
    modalities = {"depth": image(follows="image"), "image": image(**AUGMENTED)}
    sample = {"id": "a", "image": smooth.numpy().copy(), "depth": half.numpy().copy()}
    made = transform(sample, modalities, seed)
    assert (made["image"] - made["depth"]).abs()[:, 4:-4, 4:-4].quantile(0.75) < 0.04


def test_a_mask_takes_no_values_in_between():
    modalities = {"image": image(**AUGMENTED), "mask": image(follows="image", nearest=True)}
    sample = {"id": "a", "image": spot(30, 40), "mask": spot(30, 40)}
    for seed in range(5):
        assert set(transform(sample, modalities, seed)["mask"].unique().tolist()) <= {-1.0, 1.0}


def test_boxes_that_leave_the_picture_go_with_their_labels():
    boxes = Boxes(Boxes.Config(follows="image"))
    crop = Geometry.identity((60, 90)).then(torch.tensor([[1.0, 0, -45], [0, 1, 0]], dtype=torch.float64), (60, 45))
    raw = [[50, 10, 60, 20, 3], [0, 10, 40, 20, 5], [40, 0, 50, 60, 7]]
    found = boxes.follow(boxes.decode(raw), crop)
    assert found.tolist() == [[5, 10, 15, 20, 3], [0, 0, 5, 60, 7]]
    batch = boxes.collate([found, found[:1]])
    assert batch.data.shape == (2, 2, 5)
    assert batch.mask.tolist() == [[True, True], [True, False]]


def test_a_jpeg_that_is_decoded_smaller_keeps_its_own_pixels():
    buffer = io.BytesIO()
    Pillow.fromarray(np.zeros((800, 1200), np.uint8)).save(buffer, "JPEG")
    modality = image()
    value = modality.decode(buffer.getvalue())
    assert value.shape[2] < 1200, "it was decoded at a part of its size"
    placed = modality.geometry(value, None)
    assert placed.given == (800, 1200)
    corner = placed.places(torch.tensor([1200.0, 800.0], dtype=torch.float64))
    middle = placed.places(torch.tensor([600.0, 400.0], dtype=torch.float64))
    assert middle.tolist() == pytest.approx([32, 24], abs=0.3)
    assert corner.tolist() == pytest.approx([32 + 36, 48], abs=0.6)  # of 3:2 some is cut off at either side


def test_each_field_has_a_chance_of_its_own():
    picture = np.random.default_rng(0).random((60, 90)).astype(np.float32)
    modalities = {"one": image(flip=0.5), "other": image(flip=0.5)}
    split = [{"id": str(n), "one": picture, "other": picture} for n in range(16)]
    with Loader(split, modalities, 0) as loader:
        alike = [torch.equal(*loader.read(n, 0)[1].values()) for n in range(16)]
    assert 0 < sum(alike) < 16
    with Loader(split, {"one": modalities["one"]}, 0) as less, Loader(split, modalities, 0) as loader:
        assert all(torch.equal(less.read(n, 0)[1]["one"], loader.read(n, 0)[1]["one"]) for n in range(16))


def test_an_answer_lies_on_the_picture_that_was_sent(tmp_path):
    """A task that finds the brightest spot says where it is in the pixels of what was sent."""
    run = train("toy_pointing", tmp_path, "training.epochs=0")
    predictor = Predictor.load(run.outcome.model)
    for row, column, rows, columns in ((31, 44, 60, 90), (120, 50, 200, 100)):
        answer = predictor([{"image": spot(row, column, rows, columns)}])[0]
        x0, y0, x1, y1, _ = answer["found"][0]
        assert (x0 + x1) / 2 == pytest.approx(column + 0.5, abs=3)
        assert (y0 + y1) / 2 == pytest.approx(row + 0.5, abs=3)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["modalities.boxes.follows=imag"], "Did you mean 'image'"),
        (["modalities.boxes.follows=boxes"], "follows boxes, which follows boxes"),
        (["modalities.boxes={name: toy_boxes}", "modalities.image.follows=boxes"], "has no geometry that another"),
    ],
)
def test_what_cannot_be_followed_is_refused(options, wrong):
    with pytest.raises(UserError) as error:
        build("toy_pointing", *options)
    assert wrong in str(error.value)
