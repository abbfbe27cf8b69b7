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

    def _render_traceback_(self) -> list[str]:
        """Returns what notebooks show in place of a traceback; `%debug` still goes to where it was raised."""
        return [f"Error: {self}"]


class UserError(SensoriumError):
    """The request cannot be met as it was written: the user can mend it."""

    exit_status = 2


class MediaError(UserError):
    """A file or a value is not a readable example of its modality."""


LONGEST = 200
"""Letters of a name that are shown and compared: comparing takes the square of them, and anybody may send one."""
MOST = 200
"""Names that are listed."""


def unknown(what: str, name: object, known: Iterable[str], where: str = "") -> UserError:
    """Returns the error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    name = name if len(str(name)) <= LONGEST else f"{str(name)[:LONGEST]}…"
    near = get_close_matches(str(name), names, n=1)
    place = f" at {where}" if where else ""
    listing = ", ".join(names[:MOST]) if names else "none"
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return UserError(
        f"There is no {what} {name!r}{place}.",
        f"Known: {listing}{more}.",
        f"Did you mean {near[0]!r}?" if near else "",
    )
