"""Broken and hostile media: refused with a sentence, within memory, whatever a library raises.

`SENSORIUM_FUZZ_SECONDS=3600` looks for new ones for an hour. What is found is named by format and number.
"""

import io
import os
import random
import subprocess
import sys
import time

import av
import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from sensorium import MediaError
from sensorium.builtin.modalities import image
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.heatmaps import Heatmaps
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.measured import Depth, Thermal
from sensorium.builtin.modalities.number import Number
from sensorium.builtin.modalities.series import Series
from sensorium.builtin.modalities.tags import Tags
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.vector import Vector
from sensorium.builtin.modalities.video import Video

SECONDS = float(os.environ.get("SENSORIUM_FUZZ_SECONDS", "10"))
IMAGE = Image(Image.Config(size=16, max_pixels=1_000_000))
AUDIO = Audio(Audio.Config(max_seconds=10, max_bytes=64 << 20))
VIDEO = Video(Video.Config(size=16, max_pixels=1_000_000, max_seconds=10, max_bytes=64 << 20, sample_rate=16000))
DEPTH = Depth(Depth.Config(size=16, max_pixels=1_000_000))
THERMAL = Thermal(Thermal.Config(size=16, max_pixels=1_000_000))
SERIES = Series(Series.Config(channels=6, length=16, max_readings=100_000))


def readings(write):
    """Returns sixteen readings of six channels as a file."""
    buffer = io.BytesIO()
    write(buffer, np.random.default_rng(0).normal(size=(16, 6)))
    return buffer.getvalue()


def deep():
    """Returns a PNG of 16 bits."""
    buffer = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(0).integers(0, 10_000, (16, 16), np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def picture(kind):
    """Returns a small picture as a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    buffer = io.BytesIO()
    exif = Pillow.Exif()
    exif[274] = 6
    options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    Pillow.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def sound(kind):
    """Returns a tenth of a second of noise as a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(0, 0.1, (1600, 2)), 16000, format=kind)
    return buffer.getvalue()


