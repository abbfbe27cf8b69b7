"""Text: strings to token ids, with a vocabulary that is learnt from the training split or a model's own, and back.

Shapes: B samples, T tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence

from sensorium import MediaError, Modality, Padded, UserError
from sensorium.builtin import pretrained
from sensorium.builtin.values import HALF, clean, shown

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)
BYTES = 256
BYTES_EACH = 300
"""Memory that a character takes while a text is cut."""
_LETTER = r"\w\u200c\u200d"  # the two join letters; the \w of the library lacks them
WORD = rf"[{_LETTER}]+(?:['\u2019-][{_LETTER}]+)*|[^{_LETTER}\s]+"
"""A word, an apostrophe or hyphen within it included, so that `a man's t-shirt` comes back as it was; or signs."""


class Text(Modality):
    """Text as words, or as byte pairs that can spell any string."""

    form = "tokens"
    media_type = "text/plain"
    learns = True
    limits = ("max_characters",)

    class Config(Modality.Config):
        """How text is cut into tokens."""

        tokenizer: Literal["words", "bpe"] = "words"
        """`words` knows the words (`man's` and `t-shirt` are one each) and signs of the training split, others
        become <unk>; `bpe` merges frequent pairs of bytes (Sennrich et al., ACL 2016) and loses nothing."""

        vocabulary_size: int = 8192
        """Largest number of ids; the four of <pad>, <bos>, <eos>, <unk> and the 256 bytes of `bpe` count."""

        max_length: int = 64
        """Largest number of tokens of a text, those of begin and end included; the rest is cut off."""

        max_characters: int = 1_000_000
        """Characters above which a text is refused before it is cut; each takes about 300 bytes then."""

        lowercase: bool = False
        """Takes capital letters for small ones."""

        pretrained: str | None = None
        """A folder with the tokenizer of a published model, or its name on the Hugging Face Hub: ids, signs of begin
        and end, and what pads are its own, in place of all options but the two lengths. As there, a sign such as
        [SEP] within a text is the sign. It is kept with the model."""

        def __post_init__(self) -> None:
            least = len(SPECIAL) + (BYTES if self.tokenizer == "bpe" else 1)
            if self.vocabulary_size < least:
                raise ValueError(f"vocabulary_size is at least {least} for {self.tokenizer}.")
            if self.max_length < 3:
                raise ValueError("max_length is at least 3: <bos>, one token, <eos>.")
            if self.max_characters < 1:
                raise ValueError("max_characters is at least 1.")

    config: Text.Config

    def __init__(self, config: Text.Config) -> None:
        super().__init__(config)
        self.shape = (config.max_length,)
        self.pad, self.start, self.end = PAD, BOS, EOS
        self._learnt: Tokenizer | None = None
        self._stored: dict[str, Any] = {}

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that was learnt or restored."""
        if self._learnt is None:
            raise UserError(
                "The text modality has no vocabulary yet.",
                "It is learnt from the training split, or restored with a checkpoint.",
                "Call fit or restore first.",
            )
        return self._learnt

    def decode(self, raw: Any) -> str:
        """Returns the string by the rule of all values: in NFC, without byte order mark and white space around it.

        So it is the same from a file of the training, on the command line, and over HTTP.

        Raises:
            MediaError: It is none, is empty or too long, or holds half a surrogate pair.
        """
        if not isinstance(raw, str):
            raise MediaError(f"{shown(raw)} is not a text.", "A string was expected.")
        if len(raw) > self.config.max_characters:
            raise MediaError(
                f"The text has {len(raw)} characters.",
                f"At most {self.config.max_characters} were expected.",
                "Cut it, or raise max_characters.",
            )
        if HALF.search(raw):
            raise MediaError(f"{shown(raw)} holds half a surrogate pair.", "Text in Unicode was expected.")
        if not (text := clean(raw)):
            raise MediaError("The text is empty.", "A word at least was expected.")
        return text

    def cost(self, raw: Any) -> int:
        """Returns the bytes that cutting it into tokens takes."""
        return BYTES_EACH * min(len(raw), self.config.max_characters) if isinstance(raw, str) else 0

    def transform(self, value: str, random: Generator | None) -> Tensor:
        """Returns the ids (T,) int64: <bos>, at most `max_length` - 2 tokens, <eos>; or what a model's own gives."""
        if self._stored:
            return torch.tensor(self.tokenizer.encode(value).ids or [self.pad])
        ids = self.tokenizer.encode(value).ids[: self.config.max_length - 2]
        return torch.tensor([BOS, *ids, EOS])

    def collate(self, values: Sequence[Tensor]) -> Padded:
        """Returns the ids (B, T), with <pad> after the end of each text, whichever side a model's own pads."""
        lengths = torch.tensor([len(value) for value in values])
        data = pad_sequence(list(values), batch_first=True, padding_value=self.pad)
        return Padded(data, torch.arange(data.shape[1]) < lengths[:, None])

    def encode(self, value: Tensor) -> str:
        """Returns the string that ids (T,) stand for, up to the first <eos>; a model's own signs are left out."""
        ids = value.tolist()
        if self._stored:
            own: str = self.tokenizer.decode(ids, skip_special_tokens=True)
            return own
        end = ids.index(EOS) if EOS in ids else len(ids)
        text: str = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        return text

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns the steps from a string to ids, with the tokenizer."""
        own = [
            {"step": "cut", "tokens": self.config.max_length - 2, "about": "At most so many ids."},
            {"step": "surround", "before": self.start, "after": self.end},
        ]
        return [
            {"step": "clean", "about": "Unicode NFC, without byte order mark and white space around it."},
            {
                "step": "tokenize",
                "tokenizer": json.loads(self.tokenizer.to_str()),
                "encode_special_tokens": self.tokenizer.encode_special_tokens,
                "add_special_tokens": bool(self._stored),
                "about": "For tokenizers.Tokenizer.from_str, whose attribute the first is; encode takes the second.",
            },
            *([] if self._stored else own),
            {"step": "pad", "value": self.pad, "about": "To the longest text; the mask is true where an id is real."},
        ]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns the steps from ids to a string."""
        return [
            *([] if self._stored else [{"step": "cut", "at": self.end, "about": "From the first id of the end on."}]),
            {
                "step": "detokenize",
                "tokenizer": json.loads(self.tokenizer.to_str()),
                "about": "For tokenizers.Tokenizer.from_str; special tokens are left out.",
            },
        ]

    def example(self, random: Generator) -> str:
        """Returns up to eight words of the vocabulary."""
        signs = {token.content for token in self.tokenizer.get_added_tokens_decoder().values() if token.special}
        words = sorted(set(self.tokenizer.get_vocab()) - signs)
        count = int(torch.randint(1, 9, (), generator=random))
        chosen = torch.randint(len(words), (count,), generator=random).tolist()
        text: str = self.tokenizer.decode([self.tokenizer.get_vocab()[words[index]] for index in chosen])
        return clean(text) or words[0]

    def json_schema(self) -> dict[str, Any]:
        """Returns that it is a string."""
        return {"type": "string"}

    def fit(self, values: Iterable[Any]) -> None:
        """Learns the vocabulary, or takes a model's own. It does not depend on the order of the values.

        Raises:
            UserError: There is no text, or no tokenizer where one was named.
        """
        if self.config.pretrained is not None:
            self.restore(pretrained.tokenizer(self.config.pretrained))
            return
        texts = [self.decode(value) for value in values]
        if not texts:
            raise UserError("There is no text to learn a vocabulary from.", "The training split is empty.")
        options: dict[str, Any] = {
            "vocab_size": self.config.vocabulary_size,
            "special_tokens": list(SPECIAL),
            "show_progress": False,
        }
        if self.config.tokenizer == "bpe":
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            trainer: Any = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
        else:
            tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[UNK]))
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
            trainer = trainers.WordLevelTrainer(**options)
        if self.config.lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.train_from_iterator(texts, trainer)
        self._use(tokenizer)

    def state(self) -> dict[str, Any]:
        """Returns the tokenizer as its own JSON, and how a model's own is used."""
        return self._stored or {"tokenizer": self.tokenizer.to_str()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        tokenizer = Tokenizer.from_str(state["tokenizer"])
        if len(state) == 1:
            self._use(tokenizer)
            return
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.config.max_length, direction=state["truncation_side"])
        tokenizer.encode_special_tokens = state["split_special_tokens"]
        pad = tokenizer.token_to_id(state["pad"]) if state["pad"] else None
        self.pad = PAD if pad is None else pad
        self._stored, self._learnt, self.vocabulary = state, tokenizer, max(tokenizer.get_vocab().values()) + 1

    def _use(self, tokenizer: Tokenizer) -> None:
        # Somebody's "<eos>" in a text is five letters, not the end. The JSON does not keep this switch.
        tokenizer.encode_special_tokens = True
        self._learnt, self.vocabulary = tokenizer, tokenizer.get_vocab_size()
