"""JSON files of records: each value is checked as it is taken, and what does not fit is said with its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium import UserError
from sensorium.builtin.datasets.files import decode
from sensorium.builtin.values import clean, filled, parse, shown


class Record:
    """A JSON object of a file.

    Args:
        content: What was found in its place.
        source: The file.
        within: The record whose list it stands in; None for the file's own.
        name: Name of that list.
        number: Its place there, from 0.

    Raises:
        UserError: It is something else.
    """

    __slots__ = ("content", "name", "number", "source", "within")

    def __init__(self, content: Any, source: Path, within: Record | None = None, name: str = "", number: int = 0):
        self.content, self.source, self.within, self.name, self.number = content, source, within, name, number
        if not isinstance(content, dict):
            raise UserError(f"{self.place} is {shown(content)}.", "A JSON object was expected.", _HINT)

    @property
    def place(self) -> str:
        """File and place in it, such as `captions.json, images[3]`."""
        if self.within is None:
            return str(self.source)
        return f"{self.within.place}, {self.name}[{self.number}]"

    def key(self, name: str) -> str | int:
        """Returns a number or a name that tells records apart.

        Raises:
            UserError: It is missing, or something else.
        """
        value = self._get(name)
        if type(value) is int or (isinstance(value, str) and value.strip()):
            return value
        raise self._wrong(name, value, "A whole number, or a string that is not empty,")

    def whole(self, name: str) -> int:
        """Returns a whole number.

        Raises:
            UserError: It is missing, or something else.
        """
        value = self._get(name)
        if type(value) is not int:
            raise self._wrong(name, value, "A whole number")
        return value

    def text(self, name: str, default: str | None = None, empty: bool = False) -> str:
        """Returns a text, by the rule of all values: one that is not empty, unless it may be.

        Raises:
            UserError: It is missing and has no default, or is something else.
        """
        if default is not None and name not in self.content:
            return default
        value = self._get(name)
        if not isinstance(value, str):
            raise self._wrong(name, value, "A string")
        return clean(value) if empty else filled(value, f"{self.place}, {name},")

    def records(self, name: str) -> Iterator[Record]:
        """Yields the records of a list.

        Raises:
            UserError: It is missing, or something else; or one of them is.
        """
        return (Record(each, self.source, self, name, number) for number, each in enumerate(self.items(name)))

    def items(self, name: str) -> list[Any]:
        """Returns a list, whatever it holds.

        Raises:
            UserError: It is missing, or something else.
        """
        value = self._get(name)
        if not isinstance(value, list):
            raise self._wrong(name, value, "A list")
        return value

    def _get(self, name: str) -> Any:
        if name not in self.content:
            raise UserError(
                f"{self.place} has no {name!r}.", f"It has {', '.join(list(self.content)[:20]) or 'nothing'}.", _HINT
            )
        return self.content[name]

    def _wrong(self, name: str, value: Any, expected: str) -> UserError:
        return UserError(f"{self.place}, {name}, is {shown(value)}.", f"{expected} was expected.", _HINT)


def read(path: Path) -> Record:
    """Returns the record that a file holds.

    Raises:
        UserError: It is not JSON, or holds something else.
    """
    return Record(parse(decode(path.read_bytes(), path), path), path)


_HINT = "Choose another file, or mend it."
