"""YAML as experiments are written in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from sensorium.errors import UserError

EXPANDED = 10_000
"""Nodes that aliases (`*name`) may repeat in all; aliases of aliases grow without bound in a few lines."""


EXPANDING = -1
"""Size of a node whose inside is being counted."""


class _Loader(yaml.SafeLoader):
    """YAML whose numbers are those of YAML 1.2: 1e-3 is a number, 010 is ten, `no` is a word. A key occurs once."""

    def get_single_node(self) -> Any:
        """Returns the root, of which aliases make nothing endless or huge."""
        root = super().get_single_node()
        sizes: dict[int, int] = {}
        if root is not None and _size(root, sizes) > len(sizes) + EXPANDED:
            raise yaml.constructor.ConstructorError(None, None, "its aliases repeat too much", root.start_mark)
        return root

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Returns a mapping, as YAML itself says with distinct keys."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or mapping", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} occurs twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":int", ":float", ":timestamp"))]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false|True|False)$"), list("tfTF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?\d+$"), list("-+0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf)$|^\.(nan|NaN)$"),
    list("-+.0123456789"),
)


class _Flow(_Loader):
    """YAML of one value on a command line: a list, a mapping or a quoted text, of which nothing is passed over."""

    def scan_to_next_token(self) -> None:
        """Goes to the next token, over space alone.

        Raises:
            yaml.scanner.ScannerError: A comment is there.
        """
        start = self.pointer
        super().scan_to_next_token()
        if "#" in self.buffer[start : self.pointer]:
            raise yaml.scanner.ScannerError(None, None, "a text that holds ' #' is quoted", self.get_mark())

    def fetch_anchor(self) -> None:
        """Refuses what a text may begin with, and YAML would take away.

        Raises:
            yaml.scanner.ScannerError: Always.
        """
        raise yaml.scanner.ScannerError(
            None, None, f"a text that begins with {self.peek()!r} is quoted", self.get_mark()
        )

    fetch_alias = fetch_tag = fetch_anchor


def _size(node: Any, sizes: dict[int, int]) -> int:
    """Returns the number of nodes below and with one, aliases counted each time; `sizes` keeps those that are known."""
    if id(node) not in sizes:
        sizes[id(node)] = EXPANDING
        inner = () if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            inner = [each for pair in inner for each in pair]
        sizes[id(node)] = 1 + sum(_size(each, sizes) for each in inner)
    elif sizes[id(node)] == EXPANDING:
        raise yaml.constructor.ConstructorError(None, None, "an alias holds itself", node.start_mark)
    return sizes[id(node)]


def parse_yaml(text: str, where: str, mapping: bool = True) -> Any:
    """Returns what a YAML text says.

    Raises:
        UserError: The text is not YAML, or not a mapping where one is asked for.
    """
    data = _load(text, where, _Loader)
    if mapping and not isinstance(data, Mapping):
        raise UserError(
            f"{where} is {data!r}.", "Expected: a mapping with `task`, `dataset`, `modalities`, `model`, …."
        )
    return data


def parse_value(text: str, where: str) -> Any:
    """Returns what stands behind the `=` of an override.

    What begins with a bracket or a quote is YAML. All else is taken as a whole: a number, true,
    false, null, or else this very text, with any `#`, `: `, `@`, `*` and `&` that it holds.

    Raises:
        UserError: It begins with a bracket or a quote and is not YAML, or would lose a part as YAML.
    """
    whole = text.strip()
    if whole.startswith(("[", "{", '"', "'")):
        return _load(text, where, _Flow)
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, whole, (True, False))
    if tag.rpartition(":")[2] not in ("null", "bool", "int", "float"):
        return text
    try:
        return loader.construct_object(yaml.ScalarNode(tag, whole))
    except ValueError:  # a number of more digits than Python reads
        return text


def _load(text: str, where: str, loader: type[_Loader]) -> Any:
    try:
        return yaml.load(text, loader)
    except Exception as cause:  # a tag's constructor raises what it likes: `!!int x` a ValueError
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise UserError(f"{where} is not YAML: {reason[:300]}.") from cause
