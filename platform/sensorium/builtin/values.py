"""The one rule by which values are read from files: what text is, and that nothing stands in a file twice."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sensorium import UserError

HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, which is not a character and has no UTF-8."""
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]')


def composed(text: str) -> str:
    """Returns text in the Unicode form NFC, without a byte order mark, so that what looks alike is alike."""
    return unicodedata.normalize("NFC", text.removeprefix("\ufeff"))


def clean(text: str) -> str:
    """Returns `composed` text without white space around it: a name, a label, a sentence."""
    return composed(text).strip()


def filled(text: str, place: str) -> str:
    """Returns `clean` text.

    Raises:
        UserError: Nothing is left of it, or it is not Unicode.
    """
    text = clean(text)
    if not text:
        raise UserError(f"{place} is empty.", "Every sample has a value in every field.", "Fill it in, or remove it.")
    if HALF.search(text):
        raise UserError(f"{place} holds half a surrogate pair.", "Text in Unicode was expected.", "Correct the value.")
    return text


def shown(raw: object) -> str:
    """Returns the beginning of a value for messages, also of one that Python does not write out."""
    try:
        return f"{raw!r:.60}"
    except (ValueError, RecursionError):  # thousands of digits, or lists within lists
        return f"a {type(raw).__name__}"


def once(found: Iterable[tuple[Any, str]], what: str) -> None:
    """Checks that no key occurs twice.

    Args:
        found: Each key with its place.
        what: What the keys are, for the message.

    Raises:
        UserError: One does; names both places.
    """
    places: dict[Any, str] = {}
    for key, place in found:
        if key in places:
            raise UserError(
                f"The {what} {key!r} is there twice: {places[key]} and {place}.",
                "Each is there once.",
                "Remove or rename one of them.",
            )
        places[key] = place


def parse(text: str, source: object, kind: str = "one JSON object", line: int = 1) -> Any:
    """Returns the content of JSON text; keys are in the Unicode form NFC.

    Args:
        text: The text.
        source: Its file, for messages.
        kind: What was expected.
        line: The text's first line in the file.

    Raises:
        UserError: It is not JSON, or an object has a key twice; names both places.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except json.JSONDecodeError as cause:
        raise UserError(
            f"{source}:{line + cause.lineno - 1} is not JSON: {cause.msg} at column {cause.colno}.",
            f"Expected {kind}.",
            "Correct the line, or fetch the file again.",
        ) from cause
    except (RecursionError, _TooLongError) as cause:
        raise UserError(
            f"{source}:{line} is not JSON that can be read: {cause}.",
            f"Expected {kind}.",
            "Lists lie at most some hundred deep, and numbers have at most some thousand digits.",
        ) from cause
    except _TwiceError:
        for keys in _objects(text, lambda at: _place(text, at, source, line)):
            once(keys, "key")
        raise


class _TwiceError(ValueError):
    """An object has a key twice."""


class _TooLongError(ValueError):
    """A number has too many digits."""


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as cause:
        raise _TooLongError(f"a number has {len(digits)} digits") from cause


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {composed(key): value for key, value in pairs}
    if len(found) < len(pairs):
        raise _TwiceError
    return found


def _objects(text: str, place: Callable[[int], str]) -> Iterator[list[tuple[str, str]]]:
    """Yields the keys of each object with their places; JSON itself does not tell these."""
    stack: list[list[tuple[str, str]]] = []
    last: re.Match[str] | None = None
    for token in TOKEN.finditer(text):
        if token[0] in "{[":
            stack.append([])
        elif token[0] in "}]":
            yield stack.pop()
        elif token[0] == ":" and last is not None:
            stack[-1].append((composed(json.loads(last[0])), place(last.start())))
        last = token


def _place(text: str, at: int, source: object, line: int) -> str:
    return f"{source}:{line + text.count(chr(10), 0, at)}, column {at - text.rfind(chr(10), 0, at)}"
