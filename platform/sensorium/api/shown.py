"""How a result looks: its lines, and in a notebook its pictures, sounds and films below them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape

_ELEMENTS = {
    "image/png": '<img style="max-width:100%" src="{}">',
    "audio/wav": '<audio controls src="{}"></audio>',
    "video/mp4": '<video controls src="{}"></video>',
}


class Shown:
    """A result that shows itself: as lines at a prompt, with its media in a notebook."""

    def lines(self) -> list[str]:
        """Returns the lines, those of the command line."""
        raise NotImplementedError

    def media(self) -> Mapping[str, bytes]:
        """Returns caption -> PNG, WAV or MP4."""
        return {}

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html(self.lines(), self.media())


def html(lines: Iterable[str], media: Mapping[str, bytes]) -> str:
    """Returns lines as they stand, and media under their captions."""
    text = "\n".join(lines)
    parts = [f"<pre>{escape(text)}</pre>" if text else ""]
    for caption, content in media.items():
        kind = media_type(content)
        if kind in _ELEMENTS:
            source = f"data:{kind};base64,{b64encode(content).decode()}"
            parts.append(f"<figure><figcaption>{escape(caption)}</figcaption>{_ELEMENTS[kind].format(source)}</figure>")
    return "\n".join(part for part in parts if part)


def media_type(content: bytes) -> str:
    """Returns the type of media that a model makes, by how they begin; empty for others."""
    if content.startswith(b"\x89PNG"):
        return "image/png"
    if content.startswith(b"RIFF"):
        return "audio/wav"
    return "video/mp4" if content[4:8] == b"ftyp" else ""
