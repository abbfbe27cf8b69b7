"""The image modality: what it reads, what it refuses, and what it does to pixels."""

import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torchvision.transforms.functional import InterpolationMode, center_crop, resize, to_tensor

from sensorium import MediaError
from sensorium.builtin.modalities.changes import adjust, affine
from sensorium.builtin.modalities.image import Image

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def png(array, mode=None, **options):
    buffer = io.BytesIO()
    (array if isinstance(array, Pillow.Image) else Pillow.fromarray(array, mode)).save(buffer, "PNG", **options)
    return buffer.getvalue()


def generator(seed):
    return torch.Generator().manual_seed(seed)


def image(size=4, **options):
    return Image.Config(size=size, **options).build()


def test_every_source_of_one_picture_gives_the_same_pixels(tmp_path):
    modality, content = image(), png(RAMP)
    path = tmp_path / "ramp.png"
    path.write_bytes(content)
    with fsspec.open("memory://ramp.png", "wb") as file:
        file.write(content)
    expected = torch.from_numpy(RAMP).permute(2, 0, 1)
    sources = [path, str(path), f"file://{path}", "memory://ramp.png", content, RAMP, Pillow.fromarray(RAMP), expected]
    for source in sources:
        assert torch.equal(modality.decode(source), expected)
    assert torch.allclose(modality.decode(RAMP / 255.0) * 255, expected.float(), atol=1e-4)


def test_grey_and_colour_are_converted_by_luma():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert image(2, channels=1).decode(red)[0, 0, 0].item() == pytest.approx(0.299)
    assert image(2, channels=1).decode(png(red))[0, 0, 0].item() == 76  # Pillow: round(0.299 * 255)
    grey = image(2).decode(np.full((2, 2), 7, np.uint8))
    assert grey.shape == (3, 2, 2)
    assert (grey == 7).all()


def test_unusual_pictures_become_rgb():
    clear = np.array([[[255, 0, 0, 0], [255, 0, 0, 255]]], np.uint8)
    assert image((1, 2)).decode(png(clear)).tolist() == [[[255, 255]], [[255, 0]], [[255, 0]]]
    palette = Pillow.fromarray(RAMP).quantize(16)
    assert torch.equal(
        image().decode(png(palette)), torch.from_numpy(np.array(palette.convert("RGB"))).permute(2, 0, 1)
    )
    deep = np.array([[0, 32768, 65535]], np.uint16)
    for source in (png(deep), deep):
        assert image((1, 3), channels=1).decode(source).flatten().tolist() == pytest.approx([0, 32768 / 65535, 1])
    buffer = io.BytesIO()
    Pillow.new("CMYK", (2, 2), (0, 0, 0, 0)).save(buffer, "JPEG")
    assert (image(2).decode(buffer.getvalue()) == 255).all()
    assert (image(2).decode(png(Pillow.new("LA", (2, 2), (0, 0)))) == 255).all()
    assert (image(2, channels=1).decode(png(Pillow.new("1", (2, 2), 1))) == 255).all()


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_orientation_in_the_exif_is_honoured(orientation, turned):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    decoded = image().decode(png(RAMP, exif=exif))
    assert torch.equal(decoded, torch.rot90(torch.from_numpy(RAMP).permute(2, 0, 1), turned, (1, 2)))


def test_pixels_are_normalised_by_channel():
    pixels = np.array([[[0, 51, 255]]], np.uint8)
    modality = image(1, mean=[0.5, 0.2, 0.0], std=[0.5, 0.1, 2.0])
    assert modality.transform(modality.decode(pixels), None).flatten().tolist() == pytest.approx([-1, 0, 0.5])


def test_evaluation_takes_the_centre():
    wide = np.tile(np.arange(8, dtype=np.uint8), (4, 1))
    modality = image(channels=1, mean=[0.0], std=[1.0])
    pixels = modality.transform(modality.decode(wide), None) * 255
    assert pixels[0, 0].tolist() == pytest.approx([2, 3, 4, 5])
    assert image((2, 4), channels=1).shape == (1, 2, 4)


def test_resizing_agrees_with_pillow(data):
    photo = Pillow.open(sorted((data / "tiny_coco" / "train2017").glob("*.jpg"))[0]).convert("RGB")
    width, height = photo.size
    side, left, top = min(width, height), max(0, width - height) // 2, max(0, height - width) // 2
    middle = photo.crop((left, top, left + side, top + side)).resize((64, 64), Pillow.Resampling.BICUBIC)
    modality = image(64)
    ours = np.array(Pillow.open(io.BytesIO(modality.encode(modality.transform(modality.decode(photo), None)))))
    assert np.abs(ours.astype(int) - np.array(middle).astype(int)).max() <= 1


