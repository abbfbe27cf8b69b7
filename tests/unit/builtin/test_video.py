"""Video: frames at their times, the sound in step with them, and what is not a video refused."""

import io
import math
import struct
import tracemalloc
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter

from sensorium import Batch, MediaError, Padded
from sensorium.builtin.encoders.convnet import ConvNet
from sensorium.builtin.encoders.frames import Frames
from sensorium.builtin.modalities.video import Footage, Footages, Video
from sensorium.contracts.data import map_tensors


def video(**options):
    return Video(Video.Config(**{"size": 16, "channels": 1, **options}))


def counting(count=10, side=16):
    """Returns frames whose brightness says their number."""
    return np.stack([np.full((side, side), 20 * number, np.uint8) for number in range(count)])


def numbers(frames):
    """Returns the numbers that the frames of a video show."""
    return ((frames.mean((1, 2, 3)) + 1) / 2 * 255 / 20).round().long().tolist()


def made(frames, kind="mp4", offset=0.0, sound=(), piece=400, without=()):
    """Returns a file of grey frames at 25 a second from `offset` seconds on, and of sound at 16 kHz.

    The pieces of the sound whose numbers are in `without` are left out.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind, options={"output_ts_offset": str(offset)}) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width = frames.shape[1:]
        heard = container.add_stream("pcm_s16le", rate=16000, layout="mono") if len(sound) else None
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
        for number in sorted(set(range(len(sound) // piece)) - set(without)):
            samples = sound[None, number * piece : (number + 1) * piece]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, number * piece, Fraction(1, 16000)
            container.mux(heard.encode(frame))
        if heard:
            container.mux(heard.encode(None))
    return buffer.getvalue()


def shades(value):
    """Returns the numbers that the frames of `counting` show before they are transformed."""
    return (value.frames.float().mean((1, 2, 3)) / 20).round().long().tolist()


def test_a_real_file_gives_its_frames_and_its_sound_in_step(data):
    """75 frames at 25 a second, and the sound that another program took from the same file."""
    import soundfile

    root = data / "GRID-samples"
    modality = video(size=(36, 45), channels=3, sample_rate=16000)
    value = modality.transform(modality.decode(str(root / "video" / "bbaf2n.mpg")), None)
    assert value.frames.shape == (75, 3, 36, 45)
    assert value.sound.shape == (1, 48000)
    known, rate = soundfile.read(root / "audio" / "bbaf2n.wav", dtype="float32")
    assert rate == 16000
    heard = value.sound[0, : len(known)].numpy()
    lags = range(-400, 401, 20)
    along = [np.dot(heard[8000 + lag : 24000 + lag], known[8000:24000]) for lag in lags]
    best = list(lags)[int(np.argmax(np.abs(along)))]
    assert abs(best) <= 320, "within half a frame of 640 samples"
    assert np.abs(np.corrcoef(heard[8000 + best : 24000 + best], known[8000:24000])[0, 1]) > 0.9


def test_frames_of_a_real_file_are_the_pictures_taken_from_it(data):
    from PIL import Image as Pictures

    root = data / "GRID-samples"
    modality = video(size=(144, 180), channels=3)
    frames = modality.transform(modality.decode(str(root / "video" / "swiz3n.mpg")), None).frames
    for number in (0, 37, 74):
        with Pictures.open(root / "frames" / "swiz3n" / f"{number:03d}.jpg") as picture:
            known = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
        assert (frames[number] - known).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("rate", "wanted", "shown"),
    [
        (10, 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (10, 5, [0, 2, 4, 6, 8]),
        (10, 20, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]),
    ],
)
def test_rates_worked_out_by_hand(rate, wanted, shown):
    modality = video(frame_rate=wanted)
    assert numbers(modality.transform(modality.decode((counting(), rate)), None).frames) == shown


def test_lengths_worked_out_by_hand():
    assert numbers(_given(seconds=0.4)) == [3, 4, 5, 6], "the middle"
    assert numbers(_given(seconds=1.2)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9], "the last frame stays"


def _given(**options):
    modality = video(frame_rate=10, **options)
    return modality.transform(modality.decode((counting(), 10)), None).frames


def test_the_beginning_of_a_file_is_taken_with_its_sound(data):
    modality = video(sample_rate=16000)
    path = str(data / "GRID-samples" / "video" / "bbaf2n.mpg")
    whole, part = modality.decode(path), modality.decode((path, 1.0))
    assert torch.equal(part.frames, whole.frames[:25])
    assert torch.equal(part.sound, whole.sound[:, :16000])


def test_a_region_is_cut_out():
    frames = np.zeros((2, 20, 20), np.uint8)
    frames[:, 10:15, 5:10] = 255
    modality = video(size=5, region=[0.25, 0.5, 0.5, 0.75])
    assert modality.transform(modality.decode((frames, 25)), None).frames.min() == 1


def test_a_batch_is_padded_and_moves_as_a_whole():
    modality = video()
    values = [modality.transform(modality.decode((counting(count), 25.0)), None) for count in (4, 7)]
    batch = modality.collate(values)
    assert batch.data.shape == (2, 7, 1, 16, 16)
    assert batch.mask.sum(1).tolist() == [4, 7]
    assert not batch.data[0, 4:].any()
    half = Batch([{"id": "a"}, {"id": "b"}], {"face": batch}).split(2)[1]["face"]
    assert torch.equal(half.data, batch.data[1:])
    assert map_tensors(batch, lambda t: t.double()).sound.dtype == torch.float64


def test_what_it_shows_it_reads_again():
    modality = video(size=(32, 33), channels=3, frame_rate=12.5, seconds=1.0)
    smooth = modality.transform(modality.decode(modality.example(torch.Generator().manual_seed(0))), None)
    again = modality.transform(modality.decode(modality.encode(smooth)), None)
    assert again.frames.shape == smooth.frames.shape == (12, 3, 32, 33)
    assert (again.frames - smooth.frames).abs().mean() < 0.05


@pytest.mark.parametrize("piece", [400, 441])
def test_pieces_of_sound_follow_each_other_without_a_seam(piece):
    """Matroska rounds times to milliseconds: 441 samples are 27.5625 of them."""
    sound = np.random.default_rng(0).integers(1, 30000, 40 * piece, dtype=np.int16)
    value = video(sample_rate=16000).decode(made(counting(), "matroska", sound=sound, piece=piece))
    assert value.sound.shape == (1, 6400)
    assert (value.sound[0] * 32768).tolist() == sound[:6400].tolist()


def test_a_gap_in_the_sound_is_silent_and_what_follows_stays_in_step():
    sound = np.random.default_rng(0).integers(1, 30000, 6400, dtype=np.int16)
    value = video(sample_rate=16000).decode(made(counting(), "matroska", sound=sound, without=range(4, 9)))
    sound[4 * 400 : 9 * 400] = 0
    assert (value.sound[0] * 32768).tolist() == sound.tolist()


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((1, 0, 0, 1), (0, 0)),
        ((0, 1, -1, 0), (0, 1)),
        ((-1, 0, 0, -1), (1, 1)),
        ((0, -1, 1, 0), (1, 0)),
        ((-1, 0, 0, 1), (0, 1)),
        ((0, -1, -1, 0), (1, 1)),
    ],
)
def test_frames_are_turned_upright(matrix, corner):
    """Column x and row y of a file are shown at column a x + c y and row b x + d y: where the bright corner goes."""
    frames = np.zeros((3, 32, 64), np.uint8)
    frames[:, :16, :32] = 255
    content = bytearray(made(frames))
    a, b, c, d = (part << 16 for part in matrix)
    start = content.find(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    shown = video().decode(bytes(content)).frames
    assert shown.shape == ((3, 1, 32, 64) if matrix[0] else (3, 1, 64, 32))
    quarters = torch.nn.functional.avg_pool2d(shown.float(), (shown.shape[2] // 2, shown.shape[3] // 2))[0, 0]
    assert (quarters > 200).nonzero().tolist() == [list(corner)]


class Traced:
    """A reformatter whose pictures lie in memory that tracemalloc sees, unlike FFmpeg's."""

    def __init__(self):
        self.own = VideoReformatter()

    def reformat(self, frame, **options):
        picture = self.own.reformat(frame, **options).to_ndarray().copy()
        return SimpleNamespace(to_ndarray=lambda: picture)


