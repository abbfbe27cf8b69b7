"""A dictionary of modules whose keys are names from users' data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

_MARK = "%"


class NamedModules(nn.ModuleDict):
    """`nn.ModuleDict` for any key: `type`, `label.v2` or an empty one, which torch refuses in names of modules.

    Names that torch takes stand in the state dict as they are; the others escaped, behind a percent sign.
    """

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(_written(key))

    def __setitem__(self, key: str, module: nn.Module) -> None:
        super().__setitem__(_written(key), module)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(_written(key))

    def __iter__(self) -> Iterator[str]:
        return map(_read, self._modules)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and _written(key) in self._modules

    def keys(self) -> Any:
        """Returns the keys as they were given."""
        return dict.fromkeys(self).keys()

    def items(self) -> Any:
        """Returns the pairs of key, as it was given, and module."""
        return dict(zip(self, self._modules.values(), strict=True)).items()

    def pop(self, key: str) -> nn.Module:
        """Removes a key and returns its module."""
        module = self[key]
        del self[key]
        return module


def _written(key: str) -> str:
    """Returns the name of a key's module; no two keys have the same."""
    if key and "." not in key and not key.startswith(_MARK) and not hasattr(_EMPTY, key):
        return key
    return _MARK + key.replace(_MARK, "%25").replace(".", "%2E")


def _read(name: str) -> str:
    """Returns the key of a module's name."""
    return name[1:].replace("%2E", ".").replace("%25", _MARK) if name.startswith(_MARK) else name


_EMPTY = nn.ModuleDict()
