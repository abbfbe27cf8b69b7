"""Names as MLflow takes them, for metrics, parameters and tags that are called by users' data."""

from __future__ import annotations

import hashlib
import re

_FOREIGN = re.compile(r"[^\w\-. :/]")
_MOST = 240


def key(name: str) -> str:
    """Returns a name itself where MLflow takes it, else a legible one that no other name gets."""
    parts = [part if part.strip(".") else "_" for part in _FOREIGN.sub("_", name).split("/")]
    legible = "/".join(parts)[:_MOST]
    if legible == name:
        return name
    return f"{legible.rstrip('/')}-{hashlib.blake2b(name.encode(), digest_size=2).hexdigest()}"
