"""A plugin whose components each have one defect, which the kit must find."""

import random

import torch
from torch import nn
from torch.nn import functional as F

from sensorium import Dataset, Encoder, Features, Fusion, Loss, Metric, Source, Task, hookimpl
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.vector import Vector


class Sound(Encoder):
    """Nothing wrong: the mean of the embeddings of real tokens."""

    takes = ("tokens",)

    def __init__(self, config, modality):
        super().__init__(config, modality)
        self.dim = 4
        self.embedding = nn.Embedding(modality.vocabulary, 4)

    def forward(self, batch):
        tokens = self.embedding(batch.data)
        real = batch.mask[..., None]
        return Features((tokens * real).sum(1) / real.sum(1), tokens, batch.mask)


class CountsPadding(Sound):
    """Takes the mean over padding as well."""

    def forward(self, batch):
        tokens = self.embedding(batch.data)
        return Features(tokens.mean(1), tokens, batch.mask)


class WrongDim(Sound):
    """Says another width than it has."""

    def __init__(self, config, modality):
        super().__init__(config, modality)
        self.dim = 5


class IdleLayer(Sound):
    """Has a layer that does nothing."""

    def __init__(self, config, modality):
        super().__init__(config, modality)
        self.idle = nn.Linear(4, 4)


class HiddenState(Sound):
    """Keeps a random matrix outside of its weights."""

    def __init__(self, config, modality):
        super().__init__(config, modality)
        self.matrix = torch.randn(4, 4)

    def forward(self, batch):
        features = super().forward(batch)
        return Features(features.pooled @ self.matrix, features.tokens, features.mask)


class OtherRandomness(Sound):
    """Draws from a generator that nobody seeds."""

    def forward(self, batch):
        features = super().forward(batch)
        return Features(features.pooled * random.random(), features.tokens, features.mask)


class Branching(Sound):
    """Looks at values, which torch.export cannot follow, and does not say so."""

    def forward(self, batch):
        features = super().forward(batch)
        return (
            features
            if float(features.pooled.sum()) > 0
            else Features(features.pooled + 0, features.tokens, features.mask)
        )


class Counting(Sound):
    """Counts the samples in Python, so that its graph takes as many as it was made with."""

    def forward(self, batch):
        features = super().forward(batch)
        return Features(features.pooled[torch.arange(len(features.pooled))], features.tokens, features.mask)


class Honest(Branching):
    """Says that it cannot be exported."""

    exportable = False


class Mixing(Fusion):
    """Subtracts the mean over the batch."""

    def __init__(self, config, dims):
        super().__init__(config, dims)
        self.dims = {"joint": next(iter(dims.values()))}

    def forward(self, features):
        rows = torch.stack([each.pooled for each in features.values()]).sum(0)
        return {"joint": Features(rows - rows.mean(0))}


class LocalPairs(Loss):
    """InfoNCE that sees the pairs of its own worker only."""

    form, unit = "pairs", "nats"

    def forward(self, a, b, groups):
        return F.cross_entropy(a @ b.T * 10, torch.arange(len(a)))


class Maskless(Loss):
    """Knows of single classes only."""

    form, unit = "classes", "nats"

    def forward(self, logits, target):
        return F.cross_entropy(logits, target, reduction="none")


class MaskBlind(Loss):
    """Takes a mask and does not heed it."""

    form, unit = "classes", "nats"

    def forward(self, logits, target, mask=None):
        losses = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)
        return losses.flatten(1).mean(1) if target.dim() > 1 else losses


class Ordinal(Metric):
    """Heeds the order of the rows."""

    needs = ("logits", "target")

    def __call__(self, rows):
        return {"first": float(rows["logits.label"][0, 0])}


class Undocumented(Loss):
    """Has an option without a docstring."""

    form, unit = "classes", "nats"

    class Config(Loss.Config):
        """One option."""

        gamma: float = 1.0

    def forward(self, logits, target):
        return F.cross_entropy(logits, target, reduction="none")


class Jittery(Vector):
    """Augments with torch's own generator rather than with the one it is given."""

    probe = {"size": 3}

    def transform(self, value, random):
        return value if random is None else value + torch.randn(3)


