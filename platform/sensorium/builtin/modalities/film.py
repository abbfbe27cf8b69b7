"""Video files through PyAV: frames at one rate, the sound in step with them, and MP4 back.

Shapes: T frames, H and W rows and columns, C channels, S samples of sound.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sensorium import MediaError
from sensorium.builtin.modalities.ending import broken_off
from sensorium.builtin.modalities.source import readable

FORMATS = "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,av1,obu,ivf,vc1,mjpeg,gif,flv,asf,ogg,mxf,nut,dv"
"""FFmpeg's names of what is read: none is a playlist, which could name any other file."""

AAC = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Samples a second that AAC has; others are brought to the next one."""

STEP = 0.02
"""Seconds by which sound may come too early or too late before it counts as a gap; times are rounded."""


def read(
    file: BinaryIO,
    name: str,
    rate: float,
    mode: str,
    sample_rate: int | None,
    max_seconds: float,
    max_pixels: int,
    max_bytes: int,
    most: int | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns the frames (T, H, W, C) of a video at a rate, and its sound (S,) at another one.

    Frame k is the one that is shown at k / rate seconds after the first, turned upright. The sound begins
    with the first frame and ends with the last: what is missing is silence.

    Args:
        file: The video.
        name: Of the file, for messages.
        rate: Frames a second.
        mode: PyAV's name of the pixels' format, rgb24 or gray.
        sample_rate: Samples a second; None leaves the sound out.
        max_seconds: Length above which it is refused.
        max_pixels: Pixels of a frame above which it is refused; a frame on the way may be larger than the first.
        max_bytes: Memory of all frames together above which it is refused.
        most: Frames after which it stops reading; None reads all.

    Raises:
        MediaError: It is not a readable video, has no frames, or is too long or too large.
    """
    import av

    with (
        readable(name, "video", "An MP4, MPEG, WebM, MOV or AVI file was expected."),
        av.open(file, "r", container_options={"format_whitelist": FORMATS}) as container,
    ):
        if not container.streams.video:
            raise MediaError(f"{name} holds no video.", "A file with frames was expected.")
        stream = container.streams.video[0]
        _check_size(name, stream, max_pixels)
        stream.codec_context.options = {"max_pixels": str(max_pixels)}  # before it takes memory for a frame
        reel = Reel(name, mode, max_bytes)
        start, end = _fill(reel, container, rate, max_seconds, max_pixels, most)
        cut = "" if end is None else broken_off(container, file, end)
        if cut:
            raise MediaError(f"{name} breaks off, {cut}.", "A whole file was expected.", "Fetch it again.")
        length = 0 if sample_rate is None else round(reel.count / rate * sample_rate)
        sound = _sound(container, start, sample_rate, length)
    return reel.frames(), sound


class Reel:
    """The frames that are kept, in one piece of memory: upright, and of the size of the first.

    Args:
        name: Of the file, for messages.
        mode: PyAV's name of the pixels' format.
        max_bytes: Most that they may take.
    """

    def __init__(self, name: str, mode: str, max_bytes: int) -> None:
        from av.video.reformatter import VideoReformatter

        self.name, self.mode, self.max_bytes, self.count = name, mode, max_bytes, 0
        self.pixels = bytearray()  # grows where it lies, which an array does not
        self.first: Any = None
        self.shape: tuple[int, ...] = ()
        self.reformatter: Any = VideoReformatter()  # one for all, which a frame would make anew

    def show(self, frame: Any, until: int) -> None:
        """Repeats a frame until there are so many frames.

        Raises:
            MediaError: They have too many pixels.
        """
        if until <= self.count:
            return
        if self.first is None:
            self.first = frame
        width, height = self.first.width, self.first.height
        bounded(self.name, until * height * width * (1 if self.mode == "gray" else 3), self.max_bytes)
        scaled = self.reformatter.reformat(frame, width=width, height=height, format=self.mode)
        picture = _upright(scaled.to_ndarray(), self.first)
        self.shape, content = picture.shape, picture.tobytes()
        while self.count < until:
            self.pixels += content
            self.count += 1

    def cut(self, count: int) -> None:
        """Leaves out the frames after the first `count`."""
        if count < self.count:
            del self.pixels[count * math.prod(self.shape) :]
            self.count = count

    def frames(self) -> NDArray[np.uint8]:
        """Returns (T, H, W, C), without a copy."""
        return np.frombuffer(self.pixels, np.uint8).reshape(self.count, *self.shape)


def bounded(name: str, needed: float, max_bytes: int) -> None:
    """Refuses frames that take too much memory together.

    Raises:
        MediaError: They do.
    """
    if needed > max_bytes:
        raise MediaError(
            f"{name} has frames that take over {max_bytes / 1e6:.0f} MB together.",
            "Those that are shown at frame_rate are held in memory.",
            "Cut it, make its frames smaller, lower frame_rate, or raise max_bytes.",
        )


def _check_size(name: str, frame: Any, max_pixels: int) -> None:
    if frame.width * frame.height > max_pixels:
        raise MediaError(f"{name} has {frame.width} x {frame.height} pixels.", f"At most {max_pixels}.")


