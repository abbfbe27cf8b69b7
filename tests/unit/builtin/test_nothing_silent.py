"""What is wrong in a file is said: a table of readers and defects, which a new case joins with one line."""

import io
import json
import struct
import tarfile
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from sensorium import MediaError, UserError
from sensorium.builtin.datasets.coco import CocoCaptions
from sensorium.builtin.datasets.flickr import Flickr
from sensorium.builtin.datasets.karpathy import CocoKarpathy
from sensorium.builtin.datasets.manifest import Manifest
from sensorium.builtin.datasets.webdataset import WebDataset
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.video import Video
from sensorium_separation.grid import GridMixtures
from sensorium_soundnet.flickr import FlickrSounds
from sensorium_text2image.photographs import DescribedPhotographs

VIDEO = Video(Video.Config(size=16, channels=1, sample_rate=16000))
AUDIO = Audio(Audio.Config(view="waveform"))


def film(kind, codec, audio="mp2", layout="stereo", level=0.1, count=100):
    """Returns a film of noise, and of sound at one level in each channel but the last, which is silent."""
    buffer, random = io.BytesIO(), np.random.default_rng(0)
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        heard = container.add_stream(audio, rate=48000, layout=layout)
        for _ in range(count):
            pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels).reformat(format="yuv420p")))
        container.mux(stream.encode(None))
        samples = np.full((heard.layout.nb_channels, 1024), level, np.float32)
        samples[-1] = 0
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        for number in range(48000 * count // 25 // 1024):
            frame.pts, frame.sample_rate, frame.time_base = number * 1024, 48000, Fraction(1, 48000)
            container.mux(heard.encode(frame))
        container.mux(heard.encode(None))
    return buffer.getvalue()


def loud(scale):
    """Returns a WAV of floats."""
    buffer = io.BytesIO()
    soundfile.write(buffer, scale * np.sin(np.arange(1600, dtype=np.float32)), 16000, "FLOAT", format="WAV")
    return buffer.getvalue()


def part(kind, codec, audio, share):
    """Returns the beginning of a film, cut inside a packet."""
    whole = film(kind, codec, audio)
    return whole[: int(len(whole) * share) // 188 * 188 + 100]


@pytest.mark.parametrize(
    ("modality", "raw", "said"),
    [
        (VIDEO, lambda: part("webm", "libvpx", "libopus", 0.9), "of 4.00 s"),
        (VIDEO, lambda: part("matroska", "libx264", "aac", 0.6), "breaks off, with 2."),
        (VIDEO, lambda: part("mpegts", "mpeg2video", "mp2", 0.9), "breaks off, with 100 of 188 bytes"),
        (VIDEO, lambda: part("mpegts", "libx264", "aac", 0.5), "breaks off, with 100 of 188 bytes"),
        (VIDEO, lambda: part("mpeg", "mpeg1video", "mp2", 0.9), "bytes of its last packet"),
        (VIDEO, lambda: part("vob", "mpeg2video", "mp2", 0.6), "bytes of its last packet"),
        (VIDEO, lambda: part("avi", "mpeg4", "mp2", 0.9), "of 4.00 s"),
        (AUDIO, lambda: loud(32000), "up to 31999"),
        (AUDIO, lambda: (np.full(1600, 2e4, np.float32), 16000), "up to 20000"),
    ],
)
def test_media_that_are_wrong(modality, raw, said):
    with pytest.raises(MediaError) as caught:
        modality.decode(raw())
    assert said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "codec", "audio"),
    [
        ("webm", "libvpx", "libopus"),
        ("matroska", "libx264", "aac"),
        ("mpegts", "mpeg2video", "mp2"),
        ("mpeg", "mpeg1video", "mp2"),
        ("vob", "mpeg2video", "mp2"),
        ("avi", "mpeg4", "mp2"),
        ("mp4", "libx264", "aac"),
        ("flv", "libx264", "aac"),
    ],
)
def test_whole_films_are_read(kind, codec, audio):
    assert abs(len(VIDEO.decode(film(kind, codec, audio)).frames) - 100) <= 1


def test_the_beginning_of_a_film_that_breaks_off_later_is_read():
    assert len(VIDEO.decode((part("webm", "libvpx", "libopus", 0.9), 1.0)).frames) == 25


@pytest.mark.parametrize(("layout", "share"), [("mono", 0.0), ("stereo", 1 / 2), ("5.1", 5 / 6)])
def test_sound_of_a_film_is_the_mean_of_its_channels(layout, share):
    heard = VIDEO.decode(film("mov", "libx264", "pcm_s16le", layout)).sound[0, 8000:24000]
    assert heard.mean().item() == pytest.approx(0.1 * share, abs=1e-3)


