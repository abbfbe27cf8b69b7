"""How far answers to questions agree with those of people.

Rows that are read: `said.<name>`, a list of N strings; `answers`, a list of N lists of strings; and, where there is
one, `type`, a list of N strings.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from sensorium import Metric, Rows
from sensorium.builtin.metrics.absent import absent

NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
ARTICLES = frozenset(("a", "an", "the"))
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
SIGNS = ';/[]"{}()=+\\_-><@`,?!'
"""Signs that become spaces, or nothing beside one."""


def _without_apostrophes() -> dict[str, str]:
    """Returns what lacks one apostrophe -> the word with all of them."""
    spelt = {"somebody'd": "somebodyd"}  # so the official evaluation has it
    for word in _CONTRACTIONS.split():
        for place, sign in enumerate(word):
            if sign == "'":
                spelt[word[:place] + word[place + 1 :]] = word
    return spelt


SPELT = _without_apostrophes()


def normalised(answer: str) -> str:
    """Returns an answer as the official evaluation of VQA compares it where people differ.

    It has no signs, articles and capitals. Numbers up to ten become digits, and contractions get their apostrophe back
    (visualqa.org/evaluation).
    """
    text = cleaned = _on_one_line(answer)
    thousands = re.search(r"\d,\d", text) is not None
    for sign in SIGNS:
        beside = f"{sign} " in text or f" {sign}" in text or thousands
        cleaned = cleaned.replace(sign, "" if beside else " ")
    words = re.sub(r"\.(?!\d)", "", cleaned).lower().split()
    numbered = [NUMBERS.get(word, word) for word in words]
    return " ".join(SPELT.get(word, word) for word in numbered if word not in ARTICLES)


def _on_one_line(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def agreement(said: str, answers: Sequence[str]) -> float:
    """Returns how far an answer agrees with those of several people, from 0 to 1.

    The mean, over the people, of min(n / 3, 1) with n the others who gave it (Antol et al., ICCV 2015, section 3, in
    the form of the official evaluation). With a single answer it is 1 for the same, else 0. Answers are compared
    normalised, except where several people all say the same: the official evaluation then leaves every answer as it is.
    """
    if len(answers) == 1:
        return float(normalised(said) == normalised(answers[0]))
    mine, *theirs = (_on_one_line(each) for each in (said, *answers))
    if len(set(theirs)) > 1:
        mine, *theirs = (normalised(each) for each in (mine, *theirs))
    same = theirs.count(mine)
    return sum(min((same - (each == mine)) / 3, 1.0) for each in theirs) / len(theirs)


class Answers(Metric):
    """Share of questions that are answered as people do, in all and for each type of question."""

    needs = ("said", "answers")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{name}_accuracy` and `{name}_accuracy_{type}` (fractions of 1).

        Raises:
            UserError: The task gives no answers.
        """
        names = [name.removeprefix("said.") for name in rows if name.startswith("said.")]
        if not names or "answers" not in rows:
            raise absent("answers", "said.<name> and answers", rows)
        metrics = {}
        for name in names:
            scores = [agreement(*pair) for pair in zip(rows[f"said.{name}"], rows["answers"], strict=True)]
            metrics[f"{name}_accuracy"] = sum(scores) / len(scores)
            by_type: defaultdict[str, list[float]] = defaultdict(list)
            for kind, value in zip(rows.get("type", ()), scores, strict=False):
                by_type[kind].append(value)
            metrics |= {f"{name}_accuracy_{kind}": sum(some) / len(some) for kind, some in sorted(by_type.items())}
        return metrics
