"""What the documents tell a reader to type: their blocks of code, and the commands in them."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GUIDE = "plugins/README.md"
_BLOCK = re.compile(r"^(?:<!-- tested: (\S+) -->\n)?```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`(sensorium [^`]*)`")


@dataclass(frozen=True)
class Block:
    """A block between fences.

    Attributes:
        language: What it is written in.
        text: What it holds.
        name: By which a test of its own knows it; empty if it has none.
    """

    language: str
    text: str
    name: str

    def commands(self) -> list[str]:
        """Returns its commands, each one line of a shell."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def documents() -> list[str]:
    """Returns the documents with blocks or commands, in the order in which a reader meets them."""
    plugins = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/*/README.md"))
    return ["README.md", GUIDE, *plugins, "CONTRIBUTING.md"]


def experiments() -> list[Path]:
    """Returns the experiment files that come along."""
    return [path for path in sorted(ROOT.glob("plugins/*/**/*.yaml")) if path.name != "criteria.yaml"]


def read(document: str) -> str:
    """Returns the text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """Returns the blocks of a document, in its order."""
    return [Block(language, text, name) for name, language, text in _BLOCK.findall(read(document))]


def words(command: str, folder: Path | None = None) -> list[str]:
    """Returns the words of a command, as bash makes them: without comments and quotes, with braces unfolded."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


def said(document: str) -> Iterator[list[str]]:
    """Yields the words of each `sensorium` command of a document, in blocks and between the lines."""
    lines = [line for block in blocks(document) if block.language == "sh" for line in block.commands()]
    spans = [" ".join(span.split()) for span in _SPAN.findall(read(document))]
    for line in [*lines, *spans]:
        for part in re.split(r" [&|>]+ ?", line):
            if part.startswith("sensorium "):
                yield shlex.split(part, comments=True)


def unknown(words: list[str], command: Any) -> list[str]:
    """Returns the commands and options among the words that the command line does not have."""
    wrong: list[str] = []
    rest = words[1:]
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        if name.startswith("-"):
            return [*wrong, *_unknown_options([name], command)]
        if name not in command.commands:
            return [*wrong, name]
        command = command.commands[name]
    until = rest.index("--") if "--" in rest else len(rest)
    return [*wrong, *_unknown_options(rest[:until], command)]


def _unknown_options(words: list[str], command: Any) -> list[str]:
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
