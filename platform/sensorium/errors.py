"""Errors that a person can act on: what is wrong, what was expected, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

from sensorium.redaction import redacted


class SensoriumError(Exception):
    """Something failed while running. The command line prints it as one paragraph; it repeats no password.

    Args:
        wrong: What is wrong, as a sentence.
        expected: What was expected instead, as a sentence.
        hint: What to do next, as a sentence.
    """

    exit_status = 1

    def __init__(self, wrong: str, expected: str = "", hint: str = "") -> None:
        wrong, expected, hint = redacted(wrong), redacted(expected), redacted(hint)
        super().__init__(wrong, expected, hint)
        self.wrong, self.expected, self.hint = wrong, expected, hint

    def __str__(self) -> str:
        return " ".join(part for part in (self.wrong, self.expected, self.hint) if part)


class UserError(SensoriumError):
    """The request cannot be met as it was written: the user can mend it."""

    exit_status = 2


class MediaError(UserError):
    """A file or a value is not a readable example of its modality."""


def unknown(what: str, name: object, known: Iterable[str], where: str = "") -> UserError:
    """Returns the error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    place = f" at {where}" if where else ""
    listing = ", ".join(names) if names else "none"
    return UserError(
        f"There is no {what} {name!r}{place}.",
        f"Known: {listing}.",
        f"Did you mean {near[0]!r}?" if near else "",
    )
