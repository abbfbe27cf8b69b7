"""The modality `clip_text`: text as the 49,408 byte pairs that CLIP was trained on.

Shapes: T tokens.
"""

from __future__ import annotations

import gzip
import html
import importlib.util
import unicodedata
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Generator, Tensor

from sensorium import Modality, UserError, expanded
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.values import clean
from sensorium_clip.published import TOKENIZERS, Published

PACKAGE = "open_clip"
"""The package that the vocabulary comes with, and what stands for it."""
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = ("a", "photo", "of", "two", "red", "dogs", "on", "the", "grass", "beside", "blue", "house", "painting", "cat")
"""Out of which examples are made."""
MERGES = 49_152 - 256 - 2
"""Pairs of the published file that are used; it lists more."""
LAST = "</w>"
"""What the last piece of a word ends in."""
PIECE = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What is cut before pairs are joined: English endings, words, single digits, runs of signs."""
_DROPPED = [*range(9), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
_JOINED = [*range(0xFB00, 0xFB07), 0x0132, 0x0133, *range(0x01C4, 0x01CD), *range(0x01F1, 0x01F4)]
_AS_TYPED: dict[str, str | None] = {
    **dict.fromkeys(map(chr, [0x02BC, *range(0x2018, 0x201C)]), "'"),
    **dict.fromkeys(map(chr, range(0x201C, 0x2020)), '"'),
    **{chr(code): unicodedata.normalize("NFKC", chr(code)) for code in (0x3000, *range(0xFF01, 0xFFF0), *_JOINED)},
    **dict.fromkeys(map(chr, _DROPPED)),
}
TYPED = str.maketrans(_AS_TYPED)
"""Curly quotes, characters of full and half width and ligatures -> as they are typed; control characters -> nothing."""


class BytePairs(Text):
    """Text as CLIP reads it: cleaned, in small letters, cut into byte pairs (Radford et al. 2021, section 2.4).

    The vocabulary is read before the training and lies in every checkpoint. Ids are those of open_clip's tokenizer, but
    for text that was decoded wrongly, which is not repaired, and for an end token that is written out, which is text.
    """

    class Config(Modality.Config):
        """Which vocabulary, and how much of a text is read."""

        pretrained: str = PACKAGE
        """Where the vocabulary lies: a folder or `hf-hub:OWNER/NAME` with tokenizer.json or
        bpe_simple_vocab_16e6.txt.gz, or such a file; `open_clip` is the package. One beside the encoder's weights is
        taken unless the experiment says otherwise."""

        max_length: int = 77
        """Largest number of tokens of a text, start and end included; the rest is cut off."""

        max_characters: int = 1_000_000
        """Characters above which a text is refused before it is cut; each takes about 300 bytes then."""

        def __post_init__(self) -> None:
            if self.max_length < 3:
                raise ValueError("max_length is at least 3: the start, one token, the end.")
            if self.max_characters < 1:
                raise ValueError("max_characters is at least 1.")

    config: Config  # type: ignore[assignment]

    def __init__(self, config: BytePairs.Config) -> None:
        super().__init__(config)  # type: ignore[arg-type]

    def transform(self, value: str, random: Generator | None) -> Tensor:
        """Returns the ids (T,) int64: the start, at most `max_length` - 2 byte pairs, the end."""
        ids = self.tokenizer.encode(typed(value), add_special_tokens=False).ids
        return torch.tensor([self.start, *ids[: self.config.max_length - 2], self.end])

    def encode(self, value: Tensor) -> str:
        """Returns the text that ids (T,) stand for, up to the first end."""
        ids = value.tolist()
        end = ids.index(self.end) if self.end in ids else len(ids)
        text: str = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        return text.replace(LAST, " ").strip()

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns the steps from a string to ids, with the tokenizer."""
        about = (
            "Unicode NFC; entities of HTML resolved, quotes and wide characters as they are typed, single spaces, small"
            " letters."
        )
        return [{"step": "clean", "about": about}, *super().preprocessing()[1:]]

    def example(self, random: Generator) -> str:
        """Returns up to eight ordinary words; the vocabulary holds others, too."""
        count = int(torch.randint(1, 9, (), generator=random))
        return " ".join(WORDS[index] for index in torch.randint(len(WORDS), (count,), generator=random).tolist())

    def fit(self, values: Iterable[Any]) -> None:
        """Reads the vocabulary, whatever the texts are.

        Raises:
            UserError: There is none, or it is another one.
        """
        path = _file(self.config.pretrained)
        try:
            self._use(Tokenizer.from_str(path.read_text("utf-8")) if path.suffix == ".json" else _of_pairs(path))
        except Exception as cause:  # tokenizers raise what they like
            raise UserError(
                f"{path} is not CLIP's vocabulary ({type(cause).__name__}: {str(cause)[:200]}).",
                f"{' or '.join(TOKENIZERS)} was expected, as open_clip's models and its package have them.",
                "Fetch it again, or set `pretrained`.",
            ) from cause

    def _use(self, tokenizer: Tokenizer) -> None:
        super()._use(tokenizer)
        self.start, self.end = (tokenizer.get_vocab()[name] for name in (START, END))


def typed(text: str) -> str:
    """Returns text as CLIP cleans it: entities of HTML resolved, `TYPED`, single spaces, small letters."""
    return " ".join(clean(html.unescape(html.unescape(text)).translate(TYPED)).split()).lower()


def _file(where: str) -> Path:
    """Returns the file with a vocabulary.

    Raises:
        UserError: There is none.
    """
    if where == PACKAGE:
        package = importlib.util.find_spec(PACKAGE)
        folders = (package and package.submodule_search_locations) or ()
        found = next((path for folder in folders if (path := Path(folder) / TOKENIZERS[1]).is_file()), None)
    else:
        path = Path(expanded(where))
        found = path if path.is_file() and path.suffix in (".json", ".gz") else Published(where).tokenizer
    if found is None:
        raise UserError(
            "The package open_clip, which has CLIP's vocabulary, is not installed."
            if where == PACKAGE
            else f"There is no vocabulary at {where}.",
            f"A folder with {' or '.join(TOKENIZERS)}, or such a file, was expected.",
            "Set `pretrained` of the modality clip_text, or pip install open_clip_torch.",
        )
    return found


def _of_pairs(path: Path) -> Tokenizer:
    """Returns the tokenizer of a list of pairs, the most frequent first, below one line of title."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        pairs = [(first, second) for first, second in (line.split() for line in islice(file, 1, 1 + MERGES))]
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]  # bytes that are written as themselves
    letters = [*map(chr, own), *map(chr, range(256, 512 - len(own)))]
    names = [*letters, *(letter + LAST for letter in letters), *map("".join, pairs), START, END]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, end_of_word_suffix=LAST))
    cut = pre_tokenizers.Split(Regex(PIECE), "removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([START, END])
    return tokenizer
