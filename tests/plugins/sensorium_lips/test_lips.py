"""Lips by hand: where faces lie, what is heard, shapes as few numbers, and what stays as it was in a film."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium_lips
from sensorium import Batch, MediaError, UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.contracts.data import map_tensors
from sensorium.contracts.dataset import sources_of
from sensorium.contracts.reading import batch_of
from sensorium_lips import composing, measures
from sensorium_lips.composing import alike, composed, median, played, untouched
from sensorium_lips.face import openings, placed
from sensorium_lips.hearing import HOP, Hearing, around
from sensorium_lips.layouts import GridFaces, LRSFaces
from sensorium_lips.shapes import Shapes, Sums

SMALL = ("dataset.train=32", "dataset.held_out=4", "dataset.side=48", "modalities.target.size=48", "dataset.seconds=1")


@pytest.fixture(scope="module")
def assembly():
    """A task whose shapes and filter are learnt."""
    assembled = assemble(load("lips", SMALL))
    with torch.no_grad():
        assembled.task.prepare([read(assembled, "train", range(32))])
    return assembled


@pytest.fixture
def task(assembly):
    return assembly.task.eval()


def read(assembly, split, places):
    samples = assembly.splits[split]
    (source,) = sources_of(samples)
    modalities = {name: each for name, each in assembly.modalities.items() if source.reads(name)}
    return batch_of(samples, source, modalities, places)


def marks(origin, unit, height=0.2, width=0.6):
    """Returns 68 landmarks (1, 136), of which the eyes and a few of the mouth's count."""
    points = torch.zeros(68, dtype=torch.complex64)
    points[36:42], points[42:48], points[48:] = -0.5, 0.5, 1j
    points[48], points[54] = -width / 2 + 1j, width / 2 + 1j
    points[62], points[66] = (1 - height / 2) * 1j, (1 + height / 2) * 1j
    return torch.view_as_real(points * unit + origin).flatten()[None]


# ---- faces -------------------------------------------------------------------------------------


def test_mouths_are_the_same_wherever_the_face_lies_and_however_it_is_turned():
    still, mouth = placed(marks(0, 1))
    assert (complex(still.origin[0]), complex(still.unit[0])) == (0, 1)
    assert openings(mouth)[0].tolist() == pytest.approx([0.2, 0.6])
    unit = 30 * complex(math.cos(0.3), math.sin(0.3))
    place, moved = placed(marks(40 + 20j, unit))
    torch.testing.assert_close(moved, mouth)
    assert complex(place.unit[0]) == pytest.approx(unit, rel=1e-5)
    assert placed(torch.zeros(1, 136))[1].isfinite().all(), "a face whose eyes are in one place"


# ---- what is heard -----------------------------------------------------------------------------


def test_a_step_is_what_is_heard_at_its_time_whatever_comes_after_the_end():
    hearing, rate = Hearing(8000, 20), 8000
    click = torch.zeros(1, rate)
    click[0, rate // 2] = 1.0
    heard = hearing(click)
    assert int(heard[0, :, 13].argmax()) in range(49, 52), "half a second is step 50"
    assert heard.shape[1] > 100 + 20
    longer = hearing(torch.nn.functional.pad(click, (0, 3000)))
    torch.testing.assert_close(longer[:, : heard.shape[1] - 3], heard[:, :-3])
    torch.testing.assert_close(hearing(0.01 * click), heard)
    assert hearing(torch.zeros(1, rate)).isfinite().all()


def test_frames_of_any_rate_do_not_drift_from_the_sound():
    hearing = Hearing(8000, 0)
    assert hearing.steps(4, 25, torch.device("cpu")).tolist() == [2, 6, 10, 14]
    late = hearing.steps(30_000, 29.97, torch.device("cpu"))[-1]
    assert int(late) == round((29_999.5 / 29.97) / HOP)


def test_a_window_by_hand():
    heard = torch.arange(6.0)[None, :, None]
    found = around(heard, torch.tensor([0, 3]), 2, 2)
    assert found.tolist() == [[[0, 0, 2], [1, 3, 5]]]


# ---- shapes ------------------------------------------------------------------------------------


def made_up(count=400):
    """Returns windows (N, 6), and mouths (N, 20) that two hidden numbers move, of which the windows tell one."""
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, 2, generator=random) * torch.tensor([3.0, 1.0])
    ways = torch.linalg.qr(torch.randn(40, 2, generator=random))[0]
    flat = hidden @ ways.T + 0.5
    windows = torch.cat([hidden[:, :1] * 2 - 1, torch.randn(count, 5, generator=random)], 1)
    return windows, torch.view_as_complex(flat.unflatten(1, (20, 2)).contiguous()), hidden


