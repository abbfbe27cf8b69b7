"""Cuts sentences into words as the reference scorer of captions does before it compares them.

That is the tokeniser of the Penn Treebank in small letters, without punctuation (M. Marcus et al., Computational
Linguistics 1993; X. Chen et al., Microsoft COCO Captions, 2015, section 4): `don't` becomes `do n't`, brackets
become `-lrb-` and `-rrb-`, and `t-shirt` stays one word.
"""

from __future__ import annotations

import re

PUNCTUATION = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)
"""What the reference scorer leaves out. Its brackets are capital letters and the words small ones: they stay."""

_LIKE = str.maketrans(  # curly quotes, dashes, three dots
    {
        "\u2019": "'",
        "\u2018": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "--",
        "\u2014": "--",
        "\u2026": "...",
        "£": "#",
        "€": "$",
        "¼": "1/4",
        "½": "1/2",
        "¾": "3/4",
    }
)
_NAMED = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "¢": "cents", '"': "''"}
_SPLIT = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "wanna": ("wan", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "gimme": ("gim", "me"),
}
_SHORT = (
    "mr|mrs|ms|dr|drs|prof|st|jr|sr|gen|sen|rep|gov|lt|col|sgt|capt|rev|hon|maj|pres|messrs|ft|mt"
    "|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|etc|vs|inc|co|corp|ltd|bros|ave|blvd|rd|approx|est"
)
"""Words that keep the full stop that shortens them."""
_UNKNOWN = re.compile("[\ufe0f\U00010000-\U0010ffff]")
"""Emoji, which the reference scorer drops."""
_LETTER = r"[^\W\d_]"
_PART = r"(?:[^\W_]|[&@_](?=[^\W_]))+"

_TOKENS = [
    re.compile(pattern)
    for pattern in (
        r"\S",
        r"\*+|\.\.+|-{2,}|!{2,}|\?{2,}|[!?]{2,}|``|''",
        r"https?://[^\s\"<>|()]*[^\s\"<>|.!?,;:()'-]",
        r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
        r"</?[a-z][^\s<>]*>",
        rf"{_LETTER}[^\W_]*(?:[.!?]{_LETTER}[^\W_]*)*",  # also `bird.the`, where a space was forgotten
        rf"{_PART}(?:-{_PART})*(?:/{_PART}(?:-{_PART})*){{0,2}}",
        rf"[dlo]'{_PART}(?:-{_PART})*",
        r"[-+]?\d+(?:[.,:]\d+)*|[-+]?\.\d+",
        r"\d{1,2}:\d\d(?=[ap]m\b)",
        rf"(?:{_LETTER}\.)+(?!\w)|(?:{_SHORT})\.(?!\w)|no\.(?=\s*\d)",
        r"'n'(?!\w)|'(?:s|m|d|re|ve|ll|em|n|til|till|cause|\d\ds)\b|'t(?=is\b|was\b)|[yd]'(?=all\b|ye\b)",
    )
]
"""What may begin at a place in a sentence; the longest is taken."""


def words(sentence: str) -> list[str]:
    """Returns the words that are compared."""
    found: list[str] = []
    rest, place = _UNKNOWN.sub(" ", sentence.translate(_LIKE).lower()), 0
    while place < len(rest):
        matches = [match.group() for pattern in _TOKENS if (match := pattern.match(rest, place))]
        token = max(matches, key=len, default="")
        place += max(1, len(token))
        if token.endswith("n") and len(token) > 1 and re.match(r"'t\b", rest[place:]):
            found += [token[:-1], "n't"]
            place += 2
        elif token:
            found += _SPLIT.get(token, (_NAMED.get(token, "..." if set(token) == {"."} else token),))
    return [word for word in found if word not in PUNCTUATION and set(word) != {"-"}]