def _fill(
    reel: Reel, container: Any, rate: float, max_seconds: float, max_pixels: int, most: int | None
) -> tuple[float, float | None]:
    """Fills a reel with the frames that are shown at a rate.

    Returns:
        The time of the first frame, and the end of the last, in seconds; None where it did not read so far.

    Raises:
        MediaError: There are none, they last too long, or they have too many pixels.
    """
    lasts = 1 / float(container.streams.video[0].average_rate or 25)
    shown, start, latest = None, 0.0, 0.0
    for time, frame in _timed(container.decode(video=0), lasts):
        _check_size(reel.name, frame, max_pixels)
        start = time if shown is None else start
        if max(time - start, lasts) > max_seconds:
            raise MediaError(f"{reel.name} lasts over {max_seconds:g} s.", "", "Cut it, or raise max_seconds.")
        if shown is not None:
            due = reel.count
            # A little later, so that a time that was rounded down still meets its own frame.
            while due != most and start + (due + 0.01) / rate < time:
                due += 1
            reel.show(shown, due)
            if due == most:
                return start, None
        shown, latest = frame, time
    if shown is None:
        raise MediaError(f"{reel.name} holds no frames.", "", "Replace the file or leave it out.")
    count = max(1, round((latest - start + lasts) * rate))
    count = count if most is None else min(count, most)
    reel.show(shown, count)
    reel.cut(count)
    return start, latest + lasts


def _timed(frames: Iterable[Any], lasts: float) -> Iterator[tuple[float, Any]]:
    """Yields frames with their times in seconds, without those that go back in time.

    Args:
        frames: As they are decoded.
        lasts: Seconds from one to the next where they have no times, as in a raw stream.
    """
    latest: float | None = None
    for frame in frames:
        time: float | None = frame.time
        if time is None:
            time = 0.0 if latest is None else latest + lasts
        if latest is None or time >= latest:
            yield time, frame
            latest = time


def _upright(pixels: NDArray[np.uint8], frame: Any) -> NDArray[np.uint8]:
    """Returns pixels (H, W, C) turned and mirrored as the display matrix of a frame says."""
    matrix = frame.side_data.get("DISPLAYMATRIX")  # `frame.rotation` is 0 where it only mirrors
    if matrix is None:
        return pixels
    # Column x and row y are shown at column a x + c y and row b x + d y.
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5]
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _sound(container: Any, start: float, sample_rate: int | None, length: int) -> NDArray[np.float32]:
    """Returns the sound (`length`,) from `start` seconds on, the mean of its channels, silent where there is none.

    Pieces follow each other without a seam, however their times are rounded. One that comes more than STEP
    after the end of the last begins anew at its own time; one that comes before is left out.
    """
    import av

    sound: NDArray[np.float32] = np.zeros(length, np.float32)
    if sample_rate is None or not container.streams.audio:
        return sound
    container.seek(0)
    resampler, place, end = None, 0, start
    for frame in container.decode(audio=0):
        time = end if frame.time is None else float(frame.time)
        if resampler is not None and time < end - STEP:
            continue
        if resampler is None or time > end + STEP:
            if resampler is not None:
                _put(sound, resampler.resample(None), place)
            resampler = av.AudioResampler(format="fltp", rate=sample_rate)
            place, end = round((time - start) * sample_rate), time
        end += frame.samples / frame.sample_rate
        place = _put(sound, resampler.resample(frame), place)
        if place >= length:
            return sound
    if resampler is not None:
        _put(sound, resampler.resample(None), place)
    return sound


def _put(sound: NDArray[np.float32], pieces: Iterable[Any], place: int) -> int:
    """Writes pieces from a place on, as far as they lie inside, and returns the place where they end."""
    for piece in pieces:
        samples = piece.to_ndarray().mean(0)  # FFmpeg's own mix adds channels up with weights
        inside = samples[max(0, -place) : max(0, len(sound) - place)]
        sound[max(0, place) : max(0, place) + len(inside)] = inside
        place += len(samples)
    return place


def write(
    frames: NDArray[np.uint8], rate: float, sound: NDArray[np.float32] | None = None, sample_rate: int | None = None
) -> bytes:
    """Returns frames (T, H, W, 3) as MP4 (H.264), and their sound (AAC); sides are rounded up to even numbers.

    Small frames are enlarged by a whole number, so that a person sees something.

    Args:
        frames: The frames.
        rate: Of them a second.
        sound: (S,) in [-1, 1], from the beginning of the first frame; what is louder is clipped. Without samples the
            file has no sound.
        sample_rate: Samples a second.
    """
    import av

    _, height, width, _ = frames.shape
    factor = max(1, 64 // max(height, width))
    frames = frames.repeat(factor, 1).repeat(factor, 2)
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # With x264's macroblock tree the same frames do not always become the same bytes.
        options = {"crf": "18", "threads": "1", "x264-params": "no-mbtree=1"}
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        heard = None
        if sound is not None and len(sound) and sample_rate is not None:
            samples = np.ascontiguousarray(np.clip(sound, -1, 1)[None], np.float32)
            spoken = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            spoken.sample_rate, spoken.pts, spoken.time_base = sample_rate, 0, Fraction(1, sample_rate)
            allowed = [each for each in AAC if each >= sample_rate] or AAC[-1:]
            heard = container.add_stream("aac", rate=allowed[0], layout="mono")
            heard.bit_rate = 96_000
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode(None))
        if heard is not None:
            container.mux(heard.encode(spoken))
            container.mux(heard.encode(None))
    return buffer.getvalue()
