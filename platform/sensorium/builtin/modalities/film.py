"""Video files through PyAV: frames at one rate, the sound in step with them, and MP4 back.

Shapes: T frames, H and W rows and columns, C channels, S samples of sound.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sensorium import MediaError

BROKEN = (OSError, ValueError, EOFError)
"""What PyAV raises for bytes that are no video; its own errors are among them."""


def read(
    file: BinaryIO, name: str, rate: float, mode: str, sample_rate: int | None, max_seconds: float, max_pixels: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns the frames (T, H, W, C) of a video at a rate, and its sound (S,) at another one.

    Frame k is the one that is shown at k / rate seconds after the first. The sound begins with the
    first frame and ends with the last: what is missing is silence.

    Args:
        file: The video.
        name: Of the file, for messages.
        rate: Frames a second.
        mode: PyAV's name of the pixels' format, rgb24 or gray.
        sample_rate: Samples a second; None leaves the sound out.
        max_seconds: Length above which it is refused.
        max_pixels: Pixels of a frame above which it is refused.

    Raises:
        MediaError: It is no readable video, has no frames, or is too long or too large.
    """
    import av

    try:
        with av.open(file, "r") as container:
            if not container.streams.video:
                raise MediaError(f"{name}: holds no video.", "A file with frames was expected.")
            stream = container.streams.video[0]
            if stream.width * stream.height > max_pixels:
                raise MediaError(f"{name}: has {stream.width} x {stream.height} pixels.", f"At most {max_pixels}.")
            times, frames = _frames(container, mode, name, max_seconds)
            sound = _sound(container, times[0], sample_rate)
            shown = stream.average_rate or Fraction(25)
    except BROKEN as cause:
        raise MediaError(
            f"{name}: is no readable video ({cause}).",
            "An MP4, MPEG, WebM, MOV or AVI file was expected.",
            "Replace the file or leave it out.",
        ) from cause
    count = max(1, round((times[-1] - times[0] + 1 / float(shown)) * rate))
    # Half a tick later, so that a time that was rounded down still meets its own frame.
    wanted = times[0] + (np.arange(count) + 0.01) / rate
    chosen = np.searchsorted(times, wanted, side="right") - 1
    length = 0 if sample_rate is None else round(count / rate * sample_rate)
    return np.stack([frames[index] for index in chosen]), np.pad(sound[:length], (0, max(0, length - len(sound))))


def _frames(container: Any, mode: str, name: str, max_seconds: float) -> tuple[NDArray[np.float64], list[Any]]:
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()  # one for all, which a frame would make anew
    times, frames = [], []
    for frame in container.decode(video=0):
        times.append(float(frame.time))
        frames.append(reformatter.reformat(frame, format=mode).to_ndarray())
        if times[-1] - times[0] > max_seconds:
            raise MediaError(f"{name}: lasts over {max_seconds:g} s.", "", "Cut it, or raise max_seconds.")
    if not frames:
        raise MediaError(f"{name}: holds no frames.", "", "Replace the file or leave it out.")
    return np.array(times), frames


def _sound(container: Any, start: float, sample_rate: int | None) -> NDArray[np.float32]:
    """Returns the sound from `start` seconds on, the mean of its channels; empty where there is none."""
    import av

    empty: NDArray[np.float32] = np.zeros(0, np.float32)
    if sample_rate is None or not container.streams.audio:
        return empty
    container.seek(0)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=sample_rate)
    pieces, first = [], None
    for frame in container.decode(audio=0):
        first = float(frame.time) if first is None else first
        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    if first is None:
        return empty
    pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    sound = np.concatenate(pieces)
    late = round((first - start) * sample_rate)
    return np.pad(sound, (late, 0)) if late > 0 else sound[-late:]


def write(frames: NDArray[np.uint8], rate: float) -> bytes:
    """Returns frames (T, H, W, 3) as MP4 (H.264); sides are rounded up to even numbers.

    Small frames are enlarged by a whole number, so that a person sees something.
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
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()