class Longer(Vector):
    """Returns another shape than it declares."""

    probe = {"size": 3}

    def transform(self, value, random):
        return torch.cat([value, value])


class WrongMask(Text):
    """Calls padding real."""

    def collate(self, values):
        padded = super().collate(values)
        return type(padded)(padded.data, torch.ones_like(padded.mask))


class Forgetful(Label):
    """Loses half of what it has learnt."""

    def state(self):
        return {"names": self.names[::-1]}


class Titled(Text):
    """Nothing wrong: learns from objects, of a title and a list of lines."""

    def decode(self, raw):
        return super().decode("\n".join([raw["title"], *raw["lines"]]))

    def example(self, random):
        return {"title": super().example(random), "lines": [super().example(random)]}

    def json_schema(self):
        texts = {"type": "array", "items": {"type": "string"}}
        return {"type": "object", "properties": {"title": {"type": "string"}, "lines": texts}}


class Twins(Dataset):
    """Gives two samples one id."""

    fields = {"vector": "vector"}

    def open(self, split):
        return [{"id": str(n // 2), "vector": [float(n)]} for n in range(6)]


class Sourced(Dataset):
    """Joins two sources with fields of their own, and the second one lacks its field."""

    fields = {"vector": "vector", "label": "label"}

    def open(self, split):
        class Split(list):
            sources = (
                Source("seen", range(70), frozenset({"vector"})),
                Source("named", range(70, 72), frozenset({"label"})),
            )

        samples = [{"id": str(n), "vector": [float(n)]} for n in range(72)]
        if split == "train":  # the one without a fault
            samples[70:] = [{"id": str(n), "label": "x"} for n in (70, 71)]
        return Split(samples)


class Restless(Dataset):
    """Gives other values each time."""

    fields = {"vector": "vector"}

    def open(self, split):
        class Split:
            def __len__(self):
                return 4

            def __getitem__(self, index):
                return {"id": str(index), "vector": [random.random()]}

        return Split()


class Guess(Task):
    """Learns nothing, because its loss forgets the answer."""

    experiment = {
        "dataset": {"name": "digits", "limit": {"train": 64, "test": 64}},
        "modalities": {"image": {"name": "image", "size": 8, "channels": 1}, "label": "label"},
        "model": {"metrics": ["accuracy"]},
        "training": {"epochs": 1, "global_batch": 16},
        "search": {"metric": "label_accuracy", "mode": "max"},
    }

    def __init__(self, config, modalities):
        super().__init__(config, modalities)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.inputs, self.outputs = {"image": modalities["image"]}, {"label": modalities["label"]}

    def forward(self, batch):
        return self.body(batch["image"])

    def losses(self, outputs, batch):
        return {"norm": outputs.pow(2).mean(1)}

    def rows(self, outputs, batch):
        return {"logits.label": outputs, "target.label": batch["label"]}

    def predict(self, batch):
        return {"class": self(batch).argmax(-1)}


class InFull(Guess):
    """Cannot be trained in bf16, for which there are no complex numbers."""

    def forward(self, batch):
        outputs = self.body(batch["image"])
        return torch.complex(outputs, outputs).real


@hookimpl
def sensorium_encoders():
    return {
        "sound": Sound,
        "counts_padding": CountsPadding,
        "wrong_dim": WrongDim,
        "idle_layer": IdleLayer,
        "hidden_state": HiddenState,
        "other_randomness": OtherRandomness,
        "branching": Branching,
        "counting": Counting,
        "honest": Honest,
    }


@hookimpl
def sensorium_fusions():
    return {"mixing": Mixing}


@hookimpl
def sensorium_losses():
    return {"local_pairs": LocalPairs, "undocumented": Undocumented, "maskless": Maskless, "mask_blind": MaskBlind}


@hookimpl
def sensorium_metrics():
    return {"ordinal": Ordinal}


@hookimpl
def sensorium_modalities():
    return {
        "jittery": Jittery,
        "longer": Longer,
        "wrong_mask": WrongMask,
        "forgetful": Forgetful,
        "titled": Titled,
    }


@hookimpl
def sensorium_datasets():
    return {"twins": Twins, "restless": Restless, "sourced": Sourced}


@hookimpl
def sensorium_tasks():
    return {"guess": Guess, "in_full": InFull}