def clip(kind, codec, side=32):
    """Returns six frames as a file, with sound where the format holds it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = side
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 40 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


VALID = {
    **{kind: (IMAGE, lambda kind=kind: picture(kind)) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")},
    **{kind: (AUDIO, lambda kind=kind: sound(kind)) for kind in ("WAV", "FLAC", "OGG", "MP3")},
    **{
        kind: (VIDEO, lambda kind=kind, codec=codec: clip(kind, codec))
        for kind, codec in {
            "mp4": "libx264",
            "webm": "libvpx",
            "matroska": "mpeg4",
            "avi": "mjpeg",
            "mpeg": "mpeg1video",
            "mpegts": "mpeg2video",
            "ivf": "libvpx",
            "gif": "gif",
            "h264": "libx264",
        }.items()
    },
    "PNG of 16 bits": (DEPTH, deep),
    "thermal PNG": (THERMAL, deep),
    "NPY": (DEPTH, lambda: readings(np.save)),
    "NPY series": (SERIES, lambda: readings(np.save)),
    "CSV": (SERIES, lambda: readings(lambda file, array: np.savetxt(file, array, delimiter=","))),
}
"""Format -> what reads it, and what makes a file of it."""


def mutated(content, kind, number):
    """Returns one of the broken variants of a file: bytes changed, taken out, doubled, cut off, or set to extremes."""
    source = random.Random(f"{kind} {number}")
    changed = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        # Headers decide most, so half of the changes lie there.
        place = source.randrange(min(len(changed), 200) if source.random() < 0.5 else len(changed))
        change = source.randrange(6)
        if change == 0:
            changed[place] ^= 1 << source.randrange(8)
        elif change == 1:
            changed[place] = source.choice((0, 1, 127, 128, 255))
        elif change == 2:
            changed[place : place + 4] = source.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
        elif change == 3:
            del changed[place : place + source.randrange(1, 40)]
        elif change == 4:
            changed[place:place] = changed[place : place + source.randrange(1, 40)]
        elif source.random() < 0.2:
            del changed[place:]
        if not changed:
            return b"\0"
    return bytes(changed)


def taken(modality, raw):
    """Decodes and transforms; returns whether it was refused with a MediaError."""
    try:
        modality.transform(modality.decode(raw), None)
    except MediaError:
        return True
    return False


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_each_format_is_read_and_mutations_are_refused_with_a_sentence():
    files = {}
    for kind, (modality, make) in VALID.items():
        files[kind] = make()
        assert not taken(modality, files[kind]), f"{kind} itself is read"
    end, number, refused = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end:
        for kind, content in files.items():
            try:
                refused += taken(VALID[kind][0], mutated(content, kind, number))
            except Exception as error:
                raise AssertionError(f"{kind}, mutation {number}: {type(error).__name__}: {error}") from error
        number += 1
    assert number > 5
    assert refused > number


def test_hostile_files_are_refused_with_a_sentence(data):
    files = sorted((data / "hostile").glob("crash-*.bin"))
    assert files
    for file in files:
        modality = IMAGE if "image" in file.name else VIDEO
        for raw in (file, file.read_bytes()):
            with pytest.raises(MediaError, match="is not a readable"):
                modality.decode(raw)


@pytest.mark.parametrize("error", [TypeError("x"), MemoryError(), AttributeError("x"), AssertionError(), KeyError(1)])
def test_whatever_a_library_raises_is_a_broken_file(error, monkeypatch):
    def fails(*_args, **_options):
        raise error

    for module, name, modality, kind in (
        (image.Pillow, "open", IMAGE, "PNG"),
        (soundfile, "SoundFile", AUDIO, "WAV"),
        (av, "open", VIDEO, "mp4"),
    ):
        content = VALID[kind][1]()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fails)
            with pytest.raises(MediaError, match="is not a readable"):
                modality.decode(content)


DEEP = [0.0]
for _ in range(2000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "modality",
    [
        Number.Config(),
        Vector.Config(size=3),
        Tags.Config(),
        Label.Config(),
        Text.Config(),
        Heatmaps.Config(),
        Depth.Config(),
        Thermal.Config(),
        Series.Config(channels=3, length=4),
    ],
    ids=lambda config: config.owner.__name__,
)
def test_values_of_strange_shapes_are_refused_or_taken(modality):
    built = modality.build()
    strange = [
        None, True, 10**400, -(10**400), 10**5000, "9" * 5000, "nan", float("inf"), [10**400] * 3, [[1], [1, 2]], DEEP,
        ["a", 1], {}, {"a": 1}, [{}], [None] * 3, "\ud800", "x" * 2_000_000, ["x"] * 1_000_000, [1.0] * 1_000_000, b"",
        object(),
    ]  # fmt: skip
    refused = 0
    for raw in strange:
        try:
            built.decode(raw)
        except MediaError:
            refused += 1
    assert refused >= len(strange) // 2


def silence(seconds, rate, channels):
    """Returns a FLAC that is small and becomes large."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, channels, "PCM_16", format="FLAC") as file:
        for _ in range(seconds * 10):
            file.write(np.zeros((rate // 10, channels), np.int16))
    return buffer.getvalue()


def still(seconds, side):
    """Returns a film of two frames, the second of which comes late."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = side
        for number in (0, 25 * seconds):
            frame = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


MEASURE = """
import os, resource, sys
from sensorium import MediaError
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.video import Video

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

def measured(modality, file):
    raw = file
    if isinstance(modality, Text):
        modality.fit(["a b c"])
        raw = open(file).read()
    before = peak()
    try:
        modality.decode(raw) if not isinstance(modality, Text) else modality.transform(modality.decode(raw), None)
        return f"taken {peak() - before}"
    except MediaError:
        return f"refused {peak() - before}"

for config, file in zip(sys.argv[1::2], sys.argv[2::2]):
    if not (child := os.fork()):  # each has a peak of its own
        print(measured(eval(config).build(), file), flush=True)
        os._exit(0)
    assert not os.waitpid(child, 0)[1]
"""

COSTS = {
    "rate and channels": ("Audio.Config(max_bytes=64 << 20)", lambda: silence(4, 655_350, 8), "refused", 128),
    "an honest sound": ("Audio.Config(max_bytes=64 << 20)", lambda: silence(2, 48_000, 2), "taken", 64),
    "a still": ("Video.Config(size=32, max_bytes=64 << 20)", lambda: still(50, 480), "refused", 160),
    "a long text": ("Text.Config(max_characters=100_000)", lambda: b"a b " * 4_000_000, "refused", 64),
    "an honest text": ("Text.Config(max_characters=100_000)", lambda: b"a b " * 25_000, "taken", 100),
}
"""Case -> what reads it, the file, whether it is taken, and the MiB that it may need."""


def test_memory_is_bounded_by_what_decoding_costs_and_not_by_the_file(tmp_path):
    arguments = []
    for number, (config, content, _, _) in enumerate(COSTS.values()):
        file = tmp_path / str(number)
        file.write_bytes(content())
        arguments += [config, str(file)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr
    for (case, (_, _, said, most)), line in zip(COSTS.items(), done.stdout.splitlines(), strict=True):
        answer, needed = line.split()
        print(f"{case}: {answer}, {int(needed) >> 20} MiB")
        assert answer == said, case
        assert int(needed) < most << 20, f"{case}: {int(needed) >> 20} MiB"


def test_a_server_lowers_what_decoding_may_cost():
    from types import SimpleNamespace

    from sensorium.serving.served import lower
    from sensorium.serving.settings import Limits

    text = Text.Config().build()
    inputs = {"a": Audio.Config().build(), "v": Video.Config().build(), "t": text}
    lower(SimpleNamespace(model=SimpleNamespace(task=SimpleNamespace(inputs=inputs))), Limits(max_bytes=1000))
    with pytest.raises(MediaError, match="At most 1000 bytes"):
        inputs["a"].decode(sound("WAV"))
    with pytest.raises(MediaError, match="take over"):
        inputs["v"].decode(clip("mp4", "libx264"))
    with pytest.raises(MediaError, match="At most 100000"):
        text.decode("x" * 100_001)