def test_floats_a_little_over_full_scale_are_sound():
    assert AUDIO.decode(loud(1.5)).max() > 1.4


@pytest.mark.parametrize(("matrix", "rows"), [((1, 0, 0, -1), [0, 255]), ((1, 0, 0, 1), [255, 0])])
def test_a_film_mirrored_upside_down_is_turned(matrix, rows):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        pixels = np.zeros((32, 32), np.uint8)
        pixels[:16] = 255
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    content = bytearray(buffer.getvalue())
    start = content.find(b"tkhd") + 44
    a, b, c, d = (each << 16 for each in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    shown = VIDEO.decode(bytes(content)).frames[0, 0].float()
    assert [shown[:12].mean().item(), shown[20:].mean().item()] == pytest.approx(rows, abs=20)


def coco(images, captions):
    records = [{"id": n, "image_id": 1, "caption": text} for n, text in enumerate(captions)]
    return json.dumps({"images": [{"id": n, "file_name": "a.jpg"} for n in images], "annotations": records})


def karpathy(text):
    sentences = [{"sentid": 7, "raw": text}]
    return json.dumps({"images": [{"imgid": 1, "filename": "a.jpg", "split": "train", "sentences": sentences}]})


MANIFEST, COCO, KARPATHY = (
    (Manifest, "x.csv"),
    (CocoCaptions, "annotations/captions_train2017.json"),
    (CocoKarpathy, "dataset_coco.json"),
)
LINES, FLICKR = (Manifest, "x.jsonl"), (Flickr, "Flickr8k.token.txt")


GRID = (GridMixtures, "index.csv")
CLASSES, CAPTIONS = (
    (DescribedPhotographs, "trainvalclasses.txt"),
    (DescribedPhotographs, "text_c10/birds/a.txt"),
)
FRAMES = (FlickrSounds, "lmdbs/train_frames4_1.txt")
BESIDE = {
    GridMixtures: {"a.mpg": "x", "b.mpg": "x"},
    DescribedPhotographs: {
        "trainvalclasses.txt": "birds\n",
        "text_c10/birds/a.txt": "a bird\n",
        "images/a.jpg": "x",
    },
}
"""Reader -> what lies there besides."""


def opened(reader, content, root, fields):
    """Returns the training split that a reader makes of a file."""
    dataset, name = reader
    for other, beside in BESIDE.get(dataset, {}).items():
        (root / other).parent.mkdir(parents=True, exist_ok=True)
        (root / other).write_text(beside)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content, encoding="utf-8")
    options = {"train": str(root / name), "fields": fields} if dataset is Manifest else {"root": str(root)}
    return dataset.Config(broken="skip", **options).build().open("train")


@pytest.mark.parametrize(
    ("reader", "content", "said"),
    [
        (MANIFEST, "a,b,a\n1,2,3\n", ["'a'", "x.csv:1, column 1", "x.csv:1, column 3"]),
        (MANIFEST, "a,caf\u00e9,cafe\u0301\n1,2,3\n", ["'caf\u00e9'", "x.csv:1, column 2", "x.csv:1, column 3"]),
        (LINES, '{"a": "1", "caf\u00e9": 1, "cafe\u0301": 2}\n', ["'caf\u00e9'", "x.jsonl:1, column 12"]),
        (MANIFEST, "id,a\nz,1\nz,2\n", ["'z'", "x.csv:2", "x.csv:3"]),
        (LINES, '{"a": "1"}\n{"a": "1", "b": {"a": 1}, "a": "2"}\n', ["'a'", "x.jsonl:2, column 2", ":2, column 27"]),
        (COCO, coco([1, 2, 1], ["x"]), ["images[0]", "images[2]"]),
        (COCO, '{"images": [],\n"images": [], "annotations": []}', ["json:1, column 2", "json:2, column 1"]),
        (COCO, coco([1], ["x", " "]), ["annotations[1], caption, is empty"]),
        (KARPATHY, karpathy("\ufeff "), ["images[0], sentences[0], raw, is empty"]),
        (FLICKR, "a.jpg#0\t \n", ["txt:1 is not a caption"]),
        (LINES, '{"id": " ", "a": "1"}\n', ["x.jsonl:1, 'id', is empty"]),
        (GRID, "id,video,id\na,a.mpg,b\n", ["'id'", "index.csv:1, column 1", "index.csv:1, column 3"]),
        (GRID, "id,video\na,a.mpg\n a,b.mpg\n", ["'a'", "index.csv:2", "index.csv:3"]),
        (GRID, "id,video\na,a.mpg\nb,\n", ["index.csv:3 has no value for 'video'"]),
        (GRID, "id,video\na,a.mpg\nb,c.mpg\n", ["names files that are not there, 1 in all", "c.mpg"]),
        (CLASSES, "birds\n birds\n", ["class 'birds'", "trainvalclasses.txt:1", "trainvalclasses.txt:2"]),
        (CLASSES, "\n\ufeff\n", ["trainvalclasses.txt is empty"]),
        (CAPTIONS, " \n", ["a.txt is empty"]),
        (FRAMES, "frames/a/1.jpg\nframes/a/1.jpg 0\n", ["'frames/a/1.jpg'", "_1.txt:1", "_1.txt:2"]),
        (FRAMES, "frames/a/1.jpg\nframes/b/1.jpg\nframes/a/2.jpg\n", ["clip 'a'", "_1.txt:1", "_1.txt:3"]),
        (FRAMES, "1.jpg\n", ["_1.txt:1 names the frame '1.jpg'"]),
    ],
)
def test_files_that_are_wrong(reader, content, said, tmp_path):
    with pytest.raises(UserError) as caught:
        opened(reader, content, tmp_path, {"a": "text"})
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("reader", "content", "kind", "value"),
    [
        (MANIFEST, "\ufeffa\n cat \n", "label", "cat"),
        (LINES, '{"a": " cafe\u0301"}\n', "text", "caf\u00e9"),
        (MANIFEST, "a\n 2.5 \n", "number", 2.5),
        (LINES, '{"a": 3}\n', "number", 3),
        (MANIFEST, "a\nred; round\n", "tags", ["red", "round"]),
        (LINES, '{"a": ["red", "round"]}\n', "tags", ["red", "round"]),
        (LINES, '{"a": []}\n', "tags", []),
    ],
)
def test_values_are_read_by_one_rule(reader, content, kind, value, tmp_path):
    assert opened(reader, content, tmp_path, {"a": kind})[0]["a"] == value


