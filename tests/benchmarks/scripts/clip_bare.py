"""CLIP on scikit-learn's digits as a plain PyTorch script, without any platform.

Run with the path of a file, into which the moment of the first step is written.
"""

import sys
import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = (
    "a photo of the number {}",
    "the digit {} written by hand",
    "a handwritten {}",
    "someone wrote a {}",
)
LENGTH = 16
BATCH = 128


class Clip(nn.Module):
    """A small convolutional net and a small transformer, projected into one space."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.image = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 64))
        self.words = nn.Embedding(vocabulary, 64, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True, norm_first=True)
        self.text = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.project = nn.Linear(64, 64)
        self.scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        seen = F.normalize(self.image(images), dim=1)
        padding = tokens == 0
        hidden = self.text(self.words(tokens) + self.places, src_key_padding_mask=padding)
        real = (~padding).unsqueeze(2)
        said = F.normalize(self.project((hidden * real).sum(1) / real.sum(1)), dim=1)
        logits = self.scale.exp() * seen @ said.T
        target = torch.arange(len(logits))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def data() -> tuple[TensorDataset, int]:
    """Returns images with the token ids of their captions, and the number of words."""
    bunch = load_digits()
    images = torch.tensor(bunch.images[:1347] / 8 - 1, dtype=torch.float32).unsqueeze(1)
    captions = [CAPTIONS[i % 4].format(WORDS[digit]) for i, digit in enumerate(bunch.target[:1347])]
    ids = {word: number for number, word in enumerate(sorted({w for c in captions for w in c.split()}), start=1)}
    tokens = torch.zeros(len(captions), LENGTH, dtype=torch.int64)
    for row, caption in zip(tokens, captions, strict=True):
        row[: len(caption.split())] = torch.tensor([ids[word] for word in caption.split()])
    return TensorDataset(images, tokens), len(ids) + 1


def main() -> None:
    torch.manual_seed(0)
    dataset, vocabulary = data()
    model = Clip(vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    for number, (images, tokens) in enumerate(DataLoader(dataset, BATCH, shuffle=True, drop_last=True)):
        model(images, tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
        if number == 0:
            Path(sys.argv[1]).write_text(str(time.time()), encoding="utf-8")


if __name__ == "__main__":
    main()