@pytest.mark.parametrize("rate", [25.0, 5.0])
def test_frames_are_held_once_and_only_those_that_are_shown(rate, monkeypatch):
    monkeypatch.setattr("av.video.reformatter.VideoReformatter", Traced)
    content = made(np.tile(counting(side=64), (10, 1, 1)))
    modality = video(channels=3, frame_rate=rate)
    modality.decode(content)
    tracemalloc.start()
    try:
        frames = modality.decode(content).frames
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert frames.shape == (4 * rate, 3, 64, 64)
    assert peak < 1.5 * frames.numel()


def test_no_more_is_read_than_the_beginning_that_is_asked_for():
    content = made(counting())
    assert shades(video(max_seconds=0.2).decode((content, 0.12))) == [0, 1, 2]
    with pytest.raises(MediaError, match=r"over 0\.2 s"):
        video(max_seconds=0.2).decode(content)


def test_frames_that_take_too_much_memory_together_are_refused():
    content, five = made(counting()), 5 * 16 * 16
    assert shades(video(frame_rate=12.5, max_bytes=five).decode(content)) == [0, 2, 4, 6, 8]
    assert shades(video(max_bytes=five).decode((content, 0.2))) == [0, 1, 2, 3, 4]
    for raw in (content, (counting(), 25)):
        with pytest.raises(MediaError, match="take over"):
            video(max_bytes=five).decode(raw)


