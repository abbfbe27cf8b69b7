"""Passwords in addresses: found in any text, and hidden there. Imports nothing of ours: errors are made with it."""

from __future__ import annotations

import os
import re

HIDDEN = "***"
"""Stands where a password stood."""
CONFIDED = "SENSORIUM_TRACKING_URI"
"""Variable with the whole address of an experiment's store, of this process and of those that it starts."""
_LOGIN = re.compile(
    r"""(?P<scheme>[\w+.-]*://)[^:/\s]*:[^@\s]+@(?:[^\s"',]*@)?|(?P<server>https?://)[^/?#\s]+@""", re.IGNORECASE
)
_PARAMETER = re.compile(
    r"(?P<name>[?&;][^=&;\s]*(?:pass(?!file)|pwd|token|secret|(?<!ssl)key|auth|credential|sig)[^=&;\s]*=)[^&;\s]+",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Returns a text in which no address holds a password, a login of a server, or a secret parameter."""
    text = _LOGIN.sub(lambda found: f"{found['scheme'] or found['server']}{HIDDEN}@", text)
    return _PARAMETER.sub(lambda found: f"{found['name']}{HIDDEN}", text)


def reveals(text: str) -> bool:
    """Says whether there is anything to hide in a text."""
    return redacted(text) != text


def confided(uri: str) -> str:
    """Returns the address of a store without its password, which the environment keeps."""
    if reveals(uri):
        os.environ[CONFIDED] = uri
    return redacted(uri)