def test_large_jpegs_are_decoded_smaller_and_look_the_same(data):
    path = sorted((data / "tiny_coco" / "train2017").glob("*.jpg"))[0]
    modality = image(32)
    small, whole = modality.decode(path), modality.decode(Pillow.open(path))
    assert small.numel() < whole.numel() / 3
    assert min(small.shape[1:]) >= 64
    difference = modality.transform(small, None) - modality.transform(whole, None)
    assert difference.abs().mean() < 0.03  # of a range of 2


def test_randomness_comes_from_the_generator_alone():
    modality = image(8, crop_scale=0.5, flip=0.5, rotate=20, shift=0.1, zoom=0.1, jitter=0.3)
    value = modality.decode(np.random.default_rng(0).integers(0, 255, (12, 10, 3), np.uint8))
    before = torch.get_rng_state()
    first = [modality.transform(value, generator(seed)) for seed in range(40)]
    assert torch.equal(torch.get_rng_state(), before)
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda seed: modality.transform(value, generator(seed)), range(40)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert torch.equal(modality.transform(value, None), modality.transform(value, None))


def test_without_options_training_is_like_evaluation():
    modality = image()
    value = modality.decode(RAMP)
    assert torch.equal(modality.transform(value, generator(0)), modality.transform(value, None))


def test_flip_mirrors():
    modality = image(flip=1.0)
    value = modality.decode(RAMP)
    assert torch.equal(modality.transform(value, generator(0)), modality.transform(value, None).flip(2))


@pytest.mark.parametrize(("shape", "size"), [((37, 60), 20), ((60, 37), 20), ((50, 90), (20, 30)), ((40, 40), 20)])
def test_a_picture_that_is_cropped_last_is_that_of_torchvision(shape, size):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    modality = image(size, mean=[0.0], std=[1.0], crop_last=True)
    whole = 20 if size == 20 else (20, 36)  # what covers 20 x 30
    expected = to_tensor(center_crop(resize(Pillow.fromarray(picture), whole, InterpolationMode.BICUBIC), size))
    assert (modality.transform(modality.decode(picture), None) - expected).abs().max() * 255 < 2.5


@pytest.mark.parametrize("size", [20, (20, 30)])
def test_the_geometry_of_a_picture_that_is_cropped_last_says_where_its_parts_are(size):
    rows, columns = (np.mgrid[0:60, 0:101] + 0.5).astype(np.float32)
    modality = image(size, channels=1, mean=[0.0], std=[1.0], crop_last=True)
    value = modality.decode(columns / 101), modality.decode(rows / 60)
    placed = modality.geometry(value[0], None)
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in placed.seen), indexing="ij")
    given = placed.inverse().places(torch.stack([x, y], -1).double())[2:-2, 2:-2]
    for axis, (scale, each) in enumerate(zip((101, 60), value, strict=True)):
        seen = modality.transform(each, None)[0, 2:-2, 2:-2].double() * scale
        assert (seen - given[..., axis]).abs().max() < 0.05


def test_a_picture_of_a_line_is_cropped_first_whatever_is_asked_for():
    line = np.random.default_rng(0).integers(0, 256, (1, 5000, 3), dtype=np.uint8)
    last, first = (image(224, crop_last=last) for last in (True, False))
    assert torch.equal(last.transform(last.decode(line), None), first.transform(first.decode(line), None))


def test_random_crops_keep_the_share_that_is_asked_for():
    rows, columns = np.mgrid[0:200, 0:200] / 200
    across, down = (image(50, channels=1, mean=[0.0], std=[1.0], crop_scale=0.4) for _ in range(2))
    shares = []
    for seed in range(100):
        width = across.transform(across.decode(columns), generator(seed))[0, 25, [0, -1]].diff().item() / 0.98
        height = down.transform(down.decode(rows), generator(seed))[0, [0, -1], 25].diff().item() / 0.98
        shares.append(width * height)
    assert 0.37 < min(shares) < 0.5
    assert 0.75 < max(shares) <= 1.02


def test_affine_by_hand():
    picture = torch.arange(16.0).view(1, 4, 4)
    assert torch.allclose(affine(picture, 0, 1, (0, 0)), picture, atol=1e-5)
    assert torch.allclose(affine(picture, 90, 1, (0, 0)), torch.rot90(picture, 1, (1, 2)), atol=1e-4)
    assert torch.allclose(affine(picture, 0, 1, (0, 0.25))[0, :, 1:], picture[0, :, :3], atol=1e-4)
    assert torch.allclose(affine(picture, 0, 1, (0.5, 0))[0, 2:], picture[0, :2], atol=1e-4)
    flat = torch.zeros(1, 4, 8)
    flat[0, 1:3, 2:6] = 1
    assert affine(flat, 0, 2, (0, 0)).mean() > 0.7  # a quarter of the area becomes nearly all of it
    assert affine(torch.eye(9)[None], 90, 1, (0, 0))[0].fliplr().diagonal().tolist() == pytest.approx([1.0] * 9)


