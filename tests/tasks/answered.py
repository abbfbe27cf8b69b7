"""For each task, how an answer of `predict` must follow from the rows of the evaluation on the same samples.

A new task joins with one function in ROWS_SAY, which takes the task, the rows of some samples and the answers to
them, and asserts that they agree.

Shapes: B samples, C classes, L words, P = H * W places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sensorium import Batch, Task
from sensorium.ops.audio import si_sdr
from sensorium.ops.boxes import around_highest

Check = Callable[[Task, Mapping[str, Any], Mapping[str, Any], Batch], None]


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one.float(), other.float(), rtol=1e-4, atol=1e-5)


def names(task: Task, output: str, values: Tensor) -> list[str]:
    return [task.outputs[output].encode(row) for row in values]


def clip(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    for field in ("image", "text"):
        close(answer[f"{field}_embedding"], rows[f"embedding.{field}"])
    scale = task.loss.log_scale.exp()
    close(answer["label"], (scale * rows["logits.zero_shot"]).softmax(-1))


def recipes(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    for field in ("image", "recipe"):
        close(answer[f"{field}_embedding"], rows[f"embedding.{field}"])


def recognition(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    close(answer["tags"], rows["scores.tags"].sigmoid())


def separation(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    own = torch.stack([answer[f"voice_{letter}"][:, 0] for letter in "ab"], 1)
    close(own, rows["sound"][:, 1:3])
    true = torch.stack([batch[f"voice_{letter}"].data[:, 0] for letter in "ab"], 1)
    close(si_sdr(own, true).mean(1), rows["si_sdr"])


def caption(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    assert names(task, "caption", answer["caption"]) == list(rows["generated"])


def attention(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    caption(task, rows, answer, batch)
    maps = answer["attention"].maps
    height, width = maps.shape[2:]
    for of_sample, peaks in zip(maps, rows["peaks"], strict=True):
        for look, (_, down, across) in zip(of_sample, peaks, strict=False):
            row, column = divmod(int(look.argmax()), width)
            assert (down, across) == ((row + 0.5) / height, (column + 0.5) / width)


def soundnet(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    for output, row in (("label", "pool5"), ("object", "object"), ("scene", "scene")):
        close(answer[output], rows[f"logits.{row}"].softmax(-1))


def drawn(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    close(answer["image"], rows["drawn"])


def tagging(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    close(answer["image_embedding"], rows["embedding.image"])
    close(answer["tags"], rows["scores.tags"].clamp(min=0))


def vqa(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    label = task.outputs["answer"]
    assert [label.names[best] for best in answer["answer"].argmax(1).tolist()] == list(rows["said.answer"])


def word2vec(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    close(answer["word_embedding"], rows["embedding.word"])
    nearest = [task.outputs["nearest"].names[best] for best in answer["nearest"].argmax(1).tolist()]
    right = [said == sample["answer"] for said, sample in zip(nearest, batch.samples, strict=True)]
    assert right == rows["right.learnt"].tolist()


def fused(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    close(answer["label"], rows["logits.label"].softmax(-1))


def imagebind(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    for field, output in task.embeddings.items():
        close(answer[output], rows[f"embedding.{field}"])
    close(answer["digit"], rows["logits.digit"].softmax(-1))


def speech2face(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    for name in ("audio", "image"):
        close(answer[f"{name}_embedding"], rows[f"embedding.{name}"])
    close(answer["face"], rows["face"])


def localization(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    for box, heat in zip(answer["box"].data[:, 0].tolist(), rows["heat"], strict=True):
        assert box == (around_highest(heat, float(task.threshold)) or [0.0] * 4)


def lips(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    for values, real, openings in zip(answer["mouth"].data, answer["mouth"].mask, rows["openings"], strict=True):
        close(values[:, real].T, openings)
    films = answer["video"]
    for place, dark in enumerate(rows["dark"]):
        _, landmarks = task.film(batch, place)
        close(task.darkness(films.data[place][films.mask[place]], landmarks), dark)


def image2speech(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    close(answer["spectrogram"].data[:, 0], rows["mel"])
    # The steps that find phases make a difference in the last digit larger.
    torch.testing.assert_close(answer["speech"].data[:, 0], rows["wave"], rtol=0, atol=0.02)
    assert names(task, "units", answer["units"]) == [" ".join(map(str, said)) for said in rows["said"]]


def embedded(task: Any, rows: Any, answer: Any, batch: Batch) -> None:
    close(answer["image_embedding"], rows["embedding"])


ROWS_SAY: dict[str, Check] = {
    "clip": clip,
    "dalle2": drawn,
    "fused": fused,
    "gradient_blending": fused,
    "image2speech": image2speech,
    "imagebind": imagebind,
    "lips": lips,
    "localization": localization,
    "ogm_ge": fused,
    "recipes": recipes,
    "recognition": recognition,
    "separation": separation,
    "show_and_tell": caption,
    "show_attend_and_tell": attention,
    "simclr": embedded,
    "sound2scene": drawn,
    "soundnet": soundnet,
    "speech2face": speech2face,
    "tagging": tagging,
    "text2image": drawn,
    "variations": drawn,
    "vqa": vqa,
    "word2vec": word2vec,
}
ASKED = {"dalle2": ("caption",)}
"""Inputs that are given where the default, all that the samples have, would ask for something else."""


def question(task: Task, name: str, batch: Batch) -> Batch:
    """Returns a batch that holds the task's inputs alone, of the raw samples too: no answer can leak from it."""
    fields = ASKED.get(name, [field for field in task.inputs if field in batch])
    samples = [{key: sample[key] for key in ("id", *fields)} for sample in batch.samples]
    return replace(batch, samples=samples, fields={field: batch[field] for field in fields})
