"""The task: a picture and a question, each as a vector, joined point by point, and classified.

S. Antol, A. Agrawal, J. Lu, M. Mitchell, D. Batra, C. L. Zitnick, D. Parikh, VQA: Visual Question Answering, ICCV
2015, section 4: the model `deeper LSTM Q + norm I`.

Shapes: B samples, D channels, C answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import (
    Batch,
    Encoder,
    Features,
    Fusion,
    Loss,
    Modality,
    Objective,
    Rows,
    Split,
    Stage,
    UserError,
    unknown,
)
from sensorium.builtin.looking import Looking
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.label import Label
from sensorium_vqa.report import answered


class VQA(Looking):
    """An answer to a question about a picture.

    Stages: those of `recognition`, where there is one, then `answer`.

    Beside the answer two baselines are trained and reported: `image_blind` has the question alone, `question_blind`
    the picture alone. What they reach is what the questions, or the pictures, give away by themselves.
    """

    class Config(Looking.Config):
        """The parts."""

        question: str = "question"
        """Field that is asked."""
        answer: str = "answer"
        """Field with the right answer, a label."""
        words: Encoder.Config
        """What reads the question."""
        fusion: Fusion.Config
        """What joins both: product, sum, concatenation or bilinear."""
        hidden: int = 256
        """Channels between the joint vector and the answers."""
        dropout: float = 0.0
        """Share of the joint and of the hidden channels that is left out in training."""
        loss: Loss.Config
        """A loss over classes."""
        type: str = "type"
        """Raw field of the samples with the type of a question, where there is one."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.hidden < 1 or not 0 <= self.dropout < 1:
                raise ValueError("hidden is at least 1; dropout lies in [0, 1).")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        for name in (config.question, config.answer):
            if name not in modalities:
                raise UserError(
                    f"VQA reads the field {name!r}, which has no modality.",
                    f"Fields: {', '.join(modalities)}.",
                    "Add it to `modalities`.",
                )
        label = modalities[config.answer]
        if not isinstance(label, Label):
            raise UserError(f"The field {config.answer!r} is {label.form}.", "A label was expected.")
        self.label = label
        seen = self.eyes.dim
        self.words: Encoder = config.words.build(modalities[config.question])
        self.fusion: Fusion = config.fusion.build({config.image: seen, config.question: self.words.dim})
        if set(self.fusion.dims) != {"joint"}:
            raise UserError("model.fusion joins nothing.", "One joint vector was expected.", "Take `product`.")
        self.head = self._head(self.fusion.dims["joint"])
        alone: Encoder = config.words.build(modalities[config.question])
        self.image_blind = nn.ModuleDict({"words": alone, "head": self._head(alone.dim)})
        self.question_blind = self._head(seen)
        self.loss: Loss = config.loss.build()
        if self.loss.form != "classes":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over classes was expected.")
        self.inputs = {name: modalities[name] for name in (config.image, config.question)}
        self.outputs = {"answer": label}

    def _head(self, dim: int) -> nn.Sequential:
        hidden, left_out = self.config.hidden, self.config.dropout
        layers = (nn.Dropout(left_out), nn.Linear(dim, hidden), nn.Tanh(), nn.Dropout(left_out))
        return nn.Sequential(*layers, nn.Linear(hidden, self.label.vocabulary))

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns the stages of the recognition, and that of the answers with their baselines."""
        earlier, seeing = self.seeing()
        parts = ["words", "fusion", "head", "image_blind", "question_blind", *seeing]
        return [*earlier, Stage("answer", [Objective("answer", parts, self.forward, self.losses)])]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the logits (B, C) of the answer and of both baselines."""
        question = batch[self.config.question]
        seen = even(self.look(batch).pooled)
        return {
            "answer": self._answer(seen, even(self.words(question).pooled)),
            "image_blind": self.image_blind["head"](self.image_blind["words"](question).pooled),
            "question_blind": self.question_blind(seen.detach()),
        }

    def _answer(self, seen: Tensor, asked: Tensor) -> Tensor:
        joint = self.fusion({self.config.image: Features(seen), self.config.question: Features(asked)})["joint"]
        logits: Tensor = self.head(joint.pooled)
        return logits

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the loss of each sample (B,) of the answer and of the baselines, which share no weights."""
        return {name: self.loss(logits.float(), batch[self.config.answer]) for name, logits in outputs.items()}

    # ---- evaluation and use ------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns `said.<name>`, what `answers` holds, and the type of each question, where there is one."""
        rows: Rows = {f"said.{name}": self._named(logits) for name, logits in outputs.items()}
        rows["answers"] = [each.get("answers") or [str(each[self.config.answer])] for each in batch.samples]
        kind = self.config.type
        if all(kind in each for each in batch.samples):
            rows["type"] = [str(each[kind]) for each in batch.samples]
        elif kind != VQA.Config.type:
            raise unknown("field", kind, batch.samples[0], "model.type")
        return rows

    def _named(self, logits: Tensor) -> list[str]:
        return [self.label.names[index] for index in logits.argmax(1).tolist()]

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns the first pictures with question and answer."""
        image = self.modalities[self.config.image]
        if not isinstance(image, Image):
            return super().plots(rows, split)
        drawn = answered(rows, split, image, self.config.image, self.config.question)
        return {**super().plots(rows, split), "answers.png": drawn}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns the first question with what was answered and what is right."""
        question, right = split[0][self.config.question], rows["answers"][0][0]
        return [f"{rows['id'][0]}: {question!r} is answered {rows['said.answer'][0]!r}; it is {right!r}."]

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the probability of each answer (B, C)."""
        return {"answer": self(batch)["answer"].softmax(1)}


def even(vectors: Tensor) -> Tensor:
    """Returns vectors (B, D) of length sqrt(D): the unit length of `norm I`, times what makes their channels about one.

    Without it a product of two small numbers hardly depends on the question, and nothing is learnt from it for long.
    """
    return F.normalize(vectors, dim=1) * math.sqrt(vectors.shape[1])