def test_coefficients_have_unit_variance_and_give_the_mouths_back():
    windows, mouths, hidden = made_up()
    shapes, sums = Shapes(5, 6), Sums(6, torch.device("cpu"))
    for part in (slice(0, 100), slice(100, 400)):
        sums.add(windows[part], mouths[part])
    shapes.fit(*sums.moments())
    assert shapes.kept.tolist() == [1, 1, 0, 0, 0], "what does not vary is not blown up"
    assert not shapes.components[2:].any()
    told = shapes.coefficients(mouths)
    assert told.std(0, correction=0)[:2].tolist() == pytest.approx([1, 1], rel=1e-3)
    assert not told[:, 2:].any()
    assert abs(float(torch.corrcoef(torch.stack([told[:, 0], hidden[:, 0]]))[0, 1])) > 0.99
    torch.testing.assert_close(shapes.mouths(told), mouths, atol=1e-4, rtol=1e-4)
    error = (shapes.filtered(windows) - mouths).abs().square().sum(1).mean()
    assert float(error) == pytest.approx(float(hidden[:, 1].var()), rel=0.1), "it knows one of the two numbers"


def test_signs_of_components_do_not_depend_on_rounding():
    """Of a mouth that is the same on both sides two coordinates are the largest ones, and differ in their sign."""
    found = []
    for tiny in (-1e-9, 1e-9):
        covariance = torch.eye(46, dtype=torch.float64) * 1e-9
        way = torch.zeros(40, dtype=torch.float64)
        way[0], way[12] = -1, 1 + tiny
        covariance[6:, 6:] += way[:, None] * way
        shapes = Shapes(1, 6)
        shapes.fit(torch.zeros(46, dtype=torch.float64), covariance)
        found.append(shapes.components)
    torch.testing.assert_close(found[0], found[1])


# ---- the task ----------------------------------------------------------------------------------


@torch.no_grad()
def test_a_frame_hears_so_many_steps_ahead_and_none_later(assembly):
    """The LSTM runs forwards alone: a change of the sound beyond what is heard ahead leaves a frame's mouth alone."""
    batch = read(assembly, "train", [0])
    for delay, first in ((0, 13), (20, 8)):
        task = assemble(load("lips", [*SMALL, f"model.delay={delay}"])).task.eval()
        task.prepare([read(assembly, "train", range(8))])
        later = map_tensors(batch.fields, torch.clone)
        later["audio"].data[:, :, 4000 + 320 : 4400 + 320] *= 0.5  # from 540 ms on; frame 13 begins at 520 ms
        moved = (task(Batch(batch.samples, later)).data - task(batch).data).abs().amax((0, 2))
        assert float(moved[: first - 1].max()) < 1e-5, f"{delay} steps ahead"
        assert float(moved[first : first + 3].max()) > 1e-4


@torch.no_grad()
def test_the_loss_is_the_squared_error_of_the_coefficients_of_real_frames(task, assembly):
    batch = read(assembly, "train", [0, 1])
    outputs = task(batch)
    assert outputs.data.shape == (2, 25, 8)
    batch["landmarks"].mask[1, 10:] = False
    true = task.shapes.coefficients(task.mouths(batch)[0])
    far = (outputs.data - true).square().mean(2)
    wanted = [float(far[0].mean()), float(far[1, :10].mean())]
    assert task.losses(outputs, batch)["shape"].tolist() == pytest.approx(wanted, rel=1e-5)


def test_gradients_reach_every_parameter(assembly):
    batch = read(assembly, "train", range(4))
    task = assembly.task
    task.losses(task(batch), batch)["shape"].mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in task.parameters())
    task.zero_grad(set_to_none=True)