def test_a_film_that_grows_on_the_way_is_refused():
    content = made(counting(5), "mpegts") + made(counting(10, 64)[5:], "mpegts", offset=0.28)
    assert len(video().decode(content).frames) == 10
    with pytest.raises(MediaError):
        video(max_pixels=32 * 32).decode(content)


def test_a_list_of_other_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.mp4").write_bytes(made(counting()))
    (tmp_path / "list.mpg").write_bytes(b"ffconcat version 1.0\nfile other.mp4\n")
    assert video().decode("other.mp4").frames.shape[0] == 10
    for raw in ("list.mpg", (tmp_path / "list.mpg").read_bytes()):
        with pytest.raises(MediaError, match="not a readable video"):
            video().decode(raw)


def test_a_raw_stream_without_times_is_read():
    assert shades(video().decode(made(counting(), "h264"))) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_frames_that_go_back_in_time_are_left_out():
    content = made(counting(), "mpegts")
    assert shades(video().decode(content + content)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_frames_whose_size_changes_are_brought_to_that_of_the_first():
    # The first part begins at 0.08 s, as its times of decoding may not be negative.
    content = made(counting(5), "mpegts") + made(counting(10, 32)[5:], "mpegts", offset=0.28)
    value = video().decode(content)
    assert value.frames.shape == (10, 1, 16, 16)
    assert shades(value) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    "raw",
    [
        b"no video",
        7,
        (counting().astype(float), 25),
        (counting(), "fast"),
        (counting(), math.nan),
        (counting(), math.inf),
        (counting(), 1e-300),
        (b"", 0),
        (b"no video", math.nan),
        (b"no video", math.inf),
        (b"no video", 1e308),
    ],
)
def test_what_is_no_video_is_refused(raw):
    with pytest.raises(MediaError):
        video().decode(raw)


