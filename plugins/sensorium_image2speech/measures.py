"""What is understood of speech, how much units tell what is said and not who says it, and whether utterances differ.

Shapes: B samples of a batch, N of a split, S samples of a sound, L units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sensorium import Batch, Padded, Rows, Task
from sensorium.builtin.modalities.audio import Audio

Row = Sequence[int]
KINDS = ("understood", "resynthesised", "real")
"""What is judged: speech made of pictures, of the units of people's speech, and people's speech itself."""


NAMES = ("label", "speaker")
"""Raw fields that tell what is said, and by whom; samples may lack them."""


def named(batch: Batch) -> Rows:
    """Returns what is said and by whom, as rows `sample.<field>`, where all samples tell it."""
    there = [name for name in NAMES if all(name in sample for sample in batch.samples)]
    return {f"sample.{name}": [str(sample[name]) for sample in batch.samples] for name in there}


def found(rows: Rows) -> dict[str, float]:
    """Returns the metrics that the rows allow.

    Args:
        rows: `said` and `other`, two utterances of each picture; `true`, the units of people's speech; perhaps
            `<kind>.all` (N,), whether the judge is right, and those of `named`.
    """
    metrics = {kind: float(rows[f"{kind}.all"].double().mean()) for kind in KINDS if f"{kind}.all" in rows}
    pairs = list(zip(rows["said"], rows["other"], strict=True))
    metrics["differ"] = sum(one != other for one, other in pairs) / len(pairs)
    metrics["units_each"] = sum(map(len, rows["said"])) / len(pairs)
    if all(f"sample.{name}" in rows for name in NAMES):
        right = abx(rows["true"], *(rows[f"sample.{name}"] for name in NAMES))
        metrics |= {} if right is None else {"abx": right}
    return metrics


def read_again(audio: Audio, made: Padded) -> Any:
    """Returns sounds (B, 1, S) as they come out of WAV files."""
    data, masks = made.data.cpu(), made.mask.cpu()
    files = [audio.encode(Padded(row, mask)) for row, mask in zip(data, masks, strict=True)]
    read = audio.collate([audio.transform(audio.decode(each), None) for each in files])
    return Padded(read.data.to(made.data.device), read.mask.to(made.data.device))


def heard(judge: Task, batch: Batch, field: str, sounds: Any) -> list[str]:
    """Returns what a judge takes sounds for, the likeliest class of its first label, where a field has them."""
    answer = judge.predict(replace(batch, fields={**batch.fields, field: sounds}))
    name, label = next(iter(judge.outputs.items()))
    return [label.encode(chances.argmax()) for chances in answer[name].cpu()]


def lists(units: Padded) -> list[list[int]]:
    """Returns units (B, L) as a list for each sample."""
    return [row[real].tolist() for row, real in zip(units.data.cpu(), units.mask.cpu(), strict=True)]


def distance(one: Row, other: Row) -> float:
    """Returns the edit distance (Levenshtein 1966) of two rows of units, over the length of the longer one."""
    before = list(range(len(other) + 1))
    for place, unit in enumerate(one, 1):
        row = [place]
        for column, against in enumerate(other, 1):
            row.append(min(row[-1] + 1, before[column] + 1, before[column - 1] + (unit != against)))
        before = row
    return before[-1] / max(len(one), len(other), 1)


def abx(units: Sequence[Row], labels: Sequence[str], speakers: Sequence[str]) -> float | None:
    """Returns how often X lies nearer to A than to B: A says the same as X, B something else, both with another voice.

    T. Schatz et al., Evaluating Speech Features with the Minimal-Pair ABX Task, 2013, across speakers and with whole
    words. Each sample is X once, with the next A after it, and the next B by the speaker of A; 0.5 is chance, and None
    says that there are no three such samples. Where both lie equally far it counts as half.
    """
    count, right = len(units), []
    for x in range(count):
        after = [(x + turn) % count for turn in range(1, count)]
        a = next((n for n in after if labels[n] == labels[x] and speakers[n] != speakers[x]), None)
        if a is None:
            continue
        b = next((n for n in after if labels[n] != labels[x] and speakers[n] == speakers[a]), None)
        if b is None:
            continue
        near, far = distance(units[a], units[x]), distance(units[b], units[x])
        right.append(0.5 if near == far else float(near < far))
    return sum(right) / len(right) if right else None
