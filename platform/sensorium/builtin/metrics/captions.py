"""How near sentences come to those that people wrote: BLEU, ROUGE-L and CIDEr-D.

The metrics are those of the reference scorer of COCO (X. Chen et al., Microsoft COCO Captions, 2015,
arXiv:1504.00325), its cutting into words included. METEOR is left out: its definition is a Java program.

Rows that are read: `generated`, a list of N strings, `references`, a list of N lists of strings, and, where the task
gives it, `picture`, a list of N strings, equal for samples of one picture. Readers that give a sample for each caption
show a picture several times; it counts once, as in the reference scorer.

Shapes: N samples, in what follows pictures; k = 1 to 4 words of an n-gram.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from sensorium import Metric, Rows, UserError
from sensorium.builtin.metrics.absent import absent
from sensorium.builtin.metrics.treebank import words

LONGEST = 4
"""Words of the longest n-gram."""
BETA = 1.2
"""Weight of recall in ROUGE-L."""
TINY, SMALL = 1e-15, 1e-9
"""What the reference scorer adds to the counts above and below the fractions of BLEU."""
SIGMA = 6.0
"""Deviation, in words, of the penalty of CIDEr-D for another length."""

Grams = Counter[tuple[str, ...]]


class Captions(Metric):
    """BLEU-1 to 4, ROUGE-L and CIDEr-D of the sentences of a whole split."""

    needs = ("generated", "references")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `bleu_1` to `bleu_4` and `rouge_l` (fractions of 1) and `cider_d` (from 0 to 10).

        Raises:
            UserError: The task gives no sentences.
        """
        if any(name not in rows for name in self.needs):
            raise absent("captions", " and ".join(self.needs), rows)
        for place, right in enumerate(rows["references"]):
            if isinstance(right, str) or not right:
                sample = rows["id"][place] if "id" in rows else place
                raise UserError(
                    f"The metric 'captions' has no references for the sample {sample!r}, but {right!r}.",
                    "A list with one sentence at least was expected.",
                )
        told = pictures(rows)
        said = [words(each) for each, _ in told]
        right = [[words(each) for each in some] for _, some in told]
        rouge = [rouge_l(one, some) for one, some in zip(said, right, strict=True)]
        # The reference scorer's BLEU and CIDEr-D cut `1 1/2` in two, its ROUGE-L does not.
        said, right = [_cut(one) for one in said], [[_cut(each) for each in some] for some in right]
        metrics = {f"bleu_{k}": value for k, value in enumerate(bleu(said, right), 1)}
        cider = cider_d(said, right)
        return {**metrics, "rouge_l": sum(rouge) / len(rouge), "cider_d": sum(cider) / len(cider)}


def _cut(sentence: Sequence[str]) -> list[str]:
    return [part for word in sentence for part in word.split()]


def pictures(rows: Rows) -> list[tuple[str, list[str]]]:
    """Returns for each picture what was said of its first sample, and the references of all its samples."""
    found: dict[str, tuple[str, list[str]]] = {}
    names = rows.get("picture", map(str, range(len(rows["generated"]))))
    for name, said, right in zip(names, rows["generated"], rows["references"], strict=True):
        known = found.setdefault(name, (said, []))[1]
        known += [each for each in right if each not in known]
    return list(found.values())


def bleu(said: Sequence[Sequence[str]], right: Sequence[Sequence[Sequence[str]]]) -> list[float]:
    """Returns BLEU-1 to 4 of a corpus (Papineni et al., ACL 2002).

    The reference that is nearest in length counts, of two the shorter.

    Args:
        said: Words of N sentences.
        right: Words of the references of each.
    """
    found, made = [0] * LONGEST, [0] * LONGEST
    length = wanted = 0
    for one, some in zip(said, right, strict=True):
        most: Grams = Counter()
        for reference in some:
            most |= grams(reference)
        for gram, count in grams(one).items():
            found[len(gram) - 1] += min(count, most[gram])
            made[len(gram) - 1] += count
        length += len(one)
        wanted += min((abs(len(each) - len(one)), len(each)) for each in some)[1]
    ratio = (length + TINY) / (wanted + SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    values, product = [], 1.0
    for k in range(LONGEST):
        product *= (found[k] + TINY) / (made[k] + SMALL)
        values.append(penalty * product ** (1 / (k + 1)))
    return values


def rouge_l(said: Sequence[str], right: Sequence[Sequence[str]]) -> float:
    """Returns ROUGE-L of one sentence (Lin, 2004), from the best precision and the best recall over its references."""
    common = [longest_common(said, each) for each in right]
    precision = max(common) / max(1, len(said))
    recall = max(count / max(1, len(each)) for count, each in zip(common, right, strict=True))
    if not precision:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns the length of the longest sequence of words that both have in this order, gaps allowed."""
    best = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for place, other in enumerate(b, 1):
            before, best[place] = best[place], before + 1 if word == other else max(best[place], best[place - 1])
    return best[-1]


def cider_d(said: Sequence[Sequence[str]], right: Sequence[Sequence[Sequence[str]]]) -> list[float]:
    """Returns CIDEr-D of each of N sentences (Vedantam et al., CVPR 2015, section 5).

    How rare an n-gram is follows from the references of all N.
    """
    documents = Counter(gram for some in right for gram in set().union(*(grams(each) for each in some)))
    rarity = {gram: math.log(len(said)) - math.log(count) for gram, count in documents.items()}
    unseen = math.log(len(said))
    scores = []
    for one, some in zip(said, right, strict=True):
        mine = _Weighted(one, rarity, unseen)
        scores.append(10 * sum(mine.likeness(_Weighted(each, rarity, unseen)) for each in some) / len(some))
    return scores


def grams(sentence: Sequence[str]) -> Grams:
    """Returns how often each n-gram of up to `LONGEST` words occurs."""
    return Counter(
        tuple(sentence[start : start + k]) for k in range(1, LONGEST + 1) for start in range(len(sentence) - k + 1)
    )


class _Weighted:
    """The n-grams of a sentence, each weighted by its count and its rarity."""

    def __init__(self, sentence: Sequence[str], rarity: dict[tuple[str, ...], float], unseen: float) -> None:
        self.weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(LONGEST)]
        for gram, count in grams(sentence).items():
            self.weights[len(gram) - 1][gram] = count * rarity.get(gram, unseen)
        self.norms = [math.sqrt(sum(value**2 for value in each.values())) for each in self.weights]
        self.length = max(0, len(sentence) - 1)  # in pairs of words, as the reference scorer has it

    def likeness(self, other: _Weighted) -> float:
        """Returns the mean over the lengths of n-grams of the clipped cosine, times the penalty for another length."""
        total = 0.0
        for mine, theirs, norm in zip(
            self.weights, other.weights, map(math.prod, zip(self.norms, other.norms, strict=True)), strict=True
        ):
            if norm:
                total += (
                    sum(min(value, theirs[gram]) * theirs[gram] for gram, value in mine.items() if gram in theirs)
                    / norm
                )
        return total / LONGEST * math.exp(-((self.length - other.length) ** 2) / (2 * SIGMA**2))
