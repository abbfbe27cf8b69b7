"""What vectors of words are measured by: analogies, and the order in which people find pairs alike.

Shapes: N samples of a split.
"""

from __future__ import annotations

from sensorium import Metric, Rows
from sensorium.builtin.metrics.absent import absent
from sensorium.ops.ranking import spearman


class AnalogyAccuracy(Metric):
    """Share of the analogies that are right, of those whose four words are known (Mikolov et al. 2013a, 4.1).

    Rows: for each kind of vectors `right.<kind>` (N,), 1 where the answer is right; `asked` (N,), 1 where all words
    are known.
    """

    needs = ("asked",)

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `<kind>_analogies` for each kind of vectors, and `asked`, the share of questions that count.

        Nothing for a split without analogies; accuracies are not a number where no question counts.
        """
        kinds = [name for name in rows if name.startswith("right.")]
        if not kinds:
            return {}
        if "asked" not in rows:
            raise absent("analogies", "asked", rows)
        asked = rows["asked"].bool()
        right = {f"{name.partition('.')[2]}_analogies": rows[name][asked].double().mean() for name in kinds}
        return {"asked": float(asked.double().mean()), **{name: float(share) for name, share in right.items()}}


class Similarity(Metric):
    """Spearman's rank correlation of cosines with people's ratings (Finkelstein et al. 2002).

    Rows: for each kind of vectors `cosine.<kind>` (N,); `rating` (N,); `known` (N,), 1 where both words are.
    """

    needs = ("rating", "known")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `<kind>_spearman` for each kind of vectors, and `rated`, the share of pairs that count.

        Nothing for a split without ratings; correlations are 0 where fewer than two pairs count.
        """
        kinds = [name for name in rows if name.startswith("cosine.")]
        if not kinds:
            return {}
        if not set(self.needs) <= set(rows):
            raise absent("similarity", ", ".join(self.needs), rows)
        known = rows["known"].bool()
        ratings = rows["rating"][known]
        alike = {f"{name.partition('.')[2]}_spearman": spearman(rows[name][known], ratings) for name in kinds}
        return {"rated": float(known.double().mean()), **alike}
