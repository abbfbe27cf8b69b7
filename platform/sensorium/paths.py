"""Paths that a user gives, wherever: one rule of what `~` stands for."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sensorium.errors import UserError

_LOCAL = re.compile(r"(?:(?P<files>file|local):(?://)?/?|(?P<database>sqlite(?:\+\w+)?):///)(?P<path>~.*)", re.DOTALL)


def expanded(path: str | os.PathLike[str]) -> str:
    """Returns a path, a pattern or a URI in which a leading `~` is the home folder, and `~name` that of a user.

    In a URI of a local file or database (`file:~/x`, `sqlite:///~/x.db`) it is the path that may begin so.
    As in a shell, `~name` stays where no user is called so.

    Raises:
        UserError: It begins with `~`, and this user has no home folder.
    """
    text = os.fspath(path)
    if found := _LOCAL.fullmatch(text):
        inner = expanded(found["path"])
        return f"{found['database']}:///{inner}" if found["database"] else f"file://{Path(inner).absolute()}"
    text = os.path.expanduser(text)  # noqa: PTH111 (the other one fails where no user is called so)
    if text == "~" or text.startswith("~/"):
        raise UserError(f"{text} cannot be found: this user has no home folder.", "", "Write the path without ~.")
    return text
