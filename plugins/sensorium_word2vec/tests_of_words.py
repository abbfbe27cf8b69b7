"""Lists that vectors of words are measured by: analogies, and pairs that people have rated."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sensorium import Dataset, Sample, Split, UserError, expanded
from sensorium.builtin.datasets.files import lines, read_text


class WordTest(Dataset):
    """A list of questions, to be evaluated on alone: a source of `union` beside a corpus."""

    splits = ("test",)

    class Config(Dataset.Config):
        """Where the list lies."""

        file: str
        """The list, in UTF-8."""

    config: Config

    def open(self, split: str) -> Split:
        """Returns the only split.

        Raises:
            UserError: The file is missing or has a line of another form.
        """
        path = Path(expanded(self.config.file))
        listed = lines(read_text(path, "list of words", "Set its `file`."))
        return Listed([(f"{path}:{number}", line) for number, line in listed], self)

    def sample(self, line: str, section: str) -> Sample:
        """Returns what a line asks.

        Raises:
            ValueError: The line has another form; says which was expected.
        """
        raise NotImplementedError


class Listed:
    """The questions of a list, in its order."""

    def __init__(self, placed: list[tuple[str, str]], test: WordTest) -> None:
        self.samples: list[tuple[str, Sample]] = []
        section = ""
        for place, line in placed:
            if line.startswith("#"):
                continue
            if line.startswith(":"):
                section = line[1:].strip()
                continue
            try:
                sample = test.sample(line, section)
            except ValueError as cause:
                raise UserError(f"{place} is {line!r:.80}.", f"{cause} was expected.", "Mend the line.") from cause
            self.samples.append((place, {"id": str(len(self.samples)), **sample}))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index][1]

    def place(self, index: int) -> str:
        """Returns file and line."""
        return self.samples[index][0]


class Analogies(WordTest):
    """Four words in a line, of which the first is to the second as the third is to the fourth.

    The layout of questions-words.txt (Mikolov et al. 2013a): a section begins with a line such as `: family`.
    """

    fields: ClassVar[dict[str, str]] = {"word": "text", "minus": "text", "plus": "text", "answer": "text"}

    def sample(self, line: str, section: str) -> Sample:
        """Returns the second word minus the first plus the third, and the answer."""
        words = line.split()
        if len(words) != 4:
            raise ValueError("Four words in a line")
        minus, word, plus, answer = words
        return {"word": word, "minus": minus, "plus": plus, "answer": answer, "section": section}


class WordPairs(WordTest):
    """Two words and how alike people find them, with tabs between.

    The layout of WordSim353 (Finkelstein et al. 2002) and SimLex-999 (Hill et al. 2015): a comment begins with `#`.
    """

    fields: ClassVar[dict[str, str]] = {"word": "text", "other": "text", "rating": "number"}

    def sample(self, line: str, section: str) -> Sample:
        """Returns both words and the rating."""
        cells = line.split("\t")
        try:
            word, other, rating = cells
            return {"word": word, "other": other, "rating": float(rating)}
        except ValueError:
            raise ValueError("Two words and a number, with tabs between,") from None
