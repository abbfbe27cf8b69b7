"""A world of single digits, six kinds of eight by eight pixels, and what tests of drawing start from in it."""

import json

from sensorium_worlds.scene import COLOURS, DIGITS

SHOWN = {f"{colour} {digit}" for colour in ("red", "blue") for digit in ("zero", "one", "four")}
UNSEEN = json.dumps([f"{c} {d}" for c in COLOURS for d in DIGITS if f"{c} {d}" not in SHOWN])
WORLD = (
    "dataset={name: digits_canvas, source: digits, cells: 1, cell: 8, least: 1, most: 1, train: 1000, held_out: 100,"
    f" unseen: {UNSEEN}}}",
    "modalities={image: {name: image, size: 8}, caption: {name: text, max_length: 12, lowercase: true},"
    " digit: label, colour: label}",
    "evaluation={split: validation, contributions: false, plots: false}",
)
CLIP = (
    "clip",
    *WORLD,
    "model.encoders={image: {name: convnet, widths: [16, 32], dim: 32},"
    " caption: {name: text_transformer, dim: 32, depth: 1, heads: 4}}",
    "model.fusion.dim=32",
    "training.epochs=8",
    "training.global_batch=64",
)
JUDGE = (
    "recognition",
    *WORLD,
    "model.encoder={name: convnet, widths: [16, 32], dim: 64, pool: flatten}",
    "model.targets=[digit, colour]",
    "model.metrics=[accuracy]",
    "training.epochs=5",
)