@torch.no_grad()
def test_a_film_is_answered_whose_sound_is_the_one_given(task, assembly):
    batch = read(assembly, "test", [0, 1])
    batch["audio"].mask[1, 4800:] = False  # 15 of 25 frames
    batch["audio"].data[1, :, 4800:] = 0
    asked = Batch(batch.samples, {name: batch[name] for name in task.inputs})
    answer = task.predict(asked)
    film, mouth = answer["video"], answer["mouth"]
    assert film.mask.sum(1).tolist() == mouth.mask.sum(1).tolist() == [25, 15]
    torch.testing.assert_close(film.sound, batch["audio"].data)
    for place, count in enumerate((25, 15)):
        alone = map_tensors(film, lambda tensor, place=place: tensor[place])
        again = task.outputs["video"].decode(task.outputs["video"].encode(alone))
        assert (len(again.frames), again.sound.shape[1]) == (count, count * 320)
        heard, given = again.sound[0, 400:4400], batch["audio"].data[place, 0, 400:4400]
        assert float(torch.corrcoef(torch.stack([heard, given]))[0, 1]) > 0.9, "the sound lies where it lay"
    lines = task.outputs["mouth"].encode(map_tensors(mouth, lambda tensor: tensor[1])).splitlines()
    assert len(lines) == 15
    first = openings(task.shapes.mouths(task(asked).data))[1, 0].tolist()
    assert [float(each) for each in lines[0].split(",")] == pytest.approx(first, rel=1e-4)


@torch.no_grad()
def test_nothing_but_the_sound_moves_the_lips_and_no_truth_is_asked_for(task, assembly):
    batch = read(assembly, "test", [0, 1])
    assert set(task.inputs) == {"audio", "target", "target_landmarks"}
    swapped = dict(batch.fields) | {"target": map_tensors(batch["target"], lambda tensor: tensor.flip(0))}
    assert torch.equal(task(Batch(batch.samples, swapped)).data, task(batch).data)
    rows = task.rows(task(batch), batch)
    assert rows["untouched"].tolist() == [1, 1]
    assert not torch.equal(rows["dark"][0], rows["film_dark"][0])


def test_paper_sizes_are_the_defaults():
    path = Path(sensorium_lips.__file__).parent / "experiments/paper.yaml"
    model = load(str(path)).experiment.model
    assert (model.hidden, model.components, model.delay) == (60, 20, 20)


def test_what_does_not_fit_is_refused():
    for option, text in (
        ("modalities.audio.view=log_mel", "A waveform of one channel"),
        ("modalities.landmarks.channels=40", "68 landmarks"),
        ("modalities.target_landmarks={name: series, channels: 136}", "follows: target"),
        ("model.delay=-1", "at least 0"),
    ):
        with pytest.raises(UserError, match=text):
            assemble(load("lips", [*SMALL, option]))


# ---- the film ----------------------------------------------------------------------------------


def film_of(heights, side=48):
    """Returns frames whose mouths are as light as their height says, (T, 3, H, W), and their landmarks."""
    places = [marks(24 + 14j + shift, 16 + 0j, height) for shift, height in enumerate(heights)]
    rows, columns = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    frames = 0.1 * torch.rand(len(heights), 3, side, side, generator=torch.Generator().manual_seed(0))
    for frame, shift, height in zip(frames, range(len(heights)), heights, strict=True):
        frame[:, torch.hypot(columns - 24 - shift, rows - 30) < 9] = height
    return frames, torch.cat(places)


def test_pixels_outside_of_the_mouth_are_the_films_own_to_the_bit():
    frames, landmarks = film_of([0.1, 0.3, 0.5])
    own = placed(landmarks)[1]
    made = composed(frames, landmarks, own[[2, 0, 1]], 1)
    changed = (made != frames).any(1)
    assert changed.any((1, 2)).all()
    rows, columns = changed.nonzero()[:, 1], changed.nonzero()[:, 2]
    assert 30 - 12 < rows.min() <= rows.max() < 30 + 12
    assert 24 - 10 < columns.min() <= columns.max() < 26 + 10
    assert float(untouched(frames, made, landmarks)) == 1
    spoilt = made.clone()
    spoilt[0, 0, 1, 1] += 1e-7
    assert float(untouched(frames, spoilt, landmarks)) < 1


def test_a_mouth_comes_from_the_frame_in_which_it_is_alike_and_moves_to_where_the_face_is():
    frames, landmarks = film_of([0.1, 0.3, 0.5])
    own = placed(landmarks)[1]
    made = composed(frames, landmarks, own[[2, 0, 1]], 1)
    assert made[:, 0, 30, 25].tolist() == pytest.approx([0.5, 0.1, 0.3]), "the middle of the mouth"


