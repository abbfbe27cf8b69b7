"""The contract toys, each with one mistake that a plugin author can make: beside each, the check that must find it."""

from typing import ClassVar

import torch
from torch import nn

import contract_toys as right
from sensorium import Alone, Encoder, Features, Objective, Padded, Stage, hookimpl, minimise
from sensorium.builtin.modalities.image import Image


class NoSource(right.Sourced):
    """Learns from a source that is not there."""

    def stages(self):
        (stage,) = super().stages()
        return [Stage("both", [*stage.objectives, Objective("more", ["far"], self.forward, self.losses, source="fra")])]


class OtherFields(right.Sourced):
    """Reads, of each source, a field that only one of them has."""

    def losses(self, outputs, batch):
        return {"square": (outputs - batch["y"]).square().mean(1)}


class IdleSource(right.Sourced):
    """Lets a part learn from the source that does not reach it."""

    def stages(self):
        wrong = Objective("far", ["trunk", "far"], self.forward, self.losses, source="near")
        return [Stage("both", [Objective("near", ["trunk"], self.forward, self.losses), wrong])]


class Unmirrored(Image):
    """Does not tell that it mirrors."""

    probe: ClassVar = {"size": [24, 32], "channels": 1, "flip": 0.5}

    def geometry(self, value, random):
        return super().geometry(value, None)


class Unmoved(right.Boxes):
    """Leaves boxes where they lay on the picture as it was."""

    def follow(self, value, geometry):
        return value


class NotPutBack(right.Boxes):
    """Answers where boxes lie on what the model sees."""

    def put_back(self, value, geometry):
        return value


class NumberFirst(right.Boxes):
    """Puts the number of a box before that of its sample."""

    def collate(self, values):
        padded = super().collate(values)
        return Padded(padded.data.transpose(0, 1), padded.mask.T)


class Joined(right.Boxes):
    """Puts the boxes of all samples one after the other."""

    def collate(self, values):
        return torch.cat([*values, *values])


class FlatRows(right.Pointing):
    """Keeps the boxes of a whole batch in one row."""

    def rows(self, outputs, batch):
        boxes = batch["boxes"]
        return {**super().rows(outputs, batch), "boxes": torch.cat([boxes.data[boxes.mask]] * 3)}


class ReadsPadding(right.Pointing):
    """Lets padding count in what comes out."""

    def forward(self, batch):
        return super().forward(batch) * (1 + batch["boxes"].mask.float().mean() / batch["boxes"].data.mean())


class Uneven(right.Spoken):
    """Takes the mean over each worker's own frames."""

    def losses(self, outputs, batch):
        counts = batch["z"] > 0
        return {"spoken": (outputs - batch["y"]).square()[counts].mean()}


class AdjustsAlone(right.Modulated):
    """Each worker slows down the half that leads in its own samples."""

    def adjust(self, outputs, batch):
        errors = torch.stack([(outputs[name] - batch["y"]).square().sum() for name in ("left", "right")])
        for parameter in (self.left if errors[0] < errors[1] else self.right).parameters():
            parameter.grad.mul_(0.5)


class AdjustsInFull(right.Modulated):
    """Adjusts gradients by outputs that it takes for float32."""

    def adjust(self, outputs, batch):
        outputs["left"].lerp(torch.zeros(outputs["left"].shape), 0.5)
        super().adjust(outputs, batch)


class PreparesAlone(right.Centred):
    """Each worker has a mean of its own."""

    def prepare(self, batches):
        self.centre.mean.copy_(torch.cat([batch["x"] for batch in batches]).mean(0))


class PreparesOutside(right.Centred):
    """Keeps what it learnt where no checkpoint finds it."""

    kept = 0.0

    def prepare(self, batches):
        super().prepare(batches)
        self.kept = self.centre.mean.clone()

    def forward(self, batch):
        return self.body(batch["x"] - self.kept)


class ChoosesOthers(right.Centred):
    """Chooses samples that it was not given."""

    def prepare(self, batches):
        return [*super().prepare(batches), "train/31"]


class Together(right.Inverted):
    """Optimises all samples towards a common answer."""

    batches = True

    def forward(self, batch):
        start = torch.zeros(len(batch), right.DIM)
        return minimise(start, lambda x: (self.rule(x.mean(0)) - batch["y"]).square()[:, 0], steps=20, lr=0.1)


class Narrow(Encoder):
    """Says another width than it has."""

    takes = ("vector",)

    def __init__(self, config, modality):
        super().__init__(config, modality)
        self.dim, self.layer = 3, nn.Linear(right.DIM, 2)

    def forward(self, vector):
        return Features(self.layer(vector))


class LendsNarrow(right.Lender):
    """Lends an encoder of another width."""

    def __init__(self, config, modalities):
        super().__init__(config, modalities)
        self.eye, self.head = Narrow(Narrow.Config(), modalities["x"]), nn.Linear(2, 1)


class LendsOther(right.Lender):
    """Lends the encoder of x as that of y, too."""

    def encoder_of(self, field):
        return self.eye


class LendsPart(right.Lender):
    """Lends a layer."""

    def encoder_of(self, field):
        return self.eye.layer


class LendsLoose(right.Lender):
    """Lends an encoder that is not a part of the task."""

    def encoder_of(self, field):
        return right.Eye(right.Eye.Config(), self.modalities["x"])


class AnswersOther(right.Lender):
    """Answers otherwise than it is evaluated."""

    def predict(self, batch):
        return {"y": 2 * self(batch)}


class Mixed(right.Fused):
    """Says of each input alone what both say."""

    def alone(self, outputs, batch):
        both = sum(outputs["logits"].values())
        return Alone(dict.fromkeys(outputs["logits"], both), super().alone(outputs, batch).target)


class OneHot(right.Fused):
    """Tells the right class as a row of numbers."""

    def alone(self, outputs, batch):
        alone = super().alone(outputs, batch)
        return Alone(alone.logits, nn.functional.one_hot(alone.target, 2))

    def losses(self, outputs, batch):
        target = (batch["y"][:, 0] > 0).long()
        return {"classes": nn.functional.cross_entropy(sum(outputs["logits"].values()), target, reduction="none")}


TASKS = {
    NoSource: "builds",
    OtherFields: "builds",
    IdleSource: "gradients",
    FlatRows: "builds",
    ReadsPadding: "shapes and masks",
    Uneven: "two workers",
    AdjustsAlone: "two workers",
    AdjustsInFull: "half precision",
    PreparesAlone: "two workers",
    PreparesOutside: "save and load",
    ChoosesOthers: "two workers",
    Together: "shapes and masks",
    LendsNarrow: "encoders",
    LendsOther: "encoders",
    LendsPart: "encoders",
    LendsLoose: "encoders",
    AnswersOther: "answers",
    Mixed: "modalities alone",
    OneHot: "modalities alone",
}
MODALITIES = {
    Unmirrored: "geometry",
    Unmoved: "follows",
    NotPutBack: "follows",
    NumberFirst: "shapes and masks",
    Joined: "shapes and masks",
}


@hookimpl
def sensorium_tasks():
    return {task.__name__.lower(): task for task in TASKS}


@hookimpl
def sensorium_modalities():
    return {modality.__name__.lower(): modality for modality in MODALITIES}
