"""Corpora: plain text, and Wikipedia's dumps, as sentences. What is read stays in memory."""

from __future__ import annotations

import bz2
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from sensorium import Dataset, Sample, Split, UserError, expanded

END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
"""Where a sentence ends."""
NESTED = (re.compile(r"\{\{[^{}]*\}\}"), re.compile(r"\{\|(?:(?!\{\|).)*?\|\}", re.DOTALL))
"""Templates, and tables, that hold no other ones."""
DROPPED = re.compile(
    r"<!--.*?-->|<(ref|math|gallery|source|pre|nowiki)\b[^<>]*?(?:/>|>.*?</\1>)|<[^<>]*>"
    r"|\[\[(?:File|Image|Category):[^\[\]]*(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]|(?<!\[)https?://\S+|^[=*#:;|!][^\n]*$|__\w+__|'{2,}",
    re.DOTALL | re.MULTILINE,
)
"""What is not running text: comments, notes, formulas, tags, pictures, addresses, headings, lists, signs for bold."""
LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]|\[\S+ ?([^\[\]]*)\]")
"""A link, of which the words that are shown stay."""
DEPTH = 20
"""How deep templates are looked for within one another."""


class Corpus(Dataset):
    """Sentences to learn from."""

    fields: ClassVar[dict[str, str]] = {"text": "text"}
    splits = ("train",)
    ending: ClassVar[tuple[str, ...]] = (".txt",)

    class Config(Dataset.Config):
        """Where the text lies."""

        root: str
        """A file, or a folder of files."""

    config: Config

    def open(self, split: str) -> Split:
        """Returns the only split.

        Raises:
            UserError: There is nothing to read.
        """
        root = Path(expanded(self.config.root))
        files = sorted(path for path in root.rglob("*") if path.name.endswith(self.ending)) if root.is_dir() else [root]
        found = [each for path in files if path.is_file() for each in self.sentences(path)]
        if not found:
            raise UserError(
                f"There is no text in {root}.",
                f"A file was expected, or a folder of files whose names end in {', '.join(self.ending)}.",
                "Set dataset.root.",
            )
        return Spoken(found)

    def sentences(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yields place and text of each sentence of a file."""
        raise NotImplementedError


class Spoken:
    """Sentences by number."""

    def __init__(self, sentences: Sequence[tuple[str, str]]) -> None:
        self.sentences = sentences

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"id": str(index), "text": self.sentences[index][1]}

    def place(self, index: int) -> str:
        """Returns file and line."""
        return self.sentences[index][0]


class PlainText(Corpus):
    """Text files in UTF-8; a sentence ends with its sign or its line."""

    ending = (".txt", ".cor")

    def sentences(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yields place and text of each sentence of a file.

        Raises:
            UserError: It is not UTF-8.
        """
        try:
            with path.open(encoding="utf-8-sig") as file:
                for number, line in enumerate(file, 1):
                    yield from ((f"{path}:{number}", text) for text in _cut(line))
        except UnicodeDecodeError as cause:
            raise UserError(f"{path} is not UTF-8.", "Plain text in UTF-8 was expected.", "Convert it.") from cause


class Wikipedia(Corpus):
    """The articles of a dump of MediaWiki, `pages-articles*.xml.bz2` or unpacked, without their markup."""

    ending = (".bz2", ".xml")

    def sentences(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yields article and text of each sentence of a file.

        Raises:
            UserError: It cannot be unpacked, or is not UTF-8.
        """
        try:
            for title, text in _articles(path):
                yield from ((f"{path}, {title!r}", each) for each in _cut(plain(text)))
        except (OSError, EOFError, UnicodeDecodeError) as cause:
            raise UserError(
                f"{path} cannot be read ({cause}).", "A dump of MediaWiki was expected.", "Fetch it again."
            ) from cause


def _articles(path: Path) -> Iterator[tuple[str, str]]:
    """Yields title and text of each article. It is read line by line, not as XML: nothing in it is looked up."""
    title, text = "", ""
    within = False
    with bz2.open(path, "rt", encoding="utf-8") if path.suffix == ".bz2" else path.open(encoding="utf-8") as file:
        for line in file:
            if found := re.search(r"<title>(.*)</title>", line):
                title = html.unescape(found[1])
            if begun := re.search(r"<text\b[^>]*>", line):
                within, text, line = True, "", line[begun.end() :]
            if within:
                part, end, _ = line.partition("</text>")
                text += part
                if end:
                    within = False
                    if not text.startswith("#REDIRECT"):
                        yield title, html.unescape(text)


def plain(markup: str) -> str:
    """Returns the running text of an article."""
    text = re.sub(r"<(ref|math)\b[^<>]*?(?:/>|>.*?</\1>)", " ", markup, flags=re.DOTALL)
    for pattern in NESTED:
        for _ in range(DEPTH):
            text, found = pattern.subn(" ", text)
            if not found:
                break
    text = DROPPED.sub(" ", text)
    return html.unescape(LINK.sub(lambda link: link[1] or link[2] or "", text))


def _cut(text: str) -> Iterator[str]:
    """Yields the sentences of a text, of which each has a letter."""
    for sentence in END.split(text):
        words = " ".join(sentence.split())
        if any(map(str.isalpha, words)):
            yield words