def test_a_film_that_is_too_short_goes_back_and_forth():
    assert played(3, 8, torch.device("cpu")).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert played(1, 3, torch.device("cpu")).tolist() == [0, 0, 0]


def test_the_weighted_median_by_hand():
    values = torch.tensor([[[5.0, 1.0]], [[1.0, 2.0]], [[3.0, 9.0]]])
    assert median(values, torch.tensor([0.4, 0.3, 0.3])).tolist() == [[3.0, 2.0]]
    assert median(values, torch.tensor([0.6, 0.2, 0.2])).tolist() == [[5.0, 1.0]]


def test_the_nearest_mouths_have_the_largest_weights():
    own = torch.zeros(4, 20, dtype=torch.complex64) + torch.tensor([0.0, 3.0, 1.0, 2.0])[:, None]
    chosen, weights = alike(torch.zeros(20, dtype=torch.complex64), own, 3)
    assert chosen.tolist() == [0, 2, 3]
    raw = [1.0, math.exp(-0.125), math.exp(-0.5)]
    assert weights.tolist() == pytest.approx([each / sum(raw) for each in raw])
    assert len(alike(own[0], own, 9)[0]) == 4


def test_landmarks_of_nothing_break_nothing():
    made = composed(torch.rand(3, 1, 16, 16), torch.zeros(3, 136), torch.zeros(5, 20, dtype=torch.complex64), 5)
    assert made.shape == (5, 1, 16, 16)
    assert made.isfinite().all()


def test_an_open_mouth_is_dark():
    frames, landmarks = film_of([0.8, 0.8])
    frames[1, :, 28:33] = 0.1
    first, second = composing.darkness(frames, landmarks).tolist()
    assert first == pytest.approx(0, abs=0.02)
    assert second > 0.4


# ---- how it is counted -------------------------------------------------------------------------


def test_correlation_and_lag_by_hand():
    assert float(measures.pearson(torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 4, 7]))) == pytest.approx(0.9933993)
    assert float(measures.pearson(torch.ones(3), torch.arange(3.0))) == 0
    track = torch.sin(torch.arange(60.0) / 3)
    for late in (-2, 0, 3):
        assert measures.lag([track.roll(late)], [track]) == late


def test_metrics_by_hand():
    true = torch.stack([torch.sin(torch.arange(40.0)), torch.cos(torch.arange(40.0))], 1)
    half = true * torch.tensor([0.5, -1.0])
    tensors = {
        "landmark_distance": torch.tensor([0.1, 0.3]),
        "rest_landmark_distance": torch.ones(2),
        "untouched": torch.ones(2),
    }
    rows = {
        "openings": [half, half],
        "filter_openings": [true, -true],
        "shuffled_openings": [true * 0, true * 0],
        "true_openings": [true, true],
        "dark": [true[:, 0], true[:, 0]],
        "film_dark": [true[:, 0], -true[:, 0]],
        "film_openings": [true, -true],
        **tensors,
    }
    found = measures.measured(rows)
    wanted = {
        "landmark_distance": 0.2,
        "rest_landmark_distance": 1,
        "untouched": 1,
        "aperture_r": 1,
        "width_r": -1,
        "filter_aperture_r": 0,
        "filter_width_r": 0,
        "shuffled_aperture_r": 0,
        "shuffled_width_r": 0,
        "lag_error": 0,
        "variance_ratio": 0.25,
        "dark_r": 1,
        "film_dark_r": 0,
        "true_dark_r": 1,
    }
    assert found == pytest.approx(wanted, abs=1e-6)


# ---- layouts -----------------------------------------------------------------------------------


def save(path, frames=75, points=68):
    path.parent.mkdir(parents=True, exist_ok=True)
    one = marks(180 + 120j, 60).numpy().reshape(68, 2)[:points]
    np.save(path, one + np.arange(frames)[:, None, None] * 0.1)


@pytest.fixture
def grid(data, tmp_path):
    """Three real clips of two speakers, with landmarks that are made up."""
    films = sorted((data / "GRID-samples" / "video").glob("*.mpg"))
    for place, film in zip(("s1/a", "s1/b", "s2/c"), films, strict=False):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / f"{place}.mpg").symlink_to(film)
        save(tmp_path / "landmarks" / f"{place}.npy")
    return tmp_path