def test_too_long_and_too_large_are_refused(data):
    path = str(data / "GRID-samples" / "video" / "bbaf2n.mpg")
    with pytest.raises(MediaError, match=r"over 1 s"):
        video(max_seconds=1.0).decode(path)
    with pytest.raises(MediaError, match="360 x 288"):
        video(max_pixels=1000).decode(path)


def test_each_frame_is_seen_by_itself():
    modality = video(size=8)
    encoder = Frames(Frames.Config(encoder=ConvNet.Config(widths=[4], depth=0, dim=5)), modality)
    frames = torch.randn(2, 3, 1, 8, 8)
    features = encoder(frames)
    assert features.tokens.shape == (2, 3, 5)
    assert torch.allclose(features.tokens[1, 2], encoder.encoder(frames[1, 2:]).pooled[0], atol=1e-6)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    masked = encoder(Padded(frames, mask))
    assert torch.allclose(masked.pooled[0], features.tokens[0, :2].mean(0), atol=1e-6)


def test_sound_goes_into_the_file_in_step_with_the_frames():
    clicks = torch.zeros(1, 16000)
    clicks[0, [4000, 9000]] = 0.9
    modality = video(channels=3, size=64, frame_rate=10, sample_rate=16000)
    made = modality.encode(Footage(torch.zeros(10, 3, 64, 64), clicks))
    assert made == modality.encode(Footage(torch.zeros(10, 3, 64, 64), clicks)), "the same bytes each time"
    again = modality.decode(made)
    assert again.frames.shape == (10, 3, 64, 64)
    assert again.sound.shape == (1, 16000)
    loud = again.sound[0].abs()
    assert abs(int(loud[:6500].argmax()) - 4000) < 32
    assert abs(int(loud[6500:].argmax()) + 6500 - 9000) < 32, "two milliseconds"


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 8000), (10000, 11025), (96000, 48000)])
def test_sound_at_any_rate_becomes_one_that_files_have(rate, wanted):
    tone = torch.sin(torch.arange(rate) / rate * 2 * math.pi * 440)[None] / 2
    made = video(sample_rate=rate, frame_rate=10).encode(Footage(torch.zeros(10, 1, 16, 16), tone))
    with av.open(io.BytesIO(made)) as container:
        assert container.streams.audio[0].rate == wanted
    heard = video(sample_rate=8000, frame_rate=10).decode(made).sound[0, 1000:7000]
    spectrum = torch.fft.rfft(heard * torch.hann_window(6000)).abs()
    assert int(spectrum.argmax()) == 330, "440 Hz of 6,000 samples at 8,000 Hz"


def test_of_a_batch_each_film_ends_with_its_frames():
    sound = torch.zeros(2, 1, 8000)
    mask = torch.arange(10) < torch.tensor([[10], [4]])
    films = Footages(torch.zeros(2, 10, 1, 16, 16), mask, sound)
    modality = video(frame_rate=10, sample_rate=8000)
    again = modality.decode(modality.encode(map_tensors(films, lambda tensor: tensor[1])))
    assert (len(again.frames), again.sound.shape[1]) == (4, 3200)


def test_without_sound_a_file_has_none():
    with av.open(io.BytesIO(video(sample_rate=8000).encode(torch.zeros(3, 1, 16, 16)))) as container:
        assert not container.streams.audio


def test_geometry_is_where_the_parts_of_a_frame_go():
    modality = video(size=(10, 10), region=[0.5, 0.0, 1.0, 1.0])
    frames = np.zeros((1, 20, 60), np.uint8)
    frames[0, 4, 45] = 255  # of the right half, 20 x 30, the middle 20 columns are kept: from 35
    value = modality.decode((frames, 25))
    made, placed = modality.transform(value, None).frames[0, 0], modality.geometry(value, None)
    assert (placed.given, placed.seen) == ((20, 60), (10, 10))
    x, y = placed.places(torch.tensor([45.5, 4.5], dtype=torch.float64)).tolist()
    assert (x, y) == pytest.approx((5.25, 2.25))
    assert made.argmax().item() == 10 * int(y) + int(x)
