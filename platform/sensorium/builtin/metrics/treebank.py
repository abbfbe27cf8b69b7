"""Cuts sentences into words as the reference scorer of captions does before it compares them.

That is the tokeniser of the Penn Treebank in small letters, without punctuation (M. Marcus et al., Computational
Linguistics 1993; X. Chen et al., Microsoft COCO Captions, 2015, section 4): `don't` becomes `do n't`, brackets
become `-lrb-` and `-rrb-`, `t-shirt` stays one word, and so does `1 1/2`, with a space in it that does not break.
"""

from __future__ import annotations

import re

PUNCTUATION = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)
"""What the reference scorer leaves out. Its brackets are capital letters and the words small ones: they stay."""

_ENTITIES = {"amp": "&", "lt": " < ", "gt": " > ", "quot": '"', "apos": "'", "nbsp": "  ", "mdash": "--", "ndash": "--"}
_ENTITY = re.compile(f"&({'|'.join(_ENTITIES)});")
_UNKNOWN = re.compile(
    "[\u200b-\u200f\u2012\u202a-\u202e\u2060-\u206f\u20a5-\u20ab\u20ad-\u20c0\ufe0f\ufeff\U00010000-\U0010ffff]"
)
"""Emoji, characters without width, most currencies, which the reference scorer drops."""
_NAMED = {
    **{"[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "¢": "cents", "£": "#", "€": "$"},
    **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"},
    **{f"\u2019{end}": f"'{end}" for end in ("s", "m", "d", "re", "ve", "ll")},
    **dict.fromkeys('"\u201c\u201d«»', "''") | dict.fromkeys("\u2018\u2019\u2039\u203a", "'"),  # quotes
    **dict.fromkeys("\u2010\u2013\u2014\u2015", "--") | {"\u2026": "..."},  # dashes, three dots
}
_SPLIT = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "wanna": ("wan", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "gimme": ("gim", "me"),
}
_SHORT = (
    "mrs?|ms|drs?|profs?|ste?|[js]r|gen|sens?|reps?|govs?|lt|col|sgt|capt|rev|hon|maj|pres|pvt|messrs|supt|asst|atty"
    "|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu|thurs|fri|al|cf|etc|vs|adj|adv|dept|univ|bldg|est"
    r"|inc|cos?|corp|ltd|bros|assn|intl|natl|elec|ext|tel|ft|mt|ct|rt|sq|ave|blvd|rd|mo|ph\.d|esq|insp|treas"
    "|ala|ariz|calif|colo|conn|fla|ga|ind|kans?|ky|md|mich|minn|mont|neb|nev|okla|penn|tenn|va|vt|wisc?|wyo"
)
"""Words that keep the full stop that shortens them."""
_OPENING = (
    "A|About|After|An|As|At|But|He|Her|Here|However|If|In|It|Last|Many|More|Now|Once|One|Other|Our|She|Since|So|Some"
    "|Such|That|The|Their|Then|There|These|They|This|We|What|When|While|Yet|You"
)
"""Words before which the full stop of a single letter ends a sentence."""

_L = r"(?:[^\W\d_¹²³¼-¾⁰-₉⅐-⅟]|[\u0300-\u036f])"  # a letter, or the accent of one
_W = rf"(?:{_L}|\d)"  # or a digit
_Q = r"['\u2019]"
_PART = rf"{_W}+(?:_{_W}+)*"
_SIDE = r"[a-zA-Z\d]+(?:-[a-zA-Z]+){0,2}"  # of a slash
_PAGE, _END = r"[^\s\"<>|(){}]", r"[^\s\"<>|(){}.!?,;:'-]"  # of addresses of pages: inside, and last
_MAIL = r"[^\s\"<>|()@]"
_TOKENS = [
    re.compile(pattern)
    for pattern in (
        r"\S",
        r"\*+|\\\*|\.{3,}|-{2,}|[!?]{2,}|#+|_+|@+|<<|>>|``|''",
        rf"(?:(?i:https?)://{_PAGE}+[.:]|(?:[\w-]+\.)+(?:com|net|org|edu)/{_PAGE}){_PAGE}*{_END}",
        rf"{_MAIL}{{1,64}}@(?!\.){_MAIL}+(?<!\.)|@[a-zA-Z_]\w*",
        r"</?[a-zA-Z][^\s<>]*(?:\s+[\w:-]+(?:=\"[^\"<>]*\")?)*\s*/?>",
        r"[<>]?[:;=][-o*']?[()dDpPO\\{@|[\]](?![a-zA-Z\d])",  # smileys
        rf"{_L}{_W}*(?:[.!?]{_L}{_W}*)*",  # also `bird.the`, where a space was forgotten
        rf"{_PART}(?:(?:[.,]{_W}+){{0,3}}[.,]?(?:[-\u2010]{_PART})+)?",
        rf"{_SIDE}(?:/{_SIDE}){{1,2}}",
        rf"[A-Z]+(?:&[A-Z]+)+|[A-Z]+\$|[cC]\+\+|[cCfF]#|#{_L}+|&#\d+;",
        rf"[dloDLO]{_Q}{_W}{{2,}}(?:-{_PART})*|[dljyDLJY]{_Q}(?={_L})",
        rf"[A-HJ-XZn]{_Q}(?!(?:ll|re|ve)\b){_L}{{2,}}|(?i:{_L}+[aeiouy]{_Q}[aeiou]{_L}*)",  # `G'day`, `ma'am`
        rf"(?i:c'mon|cap'n|e'er|ev'ry|li'l|nat'l|n{_Q}t|ol'|s'mores)",
        r"[-+]?[.,:]?\d+(?:[.,:]\d+)*",
        r"(?:\d{1,4}[- \u00a0])?\d{1,4}[/\u2044]\d{1,4}",  # `1 1/2`
        r"(?:\(\d{2,3}\) ?|\d{2,4}[- ])\d{3,4}[- ]\d{3,5}",  # telephones
        rf"(?:[a-zA-Z]\.){{2,}}(?!{_L})|[a-zA-Z]\.(?!{_L}|\s+(?:{_OPENING})(?!\S))",
        rf"(?i:{_SHORT})\.(?!{_L})|(?:Ark|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash)\.",
        rf"(?i:nos?|art|figs?|pp?|op|ca)\.(?= ?\d)|{_W}+\.(?=[,;:])",
        rf"(?i:{_Q}(?:em|till?|cause)|'(?:s|m|d|re|ve|ll|n)(?!{_L})|\u2019(?:s|m|d|re|ve|ll|n)|'t(?=is\b|was\b))",
        rf"{_Q}[nN]{_Q}|{_Q}\d\d(?:s\b|(?!\S))",
    )
]
"""What may begin at a place in a sentence; the longest is taken."""
_NOT = re.compile(rf"{_Q}([tT]{_L}*)")
"""What takes its `n` from the word before it."""


def words(sentence: str) -> list[str]:
    """Returns the words that are compared.

    A space within one does not break. ROUGE-L of the reference scorer keeps such a word whole, BLEU and CIDEr-D cut it.
    """
    found: list[str] = []
    rest = _ENTITY.sub(lambda match: _ENTITIES[match[1]], sentence).replace("\u00ad", "")
    rest, place = _UNKNOWN.sub(" ", rest), 0
    while place < len(rest):
        matches = [match.group() for pattern in _TOKENS if (match := pattern.match(rest, place))]
        longest = max(matches, key=len, default="")
        place += max(1, len(longest))
        token = longest.lower()
        if len(token) > 1 and token[-1] == "n" and token.isalpha() and (end := _NOT.match(rest, place)):
            found += [token[:-1], f"n'{end[1].lower()}"]
            place += len(end[0])
        elif token:
            token = re.sub(r"\s", "\u00a0", token.replace("(", "-lrb-").replace(")", "-rrb-"))
            found += _SPLIT.get(token, (_NAMED.get(token, token),))
    return [word for word in found if word not in PUNCTUATION and set(word) not in ({"-"}, {"."})]
