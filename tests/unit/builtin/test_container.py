"""Sound in M4A, MP4 and WebM: the tone that was written is heard, and what is broken or too long is refused."""

import io

import av
import numpy as np
import pytest

from sensorium import MediaError
from sensorium.builtin.modalities import film
from sensorium.builtin.modalities.audio import Audio

RATE = 16000


def audio(**options):
    return Audio.Config(**{"sample_rate": RATE, "view": "waveform", **options}).build()


def tone(hertz, seconds=1.0, rate=RATE):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def file(*channels, kind="mp4", codec="aac", rate=RATE):
    """Returns a container with a track of sound alone."""
    buffer, layout = io.BytesIO(), "mono" if len(channels) == 1 else "stereo"
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.stack(channels), format="fltp", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return buffer.getvalue()


def heard(wave):
    """Returns the loudest frequency in Hz."""
    return float(np.abs(np.fft.rfft(wave)).argmax() * RATE / len(wave))


@pytest.mark.parametrize(("kind", "codec", "rate"), [("mp4", "aac", RATE), ("webm", "libopus", 48000)])
def test_a_tone_is_heard_as_it_was_written(kind, codec, rate, tmp_path):
    (tmp_path / "tone").write_bytes(file(tone(440, rate=rate), kind=kind, codec=codec, rate=rate))
    wave = audio().decode(tmp_path / "tone")
    assert abs(wave.shape[1] / RATE - 1) < 0.1
    assert heard(wave[0]) == pytest.approx(440, abs=2)
    assert wave.abs().max() == pytest.approx(0.5, abs=0.1)


def test_channels_stay_apart_and_are_in_order():
    stereo = audio(channels=2).decode(file(tone(440), tone(880)))
    assert [round(heard(each), -1) for each in stereo.numpy()] == [440, 880]


def test_the_sound_of_a_film_is_read():
    pixels = np.zeros((25, 32, 32, 3), np.uint8)
    wave = audio().decode(film.write(pixels, 25.0, tone(440), RATE))
    assert heard(wave[0]) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (film.write(np.zeros((5, 32, 32, 3), np.uint8), 5.0), "holds no sound"),
        (file(tone(440), kind="mp4")[:3000], "is not a readable sound"),
        (file(tone(440, 3), kind="matroska")[:-8000], "breaks off"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "is not a readable sound"),
    ],
)
def test_what_cannot_be_heard_is_refused(content, wrong):
    with pytest.raises(MediaError, match=wrong):
        audio().decode(content)


def test_what_is_too_long_is_refused_before_all_of_it_is_decoded():
    long = file(tone(440, 3))
    with pytest.raises(MediaError, match="lasts over 2 s"):
        audio(max_seconds=2).decode(long)
    with pytest.raises(MediaError, match="over 10000 samples"):
        audio(max_bytes=80000).decode(long)


def test_its_cost_is_what_may_be_read_of_it():
    content = file(tone(440), tone(880))
    assert audio(max_seconds=5).cost(content) == 8 * 5 * RATE * 2
    assert audio(max_bytes=1000).cost(content) == 1000