@pytest.mark.parametrize("reader", [MANIFEST, LINES])
@pytest.mark.parametrize(("written", "asked"), [("cafe\u0301", "caf\u00e9"), ("caf\u00e9", "cafe\u0301")])
def test_a_name_is_found_in_either_unicode_form_and_given_back_as_it_was_asked_for(reader, written, asked, tmp_path):
    content = f"{written}\n1\n" if reader is MANIFEST else f'{{"{written}": "1"}}\n'
    assert opened(reader, content, tmp_path, {asked: "text"})[0][asked] == "1"


def test_readers_of_plugins_read_by_the_same_rule(tmp_path):
    split = opened(CAPTIONS, "\ufeff a cafe\u0301\n\n", tmp_path / "birds", {})
    assert split[0]["captions"] == ["a caf\u00e9"]
    pairs = opened(GRID, "\ufeffid,video,speaker\n e\u0301 , a.mpg ,x\nb,b.mpg, y \n", tmp_path / "grid", {})
    assert {clip.id for clip in pairs.pair(0)} == {"\u00e9", "b"}
    assert {clip.speaker for clip in pairs.pair(0)} == {"x", "y"}


def test_captions_that_are_not_utf_8_are_counted(tmp_path, capsys):
    opened(CAPTIONS, "a bird\n", tmp_path, {})
    (tmp_path / "text_c10/birds/a.txt").write_bytes(b"a \xff bird\na bird\n")
    split = DescribedPhotographs.Config(root=str(tmp_path)).build().open("train")
    assert split[0]["caption"] == "a \ufffd bird"
    assert "a.txt: 1 captions of the split 'train' are not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("raw", [" a cafe\u0301 \n", "\ufeffa caf\u00e9", "a caf\u00e9\r\n", "\t a cafe\u0301\u00a0"])
def test_a_text_is_the_same_at_training_and_when_asked(raw, tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps({"t": raw}), encoding="utf-8")
    learnt = Manifest.Config(train=str(tmp_path / "x.jsonl"), fields={"t": "text"}).build().open("train")[0]["t"]
    for tokenizer in ("words", "bpe"):
        text = Text(Text.Config(tokenizer=tokenizer, vocabulary_size=300))
        text.fit(["a caf\u00e9"])
        ids = [text.transform(text.decode(each), None).tolist() for each in (raw, learnt, "a caf\u00e9")]
        assert ids[0] == ids[1] == ids[2]


def test_a_value_that_is_asked_for_is_read_as_one_of_a_file():
    assert Label(Label.Config()).decode(" cafe\u0301 ") == "caf\u00e9"
    assert Text(Text.Config()).decode("\ufeffcafe\u0301") == "caf\u00e9"


def test_samples_that_are_left_out_are_counted(tmp_path, capsys):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("a.jpg", "b.v2.png", "c.v2.png", "d.heic"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    assert len(WebDataset.Config(train=str(tmp_path / "x.tar")).build().open("train")) == 1
    assert "left out 3 samples" in (said := capsys.readouterr().err)
    assert "2 of v2.png, 1 of heic" in said
