"""How well sentences tell what is said one word after another: whole, by word, and by when was listened.

Rows that are read: `generated` and `references`, and for when was listened `peaks` and `sample.spans`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sensorium import Metric, Rows, UserError


class SpokenWords(Metric):
    """Shares of sequences that are right as a whole, of words that are wrong, and of looks at the right time."""

    needs = ("generated", "references")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `exact`, `word_errors` and, where the task looks, `pointing` (fractions of 1).

        `exact` counts sentences that are word by word what was said; `word_errors` is the word error rate: words that
        are inserted, left out or others, over those that were said; `pointing` counts words of the sentences during
        whose look's peak the word is said that stands at the same place of the sequence.

        Raises:
            UserError: The task gives no sentences.
        """
        if any(name not in rows for name in self.needs):
            raise UserError(
                "The metric 'spoken_words' does not find its rows.",
                f"It reads {' and '.join(self.needs)}; the task gives {', '.join(sorted(rows)) or 'nothing'}.",
                "Choose another metric, or another task.",
            )
        pairs = [
            (said.split(), right[0].split()) for said, right in zip(rows["generated"], rows["references"], strict=True)
        ]
        errors = sum(distance(said, right) for said, right in pairs)
        metrics = {
            "exact": sum(said == right for said, right in pairs) / len(pairs),
            "word_errors": errors / max(1, sum(len(right) for _, right in pairs)),
        }
        if all(name in rows for name in ("peaks", "sample.spans")):
            looks = [hit for each in zip(rows["peaks"], rows["sample.spans"], strict=True) for hit in listened(*each)]
            metrics["pointing"] = sum(looks) / max(1, len(looks))
        return metrics


def listened(peaks: Sequence[tuple[str, float, float]], spans: Sequence[Sequence[float]]) -> list[bool]:
    """Returns for each word of a sentence whether its peak lies in the time of the word that is said at its place.

    Args:
        peaks: Each word, with the row and column of its peak, as shares of the spectrogram's sides.
        spans: Beginning and end of each word that is said, as shares of the clip.
    """
    return [
        place < len(spans) and spans[place][0] <= column <= spans[place][1]
        for place, (_, _, column) in enumerate(peaks)
    ]


def distance(said: Sequence[str], right: Sequence[str]) -> int:
    """Returns the fewest words to insert, leave out or replace that make one sentence the other (Levenshtein)."""
    before = list(range(len(right) + 1))
    for count, word in enumerate(said, 1):
        now = [count]
        for place, other in enumerate(right):
            now.append(min(before[place] + (word != other), before[place + 1] + 1, now[place] + 1))
        before = now
    return before[-1]