def test_real_clips_of_grid_are_read_with_a_film_of_the_same_speaker(grid):
    split = GridFaces.Config(root=str(grid), seconds=2).build().open("train")
    assert [split[place]["id"] for place in range(3)] == ["s1/a", "s1/b", "s2/c"]
    films = [Path(split[place]["target"][0]).stem for place in range(3)]
    assert films == ["b", "a", "c"], "another clip of the speaker, if there is one"
    sample = split[0]
    assert sample["audio"][0].shape == (1, 32000)
    assert sample["audio"][0].abs().max() > 0.01
    assert sample["landmarks"].shape == sample["target_landmarks"].shape == (50, 136)
    assert sample["landmarks"][0, 72:74].tolist() == pytest.approx([150, 120]), "the first point of an eye"
    assert sample["target"][1] == 2
    apart = GridFaces.Config(root=str(grid), test=["s1/b"]).build()
    assert [len(apart.open(name)) for name in ("train", "test")] == [2, 1]
    alone = GridFaces.Config(root=str(grid), speakers=["s2"]).build().open("test")
    assert [alone[place]["speaker"] for place in range(len(alone))] == ["s2"]
    with pytest.raises(UserError, match="no speaker or clip 's3'"):
        GridFaces.Config(root=str(grid), speakers=["s3"]).build().open("train")


@torch.no_grad()
def test_lips_are_put_into_real_frames(grid):
    options = [f"dataset={{name: grid_faces, root: '{grid}', seconds: 1}}", "modalities.target.size=[144, 180]"]
    options += ["modalities.audio.sample_rate=16000", "training.global_batch=3"]
    assembled = assemble(load("lips", [*options, "evaluation.during=test"]))
    batch = read(assembled, "test", [0, 2])
    assembled.task.prepare([batch])
    task = assembled.task.eval()
    torch.testing.assert_close(batch["target_landmarks"].data[0, 72:74, 0], torch.tensor([75.0, 60.0]))
    rows = task.rows(task(batch), batch)
    assert rows["untouched"].tolist() == [1, 1]
    film = task.predict(batch)["video"].data
    assert film.shape == (2, 25, 3, 144, 180)
    assert (film != batch["target"].data).any()


def test_clips_that_are_too_short_are_left_out_and_missing_landmarks_named(grid):
    save(grid / "landmarks/s1/a.npy", frames=40)
    config = GridFaces.Config(root=str(grid))
    assert len(config.build().open("train")) == 2
    with pytest.raises(UserError, match="has 100 frames"):
        GridFaces.Config(root=str(grid), seconds=4).build().open("train")
    (grid / "landmarks/s1/b.npy").unlink()
    with pytest.raises(UserError, match=r"no landmarks of .*b.mpg at .*b.npy"):
        config.build().open("train")
    save(grid / "landmarks/s1/b.npy", points=20)
    with pytest.raises(MediaError, match=r"b.npy holds the shape \(75, 20, 2\)"):
        config.build().open("train")
    (grid / "landmarks/s1/b.npy").write_text("x")
    with pytest.raises(MediaError, match="holds no array"):
        config.build().open("train")


def test_folders_of_lrs3_and_lists_of_lrs2_are_read(data, tmp_path):
    film = next((data / "GRID-samples" / "video").glob("*.mpg"))
    for place in ("trainval/abc/50001", "trainval/abc/50002", "test/def/00001", "main/ghi/00007"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{place}.mp4").symlink_to(film)
        save(tmp_path / "landmarks" / f"{place}.npy")
    (tmp_path / "val.txt").write_text("ghi/00007 NF\n")
    world = LRSFaces.Config(root=str(tmp_path), validation="val.txt").build()
    assert world.splits == ("train", "validation", "test")
    ids = {name: [world.open(name)[place]["id"] for place in range(len(world.open(name)))] for name in world.splits}
    assert ids == {
        "train": ["trainval/abc/50001", "trainval/abc/50002"],
        "validation": ["main/ghi/00007"],
        "test": ["test/def/00001"],
    }
    assert world.open("train")[0]["target"][0].endswith("50002.mp4")
    (tmp_path / "val.txt").write_text("ghi/00008\n")
    with pytest.raises(UserError, match=r"00008\.mp4"):
        world.open("validation")
    with pytest.raises(UserError, match="no folder of clips"):
        LRSFaces.Config(root=str(tmp_path), test="pretrain").build().open("test")