def test_adjust_by_hand():
    picture = torch.tensor([[[0.2]], [[0.4]], [[0.6]]])
    assert adjust(picture, 0.5, 1, 1).flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert adjust(picture, 1, 0.5, 1).flatten().tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert adjust(picture, 1, 1, 0.0).flatten().tolist() == pytest.approx([0.4] * 3)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 99))
def test_any_picture_takes_the_shape(height, width, channels, seed):
    modality = image((6, 9), channels=channels, crop_scale=0.1, rotate=30, shift=0.3, zoom=0.5, jitter=1, flip=0.5)
    value = modality.decode(np.random.default_rng(seed).random((height, width, 3)))
    for random in (None, generator(seed)):
        result = modality.transform(value, random)
        assert result.shape == modality.shape
        assert result.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_encode_undoes_transform(channels):
    modality = image(channels=channels, mean=[0.4] * channels, std=[0.2] * channels)
    value = modality.decode(RAMP[..., 0] if channels == 1 else RAMP)
    batch = modality.collate([modality.transform(value, None)] * 2)
    assert batch.shape == (2, channels, 4, 4)
    assert torch.equal(modality.decode(modality.encode(batch[1])), value)


def header_of(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, b"IDAT")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def grown(kind, after, size):
    """Returns a small picture as a file whose header claims another size, which follows some bytes of it."""
    buffer = io.BytesIO()
    Pillow.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    place = content.index(after) + len(after)
    content[place : place + len(size)] = size
    return bytes(content)


BROKEN = {
    "truncated": (png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[:2000], "truncated"),
    "empty": (b"", "0 bytes"),
    "words": (b"this is not a picture", "unknown format"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "unknown format"),
    "bomb": (header_of(60000, 60000), "3600000000 pixels"),
    "large": (header_of(11000, 11000), "11000 x 11000"),
    "JPEG bomb": (grown("JPEG", b"\xff\xc0\x00\x11\x08", struct.pack(">HH", 60000, 60000)), "3600000000 pixels"),
    "GIF bomb": (grown("GIF", b"GIF87a", struct.pack("<HH", 60000, 60000)), "3600000000 pixels"),
    "WebP bomb": (grown("WEBP", b"\x9d\x01\x2a", struct.pack("<HH", 16383, 16383)), "268402689 pixels"),
    "BMP bomb": (grown("BMP", struct.pack("<I", 40), struct.pack("<ii", 60000, 60000)), "3600000000 pixels"),
    "PPM bomb": (b"P6\n60000 60000\n255\n", "3600000000 pixels"),
    "TIFF bomb": (
        grown("TIFF", struct.pack("<HHI", 256, 4, 1), struct.pack("<IHHII", 60000, 257, 4, 1, 60000)),
        "3600000000 pixels",
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name_and_cause(tmp_path, name):
    content, cause = BROKEN[name]
    path = tmp_path / f"{name}.png"
    path.write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(MediaError) as error:
        image().decode(path)
    assert time.perf_counter() - start < 0.5
    assert str(path) in error.value.wrong
    assert cause in error.value.wrong
    with pytest.raises(MediaError, match="the file given"):
        image().decode(content)


def test_missing_files_are_refused(tmp_path):
    for source in (tmp_path / "none.png", tmp_path, "memory://none.png", "nowhere://x.png"):
        with pytest.raises(MediaError, match="cannot be opened"):
            image().decode(source)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.full((2, 2), 1.5), "from 1.5 to 1.5"),
        (np.full((2, 2), np.nan), "nan"),
        (np.zeros((2, 2, 4), np.uint8), r"shape \(4, 2, 2\)"),
        (np.zeros((0, 2), np.uint8), "shape"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.array([["a"]]), "<U1"),
        (torch.zeros(2, 3, 4, 4), "shape"),
        (7, "int is not a picture"),
    ],
)
def test_values_that_are_no_picture_are_refused(value, words):
    with pytest.raises(MediaError, match=words):
        image().decode(value)


def test_max_pixels_is_configuration():
    with pytest.raises(MediaError, match="4 x 4 pixels"):
        image(max_pixels=15).decode(png(RAMP))
    assert image(max_pixels=16).decode(png(RAMP)).shape == (3, 4, 4)


@pytest.mark.parametrize(
    "options", [{"mean": [0.5] * 2}, {"std": [0.0]}, {"size": 0}, {"flip": 1.1}, {"zoom": 1.0}, {"crop_scale": -0.1}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Image.Config(**options)
